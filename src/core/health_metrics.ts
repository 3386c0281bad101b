/**
 * Which numbers of the monitor's findings become metrics: their names by Prometheus' conventions
 * (prometheus.io/docs/practices/naming: a prefix, base units, `_total` for counters alone). The
 * checks put the numbers into `values` under the names that stand here. Pure.
 */

import type { HealthCheck } from './health.ts';

/** What tells one series of a metric from another. */
export type MetricLabel = 'cluster' | 'database' | 'subject' | 'check' | 'job';

/** A metric made of one number of the findings of one check. */
export interface HealthMetric {
  readonly name: string;
  readonly help: string;
  readonly check: HealthCheck;
  /** The name of the number in `values`. */
  readonly value: string;
  readonly labels: readonly MetricLabel[];
}

const ofDatabase = ['cluster', 'database'] as const;
const ofCluster = ['cluster'] as const;
const ofSubject = ['subject'] as const;

/** Every metric that is made of findings. */
export const healthMetrics = [
  {
    name: 'holdfast_backup_age_seconds',
    help: 'Age of the last full backup of a database that is not known as damaged',
    check: 'backup_age',
    value: 'age_seconds',
    labels: ofDatabase,
  },
  {
    name: 'holdfast_recovery_point_age_seconds',
    help: 'Age of the newest point that a cluster can be recovered to by its archived WAL',
    check: 'recovery_point',
    value: 'age_seconds',
    labels: ofCluster,
  },
  {
    name: 'holdfast_last_backup_bytes',
    help: 'Stored size of the last full backup of a database',
    check: 'size',
    value: 'stored_bytes',
    labels: ofDatabase,
  },
  {
    name: 'holdfast_backups',
    help: 'How many full backups of a database there are',
    check: 'count',
    value: 'backups',
    labels: ofDatabase,
  },
  {
    name: 'holdfast_copies_missing',
    help: 'How many backups a store lacks that it should have',
    check: 'copies',
    value: 'missing',
    labels: ofSubject,
  },
  {
    name: 'holdfast_drill_age_seconds',
    help: 'Age of the last proof by a restore',
    check: 'drill',
    value: 'age_seconds',
    labels: ofDatabase,
  },
  {
    name: 'holdfast_disk_free_bytes',
    help: 'Free space of a file system that backups are written to',
    check: 'space',
    value: 'free_bytes',
    labels: ofSubject,
  },
  {
    name: 'holdfast_disk_size_bytes',
    help: 'Size of a file system that backups are written to',
    check: 'space',
    value: 'total_bytes',
    labels: ofSubject,
  },
  {
    name: 'holdfast_disk_full_forecast_seconds',
    help: 'Time until that file system is full, by the trend of the sizes and the retention',
    check: 'space',
    value: 'full_in_seconds',
    labels: ofSubject,
  },
  {
    name: 'holdfast_wal_gaps',
    help: 'How many gaps of a WAL archive no base backup lies behind',
    check: 'wal_gaps',
    value: 'gaps',
    labels: ofCluster,
  },
  {
    name: 'holdfast_wal_last_archived_age_seconds',
    help: 'Age of the WAL segment that a server has archived last',
    check: 'archiver',
    value: 'age_seconds',
    labels: ofSubject,
  },
  {
    name: 'holdfast_wal_waiting_segments',
    help: 'How many WAL segments of a server wait for its archiver',
    check: 'wal_waiting',
    value: 'segments',
    labels: ofSubject,
  },
  {
    name: 'holdfast_wal_free_bytes',
    help: 'Free space of the file system of pg_wal',
    check: 'wal_space',
    value: 'free_bytes',
    labels: ofSubject,
  },
  {
    name: 'holdfast_slot_retained_bytes',
    help: 'How much WAL a replication slot holds back',
    check: 'slots',
    value: 'retained_bytes',
    labels: ofSubject,
  },
  {
    name: 'holdfast_clock_skew_seconds',
    help: "How far another clock is ahead of this machine's",
    check: 'clock',
    value: 'skew_seconds',
    labels: ofSubject,
  },
] as const satisfies readonly HealthMetric[];
