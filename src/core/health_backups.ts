/** The monitor's check `backup_age`: how old the last good full backup of a database is. Pure. */

import { type HealthFinding, levelAbove } from './health.ts';
import { ageText, databaseSubject, hoursText, shownFinding, typedName } from './health_words.ts';
import type { Tier } from './label.ts';
import { printable } from './printable.ts';
import { isAhead } from './retention.ts';
import { formatCount } from './units.ts';

const hourMs = 3_600_000;

/** A full backup, as far as the monitor asks: it may lie in several stores. */
export interface WatchedBackup {
  readonly label: string;
  readonly tier: Tier;
  readonly startedAt: Date;
  readonly finishedAt: Date;
  /** At least one store has it and nothing is known against that copy. */
  readonly isGood: boolean;
  /** It holds what a restore in place has replaced. */
  readonly isSafety: boolean;
  /** Nobody has read it back or verified it. */
  readonly isUnread: boolean;
  readonly storedBytes: number;
  /** Of the dump; only those of one kind can be compared. */
  readonly dumpBytes: number;
  readonly dumpKind: string;
  readonly warnings: readonly string[];
}

/** The last run for a database that failed. */
export interface FailedRun {
  readonly at: Date;
  readonly code: string;
  readonly message: string;
}

/** A database of which backups are known, or expected. */
export interface WatchedDatabase {
  /** `null`: nobody knows, since there was no backup yet. */
  readonly cluster: string | null;
  readonly database: string;
  /** Oldest first. */
  readonly backups: readonly WatchedBackup[];
  /** `null`: the last run succeeded, or nothing is known of it. */
  readonly failure: FailedRun | null;
  /** Why no backups are expected any more; `null`: they are. */
  readonly notWatched: string | null;
}

/** Whether a backup says something about how safe its database is now. */
export function counts(backup: WatchedBackup, now: Date): boolean {
  return backup.isGood && !backup.isSafety && !isAhead(backup, now);
}

/** Names of a finding about one database. */
export function aboutDatabase({ cluster, database }: WatchedDatabase) {
  return { subject: databaseSubject(cluster, database), cluster, database };
}

/** What to type for a backup of it. */
function backUp({ database }: WatchedDatabase): string {
  const typed = typedName(database);
  return typed === null
    ? 'Back it up with scripts/backup_full.ts, and look into the files in logs/.'
    : `Type scripts/backup_full.ts ${typed}, and look at what it says.`;
}

function passedOver(database: WatchedDatabase, newest: WatchedBackup | null, now: Date): string[] {
  const younger = database.backups.filter(
    ({ startedAt }) => newest === null || startedAt > newest.startedAt,
  );
  const ahead = younger.filter((backup) => isAhead(backup, now)).length;
  const damaged = younger.filter((backup) => !backup.isGood && !isAhead(backup, now)).length;
  return [
    ...(damaged === 0 ? [] : [`${formatCount(damaged, 'younger backup')} damaged`]),
    ...(ahead === 0 ? [] : [`${formatCount(ahead, 'backup')} dated in the future`]),
  ];
}

function failureText({ failure }: WatchedDatabase): string[] {
  if (failure === null) return [];
  const { at, code, message } = failure;
  return [`the last run failed at ${at.toISOString()}: ${code}, ${message}`];
}

/** How old the last good full backup of one database is. */
export function backupAge(
  database: WatchedDatabase,
  maxAgeHours: number,
  now: Date,
): HealthFinding {
  const about = { check: 'backup_age', ...aboutDatabase(database) } as const;
  const expected = `a full backup that ended at most ${hoursText(maxAgeHours)} ago`;
  const newest = database.backups.findLast((backup) => counts(backup, now)) ?? null;
  const also = [...passedOver(database, newest, now), ...failureText(database)];
  const name = JSON.stringify(printable(database.database));
  const { notWatched } = database;
  if (newest === null) {
    return shownFinding({
      ...about,
      level: notWatched === null ? 'critical' : 'ok',
      message: `there is no good full backup of the database ${name}`,
      expected,
      found: ['none', ...also].join('; '),
      mend: backUp(database),
    });
  }
  // One that is ahead by less than clocks differ is as young as can be.
  const ageMs = Math.max(0, now.getTime() - newest.startedAt.getTime());
  // One that took three hours is followed by one that takes as long: its end is what counts.
  const restMs = now.getTime() - newest.finishedAt.getTime();
  const level = levelAbove(restMs, maxAgeHours * hourMs, 2 * maxAgeHours * hourMs);
  const unread = newest.isUnread ? [', never read back'] : [];
  const found = `${newest.label} of ${newest.startedAt.toISOString()}${unread.join('')}`;
  const age = `the last good full backup of ${name} is ${ageText(ageMs)} old`;
  return shownFinding({
    ...about,
    level: notWatched === null ? level : 'ok',
    message: notWatched === null ? age : `${age}; none is expected: ${notWatched}`,
    expected: notWatched === null ? expected : 'no backups any more',
    found: [found, ...also].join('; '),
    since: new Date(newest.finishedAt.getTime() + maxAgeHours * hourMs),
    mend: backUp(database),
    values: { age_seconds: ageMs / 1000, max_age_seconds: maxAgeHours * 3600 },
  });
}
