/**
 * The monitor's checks of servers beside their archiver: replication slots that hold WAL (manual,
 * "pg_replication_slots"), what restores have left, and servers that cannot be asked. Pure.
 */

import type { HoldfastError } from './errors.ts';
import { type HealthFinding, type HealthLevel, levelAbove } from './health.ts';
import { type HealthAbout, secondsBetween } from './health_finding.ts';
import { shownFinding, typedName } from './health_words.ts';
import { dropLeftover, type KnownLeftover } from './leftovers.ts';
import { printable } from './printable.ts';
import { quoteLiteral } from './quote.ts';
import { formatAge, formatBytes, formatCount } from './units.ts';

/** One replication slot, as its server tells it. */
export interface SlotHealth {
  readonly name: string;
  /** `null`: a physical one. */
  readonly database: string | null;
  readonly isActive: boolean;
  readonly isTemporary: boolean;
  readonly walStatus: 'reserved' | 'extended' | 'unreserved' | 'lost' | null;
  /** How much WAL the server keeps for it; `null`: none, since it was never used or is lost. */
  readonly retainedBytes: number | null;
  /** Since when nobody reads from it (PostgreSQL 17+); `null` where nobody can tell. */
  readonly inactiveSince: Date | null;
}

/** What surrounds the slots of a server. */
export interface SlotLimits {
  /** The setting max_slot_wal_gb in bytes. */
  readonly bytesMax: number;
  /** The name of the slot of our own stream of this cluster; `null`: none. */
  readonly ours: string | null;
  /** The server's max_slot_wal_keep_size is -1: nothing caps what a slot holds. */
  readonly isUncapped: boolean;
}

function dropOf({ name }: SlotHealth): string {
  return `SELECT pg_catalog.pg_drop_replication_slot(${quoteLiteral(name)});`;
}

interface SlotTrouble {
  readonly level: HealthLevel;
  readonly fact: string;
}

/** What is wrong with a slot; `null`: nothing. */
function troubleOf(slot: SlotHealth, { bytesMax, ours }: SlotLimits): SlotTrouble | null {
  const isOurs = slot.name === ours;
  const { walStatus, retainedBytes, isActive } = slot;
  if (walStatus === 'lost') {
    const fact = 'is lost: the server has removed WAL that it needs';
    return { level: isOurs ? 'critical' : 'warning', fact };
  }
  if (walStatus === 'unreserved') {
    const fact = 'is about to be lost: the server removes WAL that it needs';
    return { level: isOurs ? 'critical' : 'warning', fact };
  }
  const idle = isActive ? '' : 'is idle and ';
  if ((retainedBytes ?? 0) > bytesMax) {
    return { level: 'warning', fact: `${idle}holds ${formatBytes(retainedBytes ?? 0)} of WAL` };
  }
  if (isOurs && !isActive) {
    return { level: 'warning', fact: 'is idle: scripts/wal_stream.ts does not run' };
  }
  return null;
}

function slotMend(slot: SlotHealth, { ours, isUncapped }: SlotLimits): string {
  if (slot.name === ours) {
    return slot.walStatus === 'lost'
      ? `${dropOf(slot)} then start scripts/wal_stream.ts, and scripts/backup_incremental.ts ` +
          '--base now, since WAL is missing.'
      : 'Start scripts/wal_stream.ts; scripts/wal_stream.ts --status tells how it is.';
  }
  const cap = isUncapped
    ? " Nothing caps it: ALTER SYSTEM SET max_slot_wal_keep_size = '16GB'; SELECT pg_reload_conf();"
    : '';
  return `When nobody will read from it again: ${dropOf(slot)}${cap}`;
}

/**
 * Each slot that is in trouble, or one line for all.
 *
 * @param about of the server: a slot's name is put behind its subject
 */
