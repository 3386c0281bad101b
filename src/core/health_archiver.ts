/**
 * The monitor's checks of a server's archiver: whether it fails, what waits for it, and how long
 * the disk of pg_wal will hold (PostgreSQL manual, "The pg_stat_archiver View" and "Continuous
 * Archiving"). A command that ends with a status above 125 ends the archiver, which counts no
 * failure then (PEERS.md, trouble 3): the `.ready` files tell. Pure.
 */

import { type HealthFinding, levelAbove, worstLevel } from './health.ts';
import { type HealthAbout, healthFinding, secondsBetween } from './health_finding.ts';
import { checkUsed, type DiskFacts } from './health_space.ts';
import { printable } from './printable.ts';
import { formatAge, formatBytes, formatCount, formatDuration } from './units.ts';

/** The files of the WAL that wait for the archiver (`.ready`). */
export interface WaitingWal {
  readonly count: number;
  /** When the first of them began to wait; `null`: none does. */
  readonly oldestAt: Date | null;
}

/** What a server says of its archiver, and what the catalog knows of it. */
export interface ArchiverHealth {
  readonly inRecovery: boolean;
  /** The setting archive_mode: `off`, `on`, `always`. */
  readonly archiveMode: string;
  readonly archiveCommand: string;
  /** It is the one that setup_archiving.ts has set. */
  readonly isOurs: boolean;
  /** The repository holds WAL of this very server. */
  readonly holdsWal: boolean;
  /** The WAL comes by replication (wal_stream.ts). */
  readonly isStreamed: boolean;
  readonly lastArchived: string | null;
  readonly lastArchivedAt: Date | null;
  readonly lastFailed: string | null;
  readonly lastFailedAt: Date | null;
  readonly failedCount: number;
  /** `null`: the role may not see it. */
  readonly waiting: WaitingWal | null;
  /** Written since the last segment that was archived; `null`: nobody can tell. */
  readonly writtenBytes: number | null;
  /** When the monitor last saw that nothing had been written since; `null`: never. */
  readonly idleAt: Date | null;
  readonly startedAt: Date;
}

/**
 * An idle server writes the header of a new segment, a checkpoint and the list of what runs: some
 * hundred bytes, and no more of them until something else is written. A page of WAL has 8 KiB.
 */
export const idleBytesMax = 8192;

const mendArchiver =
  "scripts/setup_archiving.ts status says what the archive_command answers; the server's own " +
  'words are in its log.';

/** Whether there is an archiver at all. */
function hasArchiver({ archiveMode, inRecovery }: ArchiverHealth): boolean {
  return archiveMode === 'always' || (archiveMode !== 'off' && !inRecovery);
}

/** Whether the archiver's last try failed, and something waits still. */
function isFailing(facts: ArchiverHealth): boolean {
  const { lastFailedAt, lastArchivedAt, waiting } = facts;
  if (lastFailedAt === null || waiting?.count === 0 || !hasArchiver(facts)) return false;
  return lastArchivedAt === null || lastFailedAt > lastArchivedAt;
}

function later(a: Date, b: Date | null): Date {
  return b !== null && b > a ? b : a;
}

/** Since when a server that writes has archived nothing; `null`: nothing is to be archived. */
function silentSince(facts: ArchiverHealth): Date | null {
  const { waiting, writtenBytes, lastArchivedAt, idleAt, startedAt } = facts;
  // The oldest is archived first: as long as anything is, an archiver only is behind.
  if (waiting !== null && waiting.oldestAt !== null) return later(waiting.oldestAt, lastArchivedAt);
  if (writtenBytes === null || writtenBytes <= idleBytesMax) return null;
  return later(lastArchivedAt ?? startedAt, idleAt);
}

