/** The monitor's checks `runs` and `schedule`: runs that died, failed, never came. Pure. */

import { type HealthFinding, type HealthLevel, worstLevel } from './health.ts';
import { ageText, commandName, databaseSubject, shownFinding } from './health_words.ts';
import { printable } from './printable.ts';
import { formatDuration } from './units.ts';

const hourMs = 3_600_000;
/** A run of a job that lasts longer than this hangs, or is in the way of the next one. */
export const runHoursMax = 24;
/** So long after its time a job may begin: starts are delayed by chance, and clocks differ. */
export const lateMinutesMax = 60;
/** Commands that run until they are ended. */
const resident: ReadonlySet<string> = new Set(['wal_ship', 'wal_stream', 'serve_api']);
/** What the monitor ends with by what it has found (core/health.ts). */
const monitorStatusMax = 3;

/** The last run of a job of the schedule. */
export interface JobRunFacts {
  readonly job: string;
  /** The command's name, with or without its ending. */
  readonly command: string;
  readonly runId: string;
  readonly startedAt: Date;
  /** `null`: it has not ended. */
  readonly finishedAt: Date | null;
  readonly exitStatus: number | null;
  /** With what the run before it ended; `null`: it was killed. Absent: nobody knows. */
  readonly statusBefore?: number | null | undefined;
  /** `dead`: its process is gone, and it never ended; `unknown`: on another host. */
  readonly state: 'ended' | 'running' | 'dead' | 'unknown';
}

function hasFailed(run: JobRunFacts): boolean {
  const { exitStatus } = run;
  if (exitStatus === null || exitStatus === 0) return false;
  return commandName(run.command) !== 'monitor_backups' || exitStatus > monitorStatusMax;
}

/** What the run before left wrong: that the next one has begun does not mend it. */
function troubleBefore(run: JobRunFacts) {
  const { statusBefore } = run;
  if (statusBefore === null) {
    const told = '; the run before it began and never ended';
    return { level: 'critical', told, values: {} } as const;
  }
  if (statusBefore === undefined || !hasFailed({ ...run, exitStatus: statusBefore })) {
    return { level: 'ok', told: '', values: {} } as const;
  }
  // The number says that it is a failure which that run has told itself.
  const values = { exit_status: statusBefore };
  return {
    level: 'warning',
    told: `; the run before it ended with ${statusBefore}`,
    values,
  } as const;
}

/** How the last run of a job is, or has ended. */
export function jobRun(run: JobRunFacts, now: Date): HealthFinding {
  const { job, runId, startedAt, finishedAt, exitStatus, state } = run;
  const began = `the run ${runId} of ${startedAt.toISOString()}`;
  const ageMs = now.getTime() - startedAt.getTime();
  const parts = {
    check: 'runs',
    subject: job,
    expected: 'a run that ends with 0',
    found: began,
    since: startedAt,
    values: { age_seconds: ageMs / 1000 },
  } as const;
  const logs = 'Look into the files in logs/ for what it said';
  if (state === 'dead') {
    return shownFinding({
      ...parts,
      level: 'critical',
      message: `the job ${job} began and never ended: its process is gone`,
      mend: `${logs}, and into dmesg for a lack of memory; the next run that succeeds ends this.`,
    });
  }
  if (finishedAt === null) {
    const isLong = ageMs > runHoursMax * hourMs && !resident.has(commandName(run.command));
    const where = state === 'unknown' ? ', on another host or in another container' : '';
    const { level, told, values } = troubleBefore(run);
    return shownFinding({
      ...parts,
      values: { ...parts.values, ...values },
      level: worstLevel([isLong ? 'warning' : 'ok', level]),
      message: `the job ${job} has been running for ${ageText(ageMs)}${where}${told}`,
      expected: `a run of at most ${runHoursMax} h`,
      mend: `${logs}, and at what it waits for; ended by a signal it leaves nothing half done.`,
    });
  }
  const seconds = (finishedAt.getTime() - startedAt.getTime()) / 1000;
  const message = `the last run of the job ${job} ended with ${exitStatus}`;
  return shownFinding({
    ...parts,
    level: hasFailed(run) ? 'warning' : 'ok',
    message: `${message} after ${formatDuration(Math.max(0, seconds))}`,
    since: finishedAt,
    mend: `${logs}: its lines have "run":"${runId}".`,
    values: { exit_status: exitStatus ?? 0, duration_seconds: seconds },
  });
}

/** A run that has recorded what it was writing, and whose process is gone. */
export interface DeadRunFacts {
  /** As its record says it: `backup_full`, `base backup`, `prune_backups`. */
  readonly command: string;
  readonly runId: string;
  readonly cluster: string;
  /** `null`: a whole cluster. */
  readonly database: string | null;
  readonly startedAt: Date;
  /** A backup of the same that began after it is whole. */
  readonly isMadeUp: boolean;
}

/** What is lost when one of these is killed. */
const ofBackups: ReadonlySet<string> = new Set(['backup_full', 'base backup']);

/** A run that was killed while it wrote; nothing where a later one has made up for it. */
export function deadRun(run: DeadRunFacts): HealthFinding[] {
  const { command, runId, cluster, database, startedAt, isMadeUp } = run;
  if (isMadeUp) return [];
  const name = database === null ? printable(cluster) : databaseSubject(cluster, database);
  const level: HealthLevel = ofBackups.has(command) ? 'critical' : 'warning';
  return [
    shownFinding({
      check: 'runs',
      subject: `${command} ${name}`,
      cluster,
      database,
      level,
      message: `a run (${command}) for ${name} was killed, and no good one has come after it`,
      expected: 'a run that ends',
      found: `the run ${runId} of ${startedAt.toISOString()}`,
      since: startedAt,
      mend:
        'Look into dmesg for a lack of memory and into the files in logs/; the next good backup ' +
        'of it ends this. Where none will come, remove its record in state/runs/.',
    }),
  ];
}

/** A job that has run before. */
export interface DueJob {
  readonly job: string;
  readonly when: string;
  readonly lastStartedAt: Date;
  /** The first time of the schedule after that; `null`: there is none. */
  readonly dueAt: Date | null;
  /** The run that began last has not ended yet. */
  readonly isRunning: boolean;
}

/** Whether a job has run when it should have. */
export function jobOnTime(due: DueJob, now: Date): HealthFinding {
  const { job, when, lastStartedAt, dueAt, isRunning } = due;
  const lateMs = dueAt === null ? 0 : now.getTime() - dueAt.getTime();
  const isLate = lateMs > lateMinutesMax * 60_000;
  const next = dueAt === null ? 'no time comes' : `the next is ${dueAt.toISOString()}`;
  const busy = isRunning ? ', since that run has not ended' : '';
  return shownFinding({
    check: 'schedule',
    subject: job,
    level: isLate ? 'warning' : 'ok',
    message: isLate
      ? `the job ${job} should have begun ${ageText(lateMs)} ago and has not${busy}`
      : `the job ${job} runs as it should: ${next}`,
    expected: `a run by ${JSON.stringify(when)}${isLate ? ` at ${dueAt?.toISOString()}` : ''}`,
    found: `the last one began at ${lastStartedAt.toISOString()}`,
    since: dueAt,
    mend:
      'Type scripts/setup_cron.ts status (or scripts/setup_systemd.ts status), and look whether ' +
      `cron runs; where the job is no longer scheduled, remove state/jobs/${job}.json.`,
    values: { late_seconds: Math.max(0, lateMs / 1000) },
  });
}
