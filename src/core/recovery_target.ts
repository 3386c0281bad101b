/**
 * Where a recovery shall stop, as an operator writes it (PostgreSQL manual, "Recovery Target"). A
 * time without a zone is refused: nobody can tell later whose zone was meant.
 */

import { HoldfastError } from './errors.ts';
import { formatLsn, type Lsn, requireLsn } from './lsn.ts';

/** Where a recovery shall stop. */
export type RecoveryTarget =
  /** ISO 8601, UTC, with microseconds, like the times of an index: texts sort as the times do. */
  | { readonly kind: 'time'; readonly at: string }
  | { readonly kind: 'lsn'; readonly lsn: Lsn }
  /** The lower 32 bits: the WAL knows no more. */
  | { readonly kind: 'xid'; readonly xid: number }
  | { readonly kind: 'name'; readonly name: string }
  /** As soon as the cluster is consistent: the end of the base backup. */
  | { readonly kind: 'immediate' }
  /** All WAL that there is. */
  | { readonly kind: 'newest' };

/** The flags that name a target; at most one of them. */
export interface TargetTexts {
  readonly time?: string | undefined;
  readonly lsn?: string | undefined;
  readonly xid?: string | undefined;
  readonly name?: string | undefined;
  readonly immediate?: boolean | undefined;
}

const datePart = String.raw`(\d{4})-(\d\d)-(\d\d)`;
const clockPart = String.raw`(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?`;
const zonePart = String.raw`(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)`;
const timePattern = new RegExp(`^${datePart}[T ]${clockPart} ?${zonePart}?$`, 'i');
const timeHint =
  "Write it with its zone, for example '2026-11-21 10:42:00+01' or '2026-11-21T09:42:00Z'.";
/** Zones lie within this many minutes of UTC. */
const offsetMinutesMax = 16 * 60;
/** A restore point's name has so many bytes (MAXFNAMELEN, without its NUL). */
const nameBytesMax = 63;
/** Transactions have identifiers from this one on (FirstNormalTransactionId). */
const firstXid = 3;

/** Minutes east of UTC. */
function offsetOf(zone: string): number {
  const match = /^([+-])(\d\d):?(\d\d)?$/.exec(zone);
  if (match === null) return 0;
  const minutes = Number(match[2]) * 60 + Number(match[3] ?? 0);
  return match[1] === '-' ? -minutes : minutes;
}

/**
 * A time with its zone → the same in UTC with microseconds.
 *
 * @throws HoldfastError USAGE when it is no time, or has no zone
 */
export function parseTargetTime(text: string): string {
  const match = timePattern.exec(text.trim());
  if (match === null) {
    throw new HoldfastError('USAGE', `${JSON.stringify(text)} is no time`, { hint: timeHint });
  }
  const [, year, month, day, hour, minute, second = '00', fraction = '', zone] = match;
  if (zone === undefined) {
    const message = `the time ${JSON.stringify(text)} has no time zone`;
    throw new HoldfastError('USAGE', message, { hint: timeHint });
  }
  const wall = `${year}-${month}-${day}T${hour}:${minute}:${second}`;
  const asUtc = new Date(`${wall}Z`);
  const offset = offsetOf(zone);
  const isTime = !Number.isNaN(asUtc.getTime()) && asUtc.toISOString().startsWith(wall);
  const utc = isTime ? new Date(asUtc.getTime() - offset * 60_000).toISOString() : '';
  // Texts of another number of digits would not sort as the times do.
  if (!/^\d{4}-/.test(utc) || Math.abs(offset) > offsetMinutesMax) {
    throw new HoldfastError('USAGE', `${JSON.stringify(text)} is no time`, { hint: timeHint });
  }
  return `${utc.slice(0, 19)}.${fraction.padEnd(6, '0')}Z`;
}

/** An identifier as pg_current_xact_id() tells it, also with an epoch in its upper bits. */
function parseXid(text: string): number {
  const number = /^\d{1,20}$/.test(text) ? BigInt(text) : -1n;
  const xid = Number(number & 0xffff_ffffn);
  if (number < BigInt(firstXid) || number > 0xffff_ffff_ffff_ffffn || xid < firstXid) {
    throw new HoldfastError('USAGE', `${JSON.stringify(text)} is no transaction id`, {
      hint: 'SELECT pg_current_xact_id() shows one.',
    });
  }
  return xid;
}

function parseName(name: string): string {
  const bytes = Buffer.byteLength(name, 'utf8');
  if (bytes >= 1 && bytes <= nameBytesMax && !/[\0\n\r]/.test(name)) return name;
  throw new HoldfastError('USAGE', `${JSON.stringify(name)} is no name of a restore point`, {
    hint: `Such a name has 1 to ${nameBytesMax} bytes on one line: pg_create_restore_point('…').`,
  });
}

/** The target that the flags name; without one: the newest point. @throws HoldfastError USAGE */
export function parseTarget(texts: TargetTexts): RecoveryTarget {
  const given: RecoveryTarget[] = [];
  if (texts.time !== undefined) given.push({ kind: 'time', at: parseTargetTime(texts.time) });
  if (texts.lsn !== undefined) given.push({ kind: 'lsn', lsn: requireLsn(texts.lsn) });
  if (texts.xid !== undefined) given.push({ kind: 'xid', xid: parseXid(texts.xid) });
  if (texts.name !== undefined) given.push({ kind: 'name', name: parseName(texts.name) });
  if (texts.immediate === true) given.push({ kind: 'immediate' });
  if (given.length > 1) {
    throw new HoldfastError('USAGE', 'more than one recovery target is given', {
      hint: 'A recovery stops once: name one target.',
    });
  }
  return given[0] ?? { kind: 'newest' };
}

/** Which timeline is followed: the newest of the archive, that of the base backup, or this one. */
export type TargetTimeline = 'latest' | 'current' | number;

/** Reads `latest`, `current`, or a number, in decimal or as `0x2`. @throws HoldfastError USAGE */
export function parseTargetTimeline(text: string): TargetTimeline {
  if (text === 'latest' || text === 'current') return text;
  const number = /^(\d{1,10}|0x[0-9a-f]{1,8})$/i.test(text) ? Number(text) : 0;
  if (number >= 1 && number <= 0xffff_ffff) return number;
  throw new HoldfastError('USAGE', `${JSON.stringify(text)} is no timeline`, {
    hint: 'Timelines are latest, current, or a number: list_backups.ts --wal shows them.',
  });
}

/** `2026-11-21T09:42:00.000000Z` → `2026-11-21 09:42:00.000000+00`, as the server reads it. */
export function serverTime(at: string): string {
  return at.replace('T', ' ').replace('Z', '+00');
}

/** A target in words. */
export function describeTarget(target: RecoveryTarget): string {
  switch (target.kind) {
    case 'time':
      return `the time ${serverTime(target.at)}`;
    case 'lsn':
      return `the LSN ${formatLsn(target.lsn)}`;
    case 'xid':
      return `the transaction ${target.xid}`;
    case 'name':
      return `the restore point ${JSON.stringify(target.name)}`;
    case 'immediate':
      return 'the end of the base backup';
    case 'newest':
      return 'the newest point';
  }
}