/** What is wrong with the way in which the WAL is archived, or right; `null`: look further. */
function wayFinding(about: HealthAbout, facts: ArchiverHealth): HealthFinding | null {
  const { archiveMode, isOurs, holdsWal, isStreamed, archiveCommand } = facts;
  const expected = 'the WAL of this server comes into the repository';
  const isOff = archiveMode === 'off';
  if (!isOff && !hasArchiver(facts)) {
    const message = 'a standby archives nothing: its primary does';
    return healthFinding(about, { level: 'ok', message, expected });
  }
  if (isOff && isStreamed) {
    const message = 'its WAL comes by a stream, in place of an archiver';
    return healthFinding(about, { level: 'ok', message, expected });
  }
  if (isOff && !holdsWal) {
    const message = 'its WAL is not archived: full backups alone bring its databases back';
    return healthFinding(about, { level: 'ok', message, expected });
  }
  if (isOff || (!isOurs && holdsWal && !isStreamed)) {
    const other = isOff
      ? 'archive_mode is off'
      : archiveCommand === ''
        ? 'archive_command is empty'
        : 'something else archives the WAL';
    return healthFinding(about, {
      level: 'warning',
      message: `${other}, though the repository holds WAL of this server`,
      expected,
      found: isOff ? 'archive_mode = off' : `archive_command = ${printable(archiveCommand)}`,
      since: facts.lastArchivedAt,
      mend: 'scripts/setup_archiving.ts switches it on again; base backups alone lose hours.',
    });
  }
  return null;
}

/** What was archived last. */
function lastOf({ lastArchived, lastArchivedAt }: ArchiverHealth): string {
  return lastArchivedAt === null
    ? 'nothing was archived yet'
    : `${lastArchived} archived at ${lastArchivedAt.toISOString()}`;
}

function expectedEvery(limitSeconds: number): string {
  return `a segment archived every ${formatDuration(limitSeconds)} while the server writes`;
}

function failingFinding(
  about: HealthAbout,
  facts: ArchiverHealth,
  limitSeconds: number,
): HealthFinding {
  const { lastFailed, lastFailedAt, failedCount, waiting } = facts;
  return healthFinding(about, {
    level: 'critical',
    message: `archiving ${lastFailed} fails: ${formatCount(failedCount, 'failure')} so far`,
    expected: expectedEvery(limitSeconds),
    found: `${lastOf(facts)}; ${lastFailed} failed at ${lastFailedAt?.toISOString()}`,
    since: waiting?.oldestAt ?? lastFailedAt,
    mend: mendArchiver,
  });
}

/** Whether a server that writes has archived anything of late, as far as no failure is counted. */
function silenceFinding(
  about: HealthAbout,
  facts: ArchiverHealth,
  limitSeconds: number,
  now: Date,
): HealthFinding {
  const { waiting, lastArchivedAt } = facts;
  const since = silentSince(facts);
  const silent = since === null ? 0 : secondsBetween(since, now);
  const level = levelAbove(silent, limitSeconds, 2 * limitSeconds);
  const words = { level, expected: expectedEvery(limitSeconds) };
  if (level === 'ok') {
    const message =
      lastArchivedAt === null
        ? 'nothing waits to be archived'
        : `it archived ${formatAge(Math.max(0, secondsBetween(lastArchivedAt, now)))} ago`;
    return healthFinding(about, { ...words, message, found: lastOf(facts) });
  }
  const waits = waiting?.oldestAt == null ? '' : `: ${formatCount(waiting.count, 'segment')} wait`;
  return healthFinding(about, {
    ...words,
    message: `the server writes, and has archived nothing for ${formatAge(silent)}${waits}`,
    found: `${lastOf(facts)}, and no failure is counted since`,
    since,
    mend:
      waits === ''
        ? 'scripts/backup_incremental.ts ends the segment and waits until it is archived; with ' +
          'archive_timeout the server ends segments itself.'
        : 'A command that ends with a status above 125 (127: not found, 137: killed) is not ' +
          `counted as a failure: ${mendArchiver}`,
  });
}

