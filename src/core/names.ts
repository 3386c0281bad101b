/** Names of databases: as parts of paths, and as the names of their relatives on the server. */

import { createHash } from 'node:crypto';
import { HoldfastError } from './errors.ts';
import { compactTime } from './label.ts';

/** PostgreSQL's NAMEDATALEN - 1: a longer identifier is cut by the server, in bytes. */
export const identifierBytesMax = 63;

/**
 * Refuses what no database can be called, before the server cuts it.
 *
 * @throws HoldfastError USAGE
 */
export function requireDatabaseName(name: string): void {
  const bytes = Buffer.byteLength(name, 'utf8');
  if (name !== '' && bytes <= identifierBytesMax && !name.includes('\0')) return;
  const fact =
    name === ''
      ? 'the name of a database is empty'
      : `${JSON.stringify(name)} is no name of a database (${bytes} bytes)`;
  throw new HoldfastError('USAGE', fact, {
    hint: `A name has 1 to ${identifierBytesMax} bytes and no NUL character.`,
  });
}

const plainByte = /[A-Za-z0-9_.-]/;

/**
 * Percent-encodes a name as one component of a path (REPOSITORY.md, "Names"): everything but
 * `A–Z a–z 0–9 _ - .` by its UTF-8 bytes; `.` and `..` never come out as themselves.
 * {@link decodeComponent} is its mirror.
 */
export function encodeComponent(name: string): string {
  if (name === '.' || name === '..') return name.replaceAll('.', '%2E');
  let encoded = '';
  for (const byte of Buffer.from(name, 'utf8')) {
    const character = String.fromCharCode(byte);
    encoded += plainByte.test(character)
      ? character
      : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return encoded;
}

/** The name behind an encoded component, or `null` when no name is encoded so. */
export function decodeComponent(component: string): string | null {
  let name: string;
  try {
    name = decodeURIComponent(component);
  } catch {
    return null;
  }
  return name !== '' && encodeComponent(name) === component ? name : null;
}

/**
 * A relative of a database on the same server, such as `app__restoring_20261121T020000Z`. Where
 * that would be longer than 63 bytes the front is shortened at a character and a hash of the whole
 * name is put in, so that two long names never meet; the server never cuts it.
 */
function relativeName(database: string, suffix: string): string {
  const whole = `${database}${suffix}`;
  if (Buffer.byteLength(whole, 'utf8') <= identifierBytesMax) return whole;
  const hash = createHash('sha256').update(database, 'utf8').digest('hex').slice(0, 8);
  const tail = `~${hash}${suffix}`;
  const room = identifierBytesMax - Buffer.byteLength(tail, 'utf8');
  let front = '';
  let bytes = 0;
  for (const character of database) {
    bytes += Buffer.byteLength(character, 'utf8');
    if (bytes > room) break;
    front += character;
  }
  return `${front}${tail}`;
}

/** The name under which a restore builds the new database, beside the old one. */
export function restoringName(database: string, startedAt: Date): string {
  return relativeName(database, `__restoring_${compactTime(startedAt)}`);
}

/** The name under which the old database stays after the swap. */
export function beforeName(database: string, startedAt: Date): string {
  return relativeName(database, `__before_${compactTime(startedAt)}`);
}

/** What a database that a restore has left on the server is. */
export type LeftoverKind = 'restoring' | 'before';

const leftoverSuffix = /__(restoring|before)_\d{8}T\d{6}Z$/;

/** Whether a restore of that database, at whatever time, would have chosen the name. */
export function isLeftoverNameOf(name: string, database: string): boolean {
  const suffix = leftoverSuffix.exec(name)?.[0];
  return suffix !== undefined && relativeName(database, suffix) === name;
}

/** Whether a restore of that database would have built the new one under the name. */
export function isRestoringNameOf(name: string, database: string): boolean {
  return leftoverKind(name) === 'restoring' && isLeftoverNameOf(name, database);
}

/** Tells the leftovers of restores from databases of the user's own, by their name. */
export function leftoverKind(database: string): LeftoverKind | null {
  const match = leftoverSuffix.exec(database);
  return match === null ? null : (match[1] as LeftoverKind);
}