export function checkSlots(
  about: HealthAbout,
  slots: readonly SlotHealth[],
  limits: SlotLimits,
): HealthFinding[] {
  const expected = `no slot holds more than ${formatBytes(limits.bytesMax)} of WAL`;
  const lasting = slots.filter(({ isTemporary }) => !isTemporary);
  const troubled = lasting.flatMap((slot) => {
    const trouble = troubleOf(slot, limits);
    if (trouble === null) return [];
    const { level, fact } = trouble;
    const { name, database, isActive, walStatus, retainedBytes, inactiveSince } = slot;
    const of = database === null ? '' : ` of database ${JSON.stringify(database)}`;
    const held = retainedBytes === null ? 'nothing' : formatBytes(retainedBytes);
    const found = `${isActive ? 'in use' : 'idle'}, holds ${held}, ${walStatus ?? 'never used'}`;
    const finding = shownFinding({
      ...about,
      subject: `${about.subject}/${name}`,
      level,
      message: `the replication slot ${JSON.stringify(name)}${of} ${fact}`,
      expected,
      found,
      since: isActive ? null : inactiveSince,
      mend: slotMend(slot, limits),
      values: { retained_bytes: retainedBytes ?? 0 },
    });
    return [finding];
  });
  if (troubled.length > 0) return troubled;
  const most = Math.max(0, ...lasting.map(({ retainedBytes }) => retainedBytes ?? 0));
  const message =
    lasting.length === 0
      ? 'there is no replication slot'
      : `${formatCount(lasting.length, 'replication slot')}, none of which holds much WAL`;
  return [
    shownFinding({ ...about, level: 'ok', message, expected, values: { retained_bytes: most } }),
  ];
}

/** A restore that was swapped in may be taken back for so long. */
const beforeDaysMax = 7;
/** A restore that is not at its end after so long, and that nobody works on, never will be. */
const restoringDaysMax = 1;
const daySeconds = 86_400;

/** A leftover of a restore, as a server tells it. */
export interface LeftoverHealth extends KnownLeftover {
  /** `null` where the role may not ask. */
  readonly bytes: number | null;
  readonly inUse: boolean;
}

/** No line can show its name, so none can be typed that does not look like another one. */
const mendUntyped =
  'No command line can show its name: look it up in pg_database with psql, and drop it there.';

/** What restores have left for too long, or one line where nothing is. */
export function checkLeftovers(
  about: HealthAbout,
  leftovers: readonly LeftoverHealth[],
  now: Date,
): HealthFinding[] {
  const expected =
    `what a restore replaced is dropped within ${beforeDaysMax} days, and what one did not bring ` +
    'to its end within a day';
  const stale = leftovers.flatMap((leftover) => {
    const { name, kind, target, bytes, inUse, createdAt } = leftover;
    const age = secondsBetween(createdAt, now);
    const daysMax = kind === 'before' ? beforeDaysMax : restoringDaysMax;
    const level = inUse ? 'ok' : levelAbove(age, daysMax * daySeconds, Number.POSITIVE_INFINITY);
    if (level === 'ok') return [];
    const of = target === null ? 'a database' : JSON.stringify(target);
    const what =
      kind === 'before' ? `${of} as it was before a restore` : `a broken restore of ${of}`;
    const size = bytes === null ? '' : `, ${formatBytes(bytes)}`;
    const finding = shownFinding({
      ...about,
      subject: `${about.subject}/${printable(name)}`,
      database: target,
      level,
      message: `database ${JSON.stringify(name)} is ${what}${size}, age ${formatAge(age)}`,
      expected,
      since: createdAt,
      mend: typedName(target ?? name) === null ? mendUntyped : dropLeftover(leftover),
      values: { age_seconds: age, ...(bytes === null ? {} : { bytes }) },
    });
    return [finding];
  });
  if (stale.length > 0) return stale;
  const message =
    leftovers.length === 0
      ? 'restores have left no database'
      : `restores have left ${formatCount(leftovers.length, 'database')}, none for long`;
  return [
    shownFinding({
      ...about,
      level: 'ok',
      message,
      expected,
      values: { databases: leftovers.length },
    }),
  ];
}

/** A server that does not answer, or that does not let the role in. */
export function unaskedServer(about: HealthAbout, problem: HoldfastError): HealthFinding {
  const isDown = problem.code === 'DATABASE_UNREACHABLE';
  const finding = shownFinding({
    ...about,
    level: isDown ? 'critical' : 'unknown',
    message: `the server cannot be asked: ${problem.message}`,
    expected: 'a server that answers',
    found: problem.message,
    mend: problem.hint ?? 'scripts/doctor.ts tells what is wrong with the connection.',
  });
  return { ...finding, silences: ['wal_waiting', 'wal_space', 'slots', 'leftovers', 'clock'] };
}
