/**
 * What the monitor finds (PRODUCT.md, "The monitor's checks"): each check is a pure function from
 * facts, thresholds and the time to findings, in a health_….ts beside this. Pure.
 */

/** What a run of the monitor ends with, as monitoring plugins have it. */
export const healthStatus = { ok: 0, warning: 1, critical: 2, unknown: 3 } as const;

/** How a check came out; `unknown`: what it needs could not be asked. */
export type HealthLevel = keyof typeof healthStatus;

/** Every check, in the order in which they are told. */
export const healthChecks = [
  'recovery_point',
  'backup_age',
  'repository',
  'integrity',
  'size',
  'count',
  'copies',
  'drill',
  'space',
  'wal_gaps',
  'archiver',
  'wal_waiting',
  'wal_space',
  'slots',
  'leftovers',
  'clock',
  'runs',
  'schedule',
  'log_errors',
  'alerts',
] as const;

/** The name of a check. */
export type HealthCheck = (typeof healthChecks)[number];

/** One thing that a check has looked at, and what it thinks of it. */
export interface HealthFinding {
  readonly check: HealthCheck;
  /** What was looked at, unique within its check: `<cluster>/<database>`, a store, a server. */
  readonly subject: string;
  readonly cluster: string | null;
  readonly database: string | null;
  readonly level: HealthLevel;
  /** One line without a full stop that tells the fact: `the last full backup is 31 hours old`. */
  readonly message: string;
  /** What was expected: `a full backup every 25 hours`. */
  readonly expected: string;
  /** What is: `20261119T020000Z-daily-k3f9 of 2026-11-19T02:03:11Z`. */
  readonly found: string;
  /** Since when it is so, ISO 8601 UTC; `null` where nobody can tell, or all is well. */
  readonly since: string | null;
  /** What to do, one sentence with what to type; `null` where all is well. */
  readonly mend: string | null;
  /** Numbers behind it, by names with units (`age_seconds`), for metrics and details. */
  readonly values: Readonly<Record<string, number>>;
  /** Checks that could not be made because of it: what they have found before is not over. */
  readonly silences?: readonly HealthCheck[];
}

const gravity: readonly HealthLevel[] = ['ok', 'unknown', 'warning', 'critical'];

/** The worst of several levels. What is not known is worse than good, and hides nothing bad. */
export function worstLevel(levels: readonly HealthLevel[]): HealthLevel {
  return gravity[Math.max(0, ...levels.map((level) => gravity.indexOf(level)))] ?? 'unknown';
}

/** `warning` beyond one limit, `critical` beyond the other. */
export function levelAbove(value: number, warning: number, critical: number): HealthLevel {
  if (value > critical) return 'critical';
  return value > warning ? 'warning' : 'ok';
}
