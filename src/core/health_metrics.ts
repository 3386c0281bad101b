/**
 * Which numbers of the monitor's findings become metrics: their names by Prometheus' conventions
 * (prometheus.io/docs/practices/naming: a prefix, base units, `_total` for counters alone). The
 * checks put the numbers into `values` under the names that stand here. Pure.
 */

import type { HealthCheck } from './health.ts';

/**
 * What tells one series of a metric from another. `job` and `instance` are Prometheus' own: ours
 * would be renamed to `exported_job` there.
 */
export type MetricLabel =
  | 'cluster'
  | 'database'
  | 'subject'
  | 'check'
  | 'scheduled_job'
  | 'version';

/** A metric as it is told. */
interface Metric {
  readonly name: string;
  readonly help: string;
}

/** A metric made of one number of the findings of one check. */
export interface HealthMetric extends Metric {
  readonly check: HealthCheck;
  /** The name of the number in `values`. */
  readonly value: string;
  readonly labels: readonly ('cluster' | 'database' | 'subject')[];
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

/** The metrics that are made of a run as a whole, and of the jobs of the schedule. */
export const runMetrics = {
  checkStatus: {
    name: 'holdfast_check_status',
    help: 'How a check came out: 0 ok, 1 warning, 2 critical, 3 unknown',
  },
  monitorStatus: {
    name: 'holdfast_monitor_status',
    help: 'How all checks together came out: 0 ok, 1 warning, 2 critical, 3 unknown',
  },
  lastRun: {
    name: 'holdfast_monitor_last_run_timestamp_seconds',
    help: 'When the checks were made last',
  },
  duration: { name: 'holdfast_monitor_duration_seconds', help: 'How long the checks took' },
  build: { name: 'holdfast_build_info', help: 'The version of Holdfast, as a label' },
  jobSuccess: {
    name: 'holdfast_job_last_success_timestamp_seconds',
    help: 'When a run of a job of the schedule last did what it is for',
  },
  jobStatus: {
    name: 'holdfast_job_last_exit_status',
    help: 'What the last run of a job that has ended ended with',
  },
  jobDuration: {
    name: 'holdfast_job_last_duration_seconds',
    help: 'How long the last run of a job took that has ended',
  },
  jobDied: {
    name: 'holdfast_job_died',
    help: 'Whether the last run of a job began and never ended',
  },
} as const satisfies Readonly<Record<string, Metric>>;
