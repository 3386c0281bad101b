/**
 * The monitor: makes every check, each bounded in time, none hiding another, and puts what they
 * found into one report. It writes nothing into the repository; what it remembers is in `state/`.
 */

import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { HealthCheck, HealthFinding } from '../../core/health.ts';
import { type MonitorReport, monitorReport } from '../../core/monitor_report.ts';
import { redactPasswords } from '../../core/secret.ts';
import { within } from '../../process/within.ts';
import type { Context, RepositoryContext } from '../context.ts';
import { checkGroups } from './checks.ts';
import {
  type BareMonitorContext,
  type CheckGroup,
  sharedListing,
  unknownFinding,
} from './monitor_context.ts';

/** A group of checks that has not ended by then is told as unknown. */
const groupSecondsMax = 120;
/** Longer than a file system that is read whole may take. */
const wholeSecondsMax = 20 * 24 * 3600;
/** What a group is given beyond its signal to tell what it has found. */
const graceSeconds = 5;

/** What the monitor works with: a repository, or why there is none. */
export type Watched =
  | { readonly context: RepositoryContext; readonly problem: null }
  | { readonly context: Context; readonly problem: HoldfastError };

/** What came of it. */
export interface MonitorRun {
  readonly report: MonitorReport;
  /** Checks that were not made, since there is no repository: what they would say is not known. */
  readonly unasked: readonly HealthCheck[];
}

/** How it looks. */
export interface MonitorWish {
  /** Integrity keeps to its budget. */
  readonly isQuick: boolean;
  /** In place of all. */
  readonly groups?: readonly CheckGroup[];
  /** In place of {@link groupSecondsMax}. */
  readonly secondsMax?: number;
}

/** There is no repository, or it cannot be opened: nothing is known of any backup. */
function repositoryProblem(context: Context, problem: HoldfastError): HealthFinding {
  return {
    check: 'repository',
    subject: context.config.settings.backup_dir,
    cluster: null,
    database: null,
    level: 'critical',
    message: 'the repository cannot be opened',
    expected: 'a repository that can be read',
    found: problem.message,
    since: null,
    mend:
      problem.hint ?? 'Look whether its file system is mounted, and whether BACKUP_DIR names it.',
    values: {},
  };
}

/** A context whose signal fires after a time, or with the run's own. */
function bounded<Given extends Context>(context: Given, seconds: number, name: string) {
  const late = new AbortController();
  const error = new HoldfastError(
    'UNEXPECTED',
    `the check of ${name} took more than ${seconds} s`,
    {
      hint: 'Look at the load of this machine and of the servers, and at the network between them.',
    },
  );
  const timer = setTimeout(() => late.abort(error), seconds * 1000);
  const given: Given = { ...context, signal: AbortSignal.any([context.signal, late.signal]) };
  return { given, error, end: () => clearTimeout(timer) };
}

/** Makes the checks of one group; its failure is a finding. */
async function runGroup(
  watched: Watched,
  group: CheckGroup,
  run: (context: Context) => Promise<readonly HealthFinding[]>,
  secondsMax: number,
): Promise<readonly HealthFinding[]> {
  const { given, error, end } = bounded(watched.context, secondsMax, group.name);
  try {
    const late = (secondsMax + Math.min(graceSeconds, secondsMax)) * 1000;
    return await within(late, run(given), () => error);
  } catch (thrown) {
    if (watched.context.signal.aborted) throw watched.context.signal.reason;
    // What it could not be asked in time is told in those words, whatever the signal has broken.
    const cause = given.signal.aborted ? error : toHoldfastError(thrown);
    return group.checks.map((check) => unknownFinding({ check, subject: group.name }, cause));
  } finally {
    end();
  }
}

/** What a finding quotes may hold a password that somebody wrote into a URL. */
function withoutPasswords(finding: HealthFinding): HealthFinding {
  const { subject, message, expected, found, mend } = finding;
  return {
    ...finding,
    subject: redactPasswords(subject),
    message: redactPasswords(message),
    expected: redactPasswords(expected),
    found: redactPasswords(found),
    mend: mend === null ? null : redactPasswords(mend),
  };
}

/**
 * Makes every check.
 *
 * @throws HoldfastError INTERRUPTED when the run itself is to end
 */
export async function monitor(watched: Watched, wish: MonitorWish): Promise<MonitorRun> {
  const { isQuick, groups = checkGroups } = wish;
  const secondsMax = wish.secondsMax ?? (isQuick ? groupSecondsMax : wholeSecondsMax);
  const now = watched.context.clock();
  const bare = (context: Context): BareMonitorContext => ({ context, now, isQuick });
  const runs: Promise<readonly HealthFinding[]>[] = [];
  const unasked: HealthCheck[] = [];
  const { problem } = watched;
  const listing = problem === null ? sharedListing(watched.context) : null;
  for (const group of groups) {
    if (group.needs === 'nothing') {
      runs.push(runGroup(watched, group, (given) => group.run(bare(given)), secondsMax));
    } else if (watched.problem === null && listing !== null) {
      const { repository, catalog } = watched.context;
      const run = (given: Context) => {
        const context: RepositoryContext = { ...given, repository, catalog };
        return group.run({ ...bare(given), context, listing });
      };
      runs.push(runGroup(watched, group, run, secondsMax));
    } else unasked.push(...group.checks);
  }
  const found = (await Promise.all(runs)).flat();
  const told = problem === null ? found : [repositoryProblem(watched.context, problem), ...found];
  const report = monitorReport(watched.context.host, now, told.map(withoutPasswords));
  return { report, unasked };
}
