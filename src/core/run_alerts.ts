/**
 * From how a run ended to what is told of it (docs/guides/alerts.md, "Who alerts"). Pure.
 *
 * What runs again and again, a backup, is a trouble that lasts until it succeeds. What a person
 * does once, a restore, is told each time: no later success of another one mends it.
 */

import type { Priority } from './alert.ts';
import { exitStatus, type HoldfastError } from './errors.ts';
import { encodeComponent } from './names.ts';
import { printable } from './printable.ts';
import type { RunAside, RunEvent, RunOutcome } from './run_outcome.ts';
import type { AlertChange, News, Trouble } from './trouble.ts';
import { formatBytes, formatDuration } from './units.ts';

/** A run that has ended, and what surrounded it. */
export interface EndedRun {
  readonly event: RunEvent;
  /** The file's name in scripts/. */
  readonly command: string;
  /** The job of the schedule that it was. */
  readonly job: string | null;
  /** A person sat before it, and it was no job. */
  readonly isAttended: boolean;
  /** It only asked: a plan, a list, a test. */
  readonly isQuestion: boolean;
  /** How each piece of its work ended; `null` where the status tells of all at once. */
  readonly outcomes: readonly RunOutcome[] | null;
  /** What ended it as a whole. */
  readonly error: HoldfastError | null;
  /** The run of the same job before it, which began and never ended. */
  readonly died: { readonly runId: string; readonly startedAt: string } | null;
  /** Whether backups that succeeded are told. */
  readonly successes: boolean;
  /** For the details of every alert: the run, its logs. */
  readonly facts: RunOutcome['facts'];
}

interface EventKind {
  /** What has failed, in words. */
  readonly what: string;
  readonly priority: Priority;
  /** Whether a failure lasts until a success of the same work. */
  readonly lasts: boolean;
}

/** The one table of what a failure is called and how urgent it is. */
const kinds: Readonly<Record<RunEvent, EventKind>> = {
  backup: { what: 'backup', priority: 'high', lasts: true },
  incremental: { what: 'incremental backup', priority: 'high', lasts: true },
  restore: { what: 'restore', priority: 'critical', lasts: false },
  recovery: { what: 'recovery', priority: 'critical', lasts: false },
  prune: { what: 'removal of old backups', priority: 'medium', lasts: true },
  verify: { what: 'verification', priority: 'high', lasts: false },
  wal_ship: { what: 'carrying of WAL', priority: 'high', lasts: true },
  wal_stream: { what: 'streaming of WAL', priority: 'high', lasts: true },
  monitor: { what: 'monitoring', priority: 'high', lasts: true },
};

/** How urgent a failure is: wrong bytes are worse than none, a run that stood back is less. */
function failurePriority(event: RunEvent, error: HoldfastError): Priority {
  if (error.status === exitStatus.verification) return 'critical';
  return error.code === 'LOCKED' ? 'medium' : kinds[event].priority;
}

/** What who sits before it sees at once, and has mostly typed. */
function isTypedWrong({ code, status }: HoldfastError): boolean {
  const isNoSuch = status === exitStatus.notFound || code === 'DATABASE_NOT_FOUND';
  return status === exitStatus.usage || isNoSuch;
}

/** Whether a failure is told to others than who sees it anyway. */
function isTold(run: EndedRun, error: HoldfastError): boolean {
  if (run.job !== null) return true;
  // Another run does the work, and tells how that ends.
  if (run.isQuestion || error.code === 'LOCKED') return false;
  if (!run.isAttended) return true;
  // Ctrl-C is somebody's decision. A terminal that was closed, or a shutdown, is nobody's.
  if (error.code === 'INTERRUPTED') return error.details?.signal !== 'SIGINT';
  return !isTypedWrong(error);
}

/** The work of a run as a whole, for what fails before there is a database. */
function wholeKey({ event, job, command }: EndedRun): string {
  return job === null ? `${event}/command/${command}` : `${event}/job/${job}`;
}

/**
 * The same for a server that does not answer and for one that does: the name that it was given.
 * Sockets lie in folders, and a database may be called `a/b`: two of them never make one key.
 */
function keyOf({ event, server, cluster, database }: RunOutcome): string {
  const where = server ?? cluster ?? '';
  return `${event}/on/${where}/${database === null ? '' : encodeComponent(database)}`;
}

function nameOf({ database, cluster, server }: Omit<RunOutcome, 'facts' | 'event'>): string {
  const name = database ?? cluster;
  const of = name === null ? '' : ` of ${printable(name)}`;
  return server === null || database === null ? of : `${of} on ${printable(server)}`;
}

function failedTrouble(run: EndedRun, outcome: RunOutcome, key: string): Trouble | null {
  const { error, cluster, database, facts } = outcome;
  if (error === null || !isTold(run, error)) return null;
  const { code, status, hint, message } = error;
  const job = run.job === null ? '' : ` (job ${run.job})`;
  return {
    event: run.event,
    key,
    priority: failurePriority(run.event, error),
    title: `${kinds[run.event].what}${nameOf(outcome)} failed: ${message}`,
    message: [
      `${run.command}${job} ended with ${status}, ${code}: ${message}`,
      ...(hint === undefined ? [] : [`What to do: ${hint}`]),
    ].join('\n'),
    cluster,
    database,
    details: { code, exit_status: status, hint: hint ?? null, ...run.facts, ...facts },
  };
}

