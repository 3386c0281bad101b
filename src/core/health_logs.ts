/** The monitor's checks `log_errors` and `alerts`: what was said and not heard. Pure. */

import { exitStatus } from './errors.ts';
import { type HealthFinding, levelAbove } from './health.ts';
import { ageText, hoursText, shownFinding } from './health_words.ts';
import { printable } from './printable.ts';
import { formatCount } from './units.ts';

/** An error in a log file. */
export interface LoggedError {
  readonly at: Date;
  /** `backup_full` */
  readonly command: string;
  readonly code: string;
  readonly exitStatus: number;
  readonly message: string;
  readonly runId: string;
}

/** So many kinds of errors are told one by one. */
const kindsMax = 20;
/** A person who has mistyped something, looked for what is not there, or pressed Ctrl-C knows. */
const ofPersons: ReadonlySet<number> = new Set<number>([
  exitStatus.usage,
  exitStatus.notFound,
  exitStatus.interrupted,
]);
/** What the monitor itself has found is told by its checks. */
const ownCommand = 'monitor_backups';

/** Whether an error is one that somebody should hear of. */
function isTold({ command, exitStatus: status }: LoggedError): boolean {
  return command !== ownCommand && !ofPersons.has(status);
}

/**
 * The errors of the last hours, those of one command with one code together.
 *
 * @param errors in any order
 * @param isCut the log files were too large to be read whole
 */
export function loggedErrors(
  errors: readonly LoggedError[],
  hours: number,
  isCut: boolean,
  now: Date,
): HealthFinding[] {
  const from = now.getTime() - hours * 3_600_000;
  const recent = errors.filter((error) => isTold(error) && error.at.getTime() >= from);
  const kinds = Map.groupBy(recent, ({ command, code }) => `${command}/${code}`);
  const expected = `no errors in the log files of the last ${hoursText(hours)}`;
  const cut = isCut ? '; the files are large, and their ends were read' : '';
  const counted = { errors: recent.length };
  if (kinds.size === 0) {
    const message = `there are no errors in the last ${hoursText(hours)}`;
    const found = `none${cut}`;
    const about = { check: 'log_errors', subject: 'logs', level: 'ok' } as const;
    return [shownFinding({ ...about, message, expected, found, values: counted })];
  }
  const often = [...kinds].sort(([, a], [, b]) => b.length - a.length);
  return often.slice(0, kindsMax).map(([kind, all]) => {
    const sorted = all.toSorted((a, b) => a.at.getTime() - b.at.getTime());
    const [first, last] = [sorted[0], sorted.at(-1)];
    return shownFinding({
      check: 'log_errors',
      subject: printable(kind),
      level: 'warning',
      message: `${formatCount(all.length, 'error')} ${last?.code} of ${last?.command}`,
      expected,
      found: `the last at ${last?.at.toISOString()}: ${last?.message}${cut}`,
      since: first?.at ?? null,
      mend: `Type grep ${last?.runId} logs/*.jsonl, which shows that run whole.`,
      values: { errors: all.length },
    });
  });
}

/** Alerts that some channel lacks. */
export interface WaitingAlerts {
  readonly waiting: number;
  /** When the oldest of them was made; `null`: none waits. */
  readonly oldestAt: Date | null;
  readonly channels: readonly string[];
  /** How many were dropped, since too many waited. */
  readonly dropped: number;
}

/** So long an alert may wait: the runs since then have tried it again. */
const waitMinutesMax = 15;
const waitHoursMax = 24;

/** Whether people get the alerts. */
export function undelivered(facts: WaitingAlerts, now: Date): HealthFinding {
  const { waiting, oldestAt, channels, dropped } = facts;
  const ageMs = oldestAt === null ? 0 : Math.max(0, now.getTime() - oldestAt.getTime());
  const byAge = levelAbove(ageMs, waitMinutesMax * 60_000, waitHoursMax * 3_600_000);
  const lost = dropped === 0 ? '' : `; ${dropped} were dropped, since too many waited`;
  const names = channels.map(printable).join(', ');
  return shownFinding({
    check: 'alerts',
    subject: 'outbox',
    level: dropped > 0 && byAge === 'ok' ? 'warning' : byAge,
    message:
      waiting === 0
        ? `no alert waits${lost}`
        : `${formatCount(waiting, 'alert')} could not be delivered, the oldest ` +
          `for ${ageText(ageMs)}${lost}`,
    expected: `every alert delivered within ${waitMinutesMax} min`,
    found: waiting === 0 ? 'none' : `${waiting} for ${names}`,
    since: oldestAt,
    mend: 'Type scripts/monitor_backups.ts alert --test, which tries every channel.',
    values: { waiting, oldest_age_seconds: ageMs / 1000, dropped },
  });
}
