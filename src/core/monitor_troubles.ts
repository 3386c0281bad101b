/** From what the monitor has found to what is alerted, and to what has ended. Pure. */

import type { Priority } from './alert.ts';
import type { HealthCheck, HealthFinding, HealthLevel } from './health.ts';
import { type JobRunFacts, jobRun } from './health_runs.ts';
import type { MonitorReport } from './monitor_report.ts';
import { printable } from './printable.ts';
import type { AlertChange, Trouble } from './trouble.ts';

/** Below it lie the troubles that checks have found. */
const checkSpace = 'check/';
/** Below it: what could not be asked. It hides no trouble, and ends none. */
const unknownSpace = 'unknown/';

/** What does not cost a recovery today gets nobody out of bed. */
const neverCritical: ReadonlySet<HealthCheck> = new Set([
  'size',
  'count',
  'drill',
  'leftovers',
  'schedule',
  'log_errors',
  'alerts',
]);

/** Commands whose failures alert by themselves; the resident ones log errors and go on. */
const tellingCommands: ReadonlySet<string> = new Set([
  'backup_full',
  'backup_incremental',
  'prune_backups',
  'restore_backup',
  'restore_pitr',
  'verify_backups',
]);

/** A run that ended by itself has alerted its failure: the same is not told by another name. */
function isToldByRun({ check, level, subject, values }: HealthFinding): boolean {
  if (level !== 'warning') return false;
  if (check === 'runs') return values.exit_status !== undefined;
  return check === 'log_errors' && tellingCommands.has(subject.split('/')[0] ?? '');
}

/** How urgent a finding is. */
function priorityOf({ check, level }: HealthFinding): Priority {
  if (level !== 'critical') return 'medium';
  return neverCritical.has(check) ? 'high' : 'critical';
}

function keyOf(space: string, { check, subject }: HealthFinding): string {
  return `${space}${check}/${subject}`;
}

/** One finding as it is alerted: what was expected, what is, since when, what to do. */
function troubleOf(space: string, finding: HealthFinding): Trouble {
  const { check, subject, cluster, database, level, message } = finding;
  const { expected, found, since, mend, values } = finding;
  const lines = [
    message,
    `expected: ${expected}`,
    `found: ${found}`,
    ...(since === null ? [] : [`since: ${since}`]),
    ...(mend === null ? [] : [`what to do: ${mend}`]),
  ];
  return {
    event: `check.${check}`,
    key: keyOf(space, finding),
    priority: priorityOf(finding),
    title: [check, ...(subject === '' ? [] : [printable(subject)]), message].join(': '),
    message: lines.join('\n'),
    cluster,
    database,
    details: { check, subject, level, expected, found, since, mend, ...values },
  };
}

/**
 * What a run of the monitor tells whoever listens. What is warned of or critical is a trouble, and
 * has ended when its check says so or has nothing to say of it any more. What could not be asked is
 * a trouble of another name: it ends no other. Neither does a check that was not made, at all or of
 * a server that does not answer.
 *
 * @param unasked checks that were not made at all
 */
export function alertChangeOf(report: MonitorReport, unasked: readonly HealthCheck[]): AlertChange {
  const at = (...levels: readonly HealthLevel[]) =>
    report.findings.filter(({ level }) => levels.includes(level));
  const blind = at('unknown');
  const silenced = report.findings.flatMap(({ silences = [] }) => silences);
  const silent = new Set([...unasked, ...silenced, ...blind.map(({ check }) => check)]);
  return {
    firing: [
      ...at('warning', 'critical')
        .filter((finding) => !isToldByRun(finding))
        .map((finding) => troubleOf(checkSpace, finding)),
      ...blind.map((finding) => troubleOf(unknownSpace, finding)),
    ],
    ended: at('ok').map((finding) => keyOf(checkSpace, finding)),
    endedUnder: [checkSpace, unknownSpace],
    unknown: [
      ...[...silent].map((check) => `${checkSpace}${check}/`),
      ...unasked.map((check) => `${unknownSpace}${check}/`),
    ],
  };
}

/** A run that ended so long ago is not the one that somebody else has just seen fail. */
const justNowMs = 10 * 60_000;

/**
 * What there is to tell of a job that somebody else (systemd) has seen fail. A run that ended by
 * itself has told its failure itself; one that was killed could not, which is the trouble that the
 * monitor would find; nor could one that never began.
 *
 * @param run the last run of the job; `null`: none is known
 */
export function failedJobChange(job: string, run: JobRunFacts | null, now: Date): AlertChange {
  if (run?.state === 'dead') return { firing: [troubleOf(checkSpace, jobRun(run, now))] };
  const endedMs = run?.finishedAt?.getTime() ?? 0;
  const hasFailed = run !== null && run.exitStatus !== null && run.exitStatus !== 0;
  if (hasFailed && now.getTime() - endedMs <= justNowMs) return {};
  const title = `the job ${job} failed before it could say why`;
  const mend =
    `journalctl --unit holdfast-${job} has its last words; scripts/doctor.ts says what is wrong ` +
    'with the settings.';
  return {
    news: [
      {
        event: 'check.runs',
        key: `failed_job/${job}`,
        priority: 'high',
        title,
        message: `${title}\nwhat to do: ${mend}`,
        cluster: null,
        database: null,
        details: { job, last_run_at: run?.startedAt.toISOString() ?? null },
      },
    ],
  };
}