/** Sizes and times as people read them, of the facts that have them. */
function successMessage({ facts }: RunOutcome): string {
  const { bytes_stored: bytes, duration_seconds: seconds } = facts;
  const told = Object.entries(facts).flatMap(([name, value]) =>
    value === null ? [] : [`${name.replaceAll('_', ' ')}: ${value}`],
  );
  const size = typeof bytes === 'number' ? [formatBytes(bytes)] : [];
  const duration = typeof seconds === 'number' ? [`in ${formatDuration(seconds)}`] : [];
  return [[...size, ...duration].join(' '), ...told].filter((line) => line !== '').join('\n');
}

function successNews(run: EndedRun, outcome: RunOutcome): Trouble {
  const { event, cluster, database, facts } = outcome;
  const title = `${kinds[event].what}${nameOf(outcome)} succeeded`;
  return {
    event,
    key: keyOf(outcome),
    priority: 'info',
    title,
    message: successMessage(outcome) || title,
    cluster,
    database,
    details: { ...run.facts, ...facts },
  };
}

function asideTrouble(run: EndedRun, { event, subject, problem }: RunAside): Trouble {
  const subjectName = printable(subject);
  const title =
    event === 'copy'
      ? `the store ${subjectName} did not take its copy`
      : `the retention of ${subjectName} was not applied as it should be`;
  return {
    event,
    key: `${event}/${subject}`,
    priority: 'medium',
    title: `${title}: ${problem ?? ''}`,
    message: `${title}: ${problem ?? ''}\nThe backup itself is good.`,
    cluster: null,
    database: null,
    details: { subject, ...run.facts },
  };
}

/** What went on beside the work: a subject that failed once has failed. */
function asidesOf(run: EndedRun): { firing: Trouble[]; ended: string[] } {
  const asides = (run.outcomes ?? []).flatMap((outcome) => outcome.asides ?? []);
  const firing = asides
    .filter(({ problem }) => problem !== null)
    .map((aside) => asideTrouble(run, aside));
  const ended = asides.map(({ event, subject }) => `${event}/${subject}`);
  return { firing, ended: ended.filter((key) => !firing.some((each) => each.key === key)) };
}

/** A run of the job that was killed without a word: told once, by the next. */
function diedNews(run: EndedRun): News[] {
  if (run.died === null || run.job === null) return [];
  const { runId, startedAt } = run.died;
  const title = `the run of ${run.job} that began at ${startedAt} never ended`;
  return [
    {
      event: run.event,
      key: `${run.event}/died/${run.job}/${runId}`,
      // The monitor, or systemd's OnFailure, was quicker.
      unless: `check/runs/${run.job}`,
      priority: kinds[run.event].priority,
      title,
      message:
        `${title}: it was killed, or the machine went down. What it had begun left nothing that ` +
        'looks like a backup.\nWhat to do: look into the log of that run, and into the ' +
        "system's for a lack of memory (journalctl --dmesg).",
      cluster: null,
      database: null,
      details: { ...run.facts, died_run_id: runId, died_started_at: startedAt },
    },
  ];
}

/** The run as a whole, as an outcome. */
function wholeOutcome(run: EndedRun, error: HoldfastError): RunOutcome {
  const nobody = { cluster: null, database: null, server: null };
  return { event: run.event, ...nobody, error, facts: {} };
}

function isInterruption({ error }: RunOutcome): boolean {
  return error?.code === 'INTERRUPTED';
}

/** What a run tells: its failures, what it has mended, and what else there is to know. */
export function alertsOfRun(run: EndedRun): AlertChange {
  const outcomes = run.outcomes ?? [];
  const died = diedNews(run);
  if (run.isQuestion && run.job === null) return { news: died };
  // One signal ends the work on all databases: that is one trouble.
  const interruption = outcomes.find(isInterruption)?.error ?? null;
  const whole = run.error ?? interruption;
  const { lasts } = kinds[run.event];
  const wholeTrouble =
    whole === null ? null : failedTrouble(run, wholeOutcome(run, whole), wholeKey(run));
  const pieces = outcomes.flatMap((outcome) =>
    isInterruption(outcome) ? [] : (failedTrouble(run, outcome, keyOf(outcome)) ?? []),
  );
  const troubles = wholeTrouble === null ? pieces : [wholeTrouble, ...pieces];
  const good = outcomes.filter(({ error }) => error === null);
  const asides = asidesOf(run);
  const isBackup = run.event === 'backup' || run.event === 'incremental';
  const told = run.successes && isBackup ? good.map((outcome) => successNews(run, outcome)) : [];
  return {
    firing: [...(lasts ? troubles : []), ...asides.firing],
    ended: [...(whole === null ? [wholeKey(run)] : []), ...good.map(keyOf), ...asides.ended],
    news: [...died, ...(lasts ? [] : troubles), ...told],
  };
}
