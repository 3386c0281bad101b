/** What the monitor takes for healthy: the threshold of each check. */

import type { Setting } from './setting.ts';

/** Every threshold, in the order in which they are told. */
export const monitorTable = {
  max_backup_age_hours: {
    schema: { type: 'number', minimum: 0.1, maximum: 10_000 },
    env: ['MAX_BACKUP_AGE_HOURS'],
    default: 25,
    description:
      'How many hours old the last full backup of a database may be: more is a warning, twice as ' +
      'much is critical.',
    example: 49,
  },
  max_recovery_age_minutes: {
    schema: { type: 'number', minimum: 1, maximum: 1_000_000 },
    env: ['MAX_RECOVERY_AGE_MINUTES'],
    default: 120,
    description:
      'How many minutes of work may be lost: the age of the newest point that a cluster with ' +
      'archived WAL can be recovered to. More is a warning, twice as much is critical.',
    example: 15,
  },
  max_disk_used_percent: {
    schema: { type: 'number', minimum: 1, maximum: 100 },
    env: ['MAX_DISK_USED_PERCENT'],
    default: 90,
    description:
      'How much of the file system of the repository may be used, in percent: more is a warning, ' +
      'half way from there to full is critical.',
    example: 80,
  },
  min_days_until_full: {
    schema: { type: 'number', minimum: 0, maximum: 3650 },
    env: ['MIN_DAYS_UNTIL_FULL'],
    default: 14,
    description:
      'A warning when the disk will be full in less days, by the trend of the sizes and what the ' +
      'retention will keep; a quarter of it is critical.',
    example: 30,
  },
  integrity_mb: {
    schema: { type: 'integer', minimum: 0, maximum: 1_000_000 },
    env: ['INTEGRITY_MB'],
    default: 200,
    description:
      'How many MB of unchanged backups one run of the monitor reads again, the longest unread ' +
      'first. Files whose size, times or inode have changed are read in any case.',
    example: 2000,
  },
  max_archive_age_minutes: {
    schema: { type: 'number', minimum: 1, maximum: 1_000_000 },
    env: ['MAX_ARCHIVE_AGE_MINUTES'],
    default: 90,
    description:
      'How long a server that writes may archive nothing, in minutes: more is a warning, twice ' +
      'as much is critical.',
    example: 30,
  },
  max_wal_waiting: {
    schema: { type: 'integer', minimum: 1, maximum: 1_000_000 },
    env: ['MAX_WAL_WAITING'],
    default: 32,
    description:
      'How many segments of the WAL may wait for the archiver: more is a warning, four times as ' +
      'many are critical.',
    example: 8,
  },
  max_slot_wal_gb: {
    schema: { type: 'number', minimum: 0.01, maximum: 1_000_000 },
    env: ['MAX_SLOT_WAL_GB'],
    default: 10,
    description:
      'How much WAL in GB (powers of 1000) one replication slot may hold back: more is a warning.',
    example: 50,
  },
  max_clock_skew_seconds: {
    schema: { type: 'number', minimum: 1, maximum: 86_400 },
    env: ['MAX_CLOCK_SKEW_SECONDS'],
    default: 60,
    description:
      "How far this machine's clock may be from that of a store or a server, in seconds: more is " +
      'a warning; 15 minutes, from where on buckets refuse every request, are critical.',
    example: 5,
  },
  max_drill_age_days: {
    schema: { type: 'integer', minimum: 1, maximum: 3650 },
    env: ['MAX_DRILL_AGE_DAYS'],
    default: null,
    defaultText: 'no drill is asked for',
    description: 'How many days old the last proof by a restore of a database may be.',
    example: 30,
  },
  log_error_hours: {
    schema: { type: 'number', minimum: 1, maximum: 720 },
    env: ['LOG_ERROR_HOURS'],
    default: 24,
    description: 'How many hours back errors in the log files are a warning.',
    example: 6,
  },
  prometheus_file: {
    schema: { type: 'string', minLength: 1 },
    env: ['PROMETHEUS_FILE'],
    default: null,
    defaultText: 'none is written',
    description:
      "The file that the monitor writes its metrics into, for node_exporter's textfile " +
      'collector. Its name ends in .prom.',
    example: '/var/lib/prometheus/node-exporter/holdfast.prom',
    path: true,
  },
} as const satisfies Readonly<Record<string, Setting>>;
