/**
 * The monitor's checks of clocks: this machine's against those of servers and stores, and backups
 * that are dated in the future, behind which retention stops. Pure.
 */

import { type HealthFinding, levelAbove } from './health.ts';
import { type HealthAbout, healthFinding, secondsBetween } from './health_finding.ts';
import { formatCount, formatDuration } from './units.ts';

/** Buckets refuse every request from here on (S3: RequestTimeTooSkewed). */
const refusedSeconds = 15 * 60;
/** A backup may be dated so far ahead: two hosts never agree wholly. */
const futureSecondsMax = 300;

const mendClock = 'timedatectl set-ntp true, on the machine whose clock is wrong.';

/**
 * Another clock against ours.
 *
 * @param aheadSeconds how far the other clock is ahead of ours, as far as that is sure
 * @param maxSeconds the setting max_clock_skew_seconds
 */
export function checkClock(
  about: HealthAbout,
  aheadSeconds: number,
  maxSeconds: number,
): HealthFinding {
  const off = Math.abs(aheadSeconds);
  const level = levelAbove(off, maxSeconds, Math.max(maxSeconds, refusedSeconds));
  const side = aheadSeconds > 0 ? 'ahead of' : 'behind';
  return healthFinding(about, {
    level,
    message:
      level === 'ok'
        ? "its clock and this machine's agree"
        : `its clock is ${formatDuration(off)} ${side} this machine's`,
    expected: `clocks that differ by ${formatDuration(maxSeconds)} at most`,
    found: `${aheadSeconds.toFixed(1)} s`,
    mend: mendClock,
    values: { skew_seconds: aheadSeconds },
  });
}

/** What the answer of another machine says of its clock. */
export interface ClockAnswer {
  readonly asked: Date;
  readonly answered: Date;
  readonly other: Date;
}

/**
 * How far another clock is surely ahead, in seconds: its answer was made somewhere between the
 * question and its arrival, so the nearest time of them is taken.
 */
export function sureSkewSeconds({ asked, answered, other }: ClockAnswer): number {
  const early = secondsBetween(asked, other);
  const late = secondsBetween(answered, other);
  if (late > 0) return late;
  return early < 0 ? early : 0;
}

/** A file that lies in a folder store, and the time at which its backup was finished by ours. */
export interface WrittenFile {
  readonly finishedAt: Date;
  readonly modifiedAt: Date;
}

/**
 * How far the clock of a file server is ahead, by a file that was written there: it is not older
 * than what it tells, and not of the future.
 */
export function fileSkewSeconds({ finishedAt, modifiedAt }: WrittenFile, now: Date): number {
  const ahead = secondsBetween(now, modifiedAt);
  if (ahead > 0) return ahead;
  return Math.min(0, secondsBetween(finishedAt, modifiedAt));
}

/** A backup and its date. */
export interface DatedBackup {
  readonly label: string;
  readonly startedAt: Date;
}

/** Whether backups are dated in the future. */
export function checkDates(
  about: HealthAbout,
  backups: readonly DatedBackup[],
  now: Date,
): HealthFinding {
  const ahead = backups.filter(
    ({ startedAt }) => secondsBetween(now, startedAt) > futureSecondsMax,
  );
  const [first] = ahead;
  const expected = 'no backup is dated in the future';
  if (first === undefined) {
    const message = `${formatCount(backups.length, 'backup')}, none dated in the future`;
    return healthFinding(about, { level: 'ok', message, expected });
  }
  const more = ahead.length > 1 ? ` and ${ahead.length - 1} more` : '';
  return healthFinding(about, {
    level: 'warning',
    message: `${first.label}${more} ${ahead.length > 1 ? 'are' : 'is'} dated in the future`,
    expected,
    found: `${first.startedAt.toISOString()}, and it is ${now.toISOString()} now`,
    mend:
      'A clock was wrong then, or is now (timedatectl): retention waits until that time has ' +
      'come, and scripts/prune_backups.ts --dry-run tells what it would do.',
    values: { backups: ahead.length },
  });
}