/** Whether the archiver of a server works. @param maxMinutes the setting max_archive_age_minutes */
export function checkArchiver(
  about: HealthAbout,
  facts: ArchiverHealth,
  maxMinutes: number,
  now: Date,
): HealthFinding {
  const { lastArchivedAt, failedCount } = facts;
  const limit = maxMinutes * 60;
  const age = lastArchivedAt === null ? null : Math.max(0, secondsBetween(lastArchivedAt, now));
  const values = age === null ? {} : { age_seconds: age, failures: failedCount };
  if (isFailing(facts)) return { ...failingFinding(about, facts, limit), values };
  const way = wayFinding(about, facts);
  if (way !== null && (way.level === 'ok' || !hasArchiver(facts))) return { ...way, values };
  const silence = silenceFinding(about, facts, limit, now);
  // That it is dead is worse than that it is another one.
  return { ...(way === null || silence.level !== 'ok' ? silence : way), values };
}

/** What waits, and what the disk below will hold of it. */
export interface WaitingFacts {
  readonly waiting: WaitingWal;
  /** What an earlier run has seen; `null`: there was none. */
  readonly before: { readonly at: Date; readonly count: number } | null;
  readonly segmentBytes: number;
  /** Of the file system of pg_wal; `null` where it cannot be seen from here. */
  readonly freeBytes: number | null;
}

/** A rate over less time than this says little. */
const rateSecondsMin = 60;
/** A disk that is full in less time is worth a word, or waking somebody. */
const fullSecondsWarning = 24 * 3600;
const fullSecondsCritical = 4 * 3600;
/** Four times as many as may wait are critical (the setting's own words). */
const waitingCriticalFactor = 4;

/** When the file system of pg_wal is full, in seconds, by what came to wait; `null`: never. */
export function secondsUntilWalFull(facts: WaitingFacts, now: Date): number | null {
  const { waiting, before, segmentBytes, freeBytes } = facts;
  if (before === null || freeBytes === null) return null;
  const seconds = secondsBetween(before.at, now);
  const grown = waiting.count - before.count;
  if (seconds < rateSecondsMin || grown <= 0) return null;
  return freeBytes / ((grown * segmentBytes) / seconds);
}

/** How many segments wait. @param max the setting max_wal_waiting */
export function checkWaiting(
  about: HealthAbout,
  facts: WaitingFacts,
  max: number,
  now: Date,
): HealthFinding {
  const { count, oldestAt } = facts.waiting;
  const full = secondsUntilWalFull(facts, now);
  const byCount = levelAbove(count, max, waitingCriticalFactor * max);
  const byTime =
    full === null ? 'ok' : levelAbove(-full, -fullSecondsWarning, -fullSecondsCritical);
  const forecast =
    full === null ? '' : `, and the disk of pg_wal is full in ${formatDuration(full)} at this rate`;
  const waits = `${formatCount(count, 'segment')} of the WAL wait${count === 1 ? 's' : ''}`;
  const values = full === null ? { segments: count } : { segments: count, full_in_seconds: full };
  return healthFinding(about, {
    level: worstLevel([byCount, byTime]),
    message: `${waits} for the archiver${forecast}`,
    expected: `at most ${max}`,
    found: oldestAt === null ? 'none' : `the first since ${oldestAt.toISOString()}`,
    since: oldestAt,
    mend: `While they wait, pg_wal grows until the server stops: ${mendArchiver}`,
    values,
  });
}

/** So many segments have to fit into pg_wal at least, or the server stops at any moment. */
const segmentsMin = 4;

/** Whether the disk of pg_wal has room. @param maxPercent the setting max_disk_used_percent */
export function checkWalSpace(
  about: HealthAbout,
  disk: DiskFacts,
  segmentBytes: number,
  maxPercent: number,
): HealthFinding {
  const { level, percent } = checkUsed(disk, maxPercent);
  const isFull = disk.freeBytes < segmentsMin * segmentBytes;
  return healthFinding(about, {
    level: isFull ? 'critical' : level,
    message:
      `the disk of pg_wal is ${percent.toFixed(1)} % full: ` +
      `${formatBytes(disk.freeBytes)} free`,
    expected: `at most ${maxPercent} % used, and room for ${segmentsMin} segments`,
    mend:
      'A full disk stops the server: free space there, and see whether segments wait for the ' +
      'archiver or a replication slot holds them; never remove files from pg_wal by hand.',
    values: { free_bytes: disk.freeBytes, total_bytes: disk.totalBytes },
  });
}
