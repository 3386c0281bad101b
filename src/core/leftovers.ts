/**
 * What restores leave on a server: the databases that they replaced (`…__before_<time>`), and where
 * they were killed, the ones that they were building (`…__restoring_<time>`).
 */

import { parseCompactTime } from './label.ts';
import { identifierBytesMax, isLeftoverNameOf, type LeftoverKind, leftoverKind } from './names.ts';
import { shellQuote, shownIdentifier } from './quote.ts';

const commentStart = 'holdfast: being restored as ';

/** The comment of a database that a restore of that target is building. */
export function restoringComment(target: string): string {
  return `${commentStart}${JSON.stringify(target)}`;
}

/** The mirror of {@link restoringComment}; `null` for any other comment. */
export function restoringCommentTarget(comment: string | null): string | null {
  if (comment === null || !comment.startsWith(commentStart)) return null;
  try {
    const target: unknown = JSON.parse(comment.slice(commentStart.length));
    return typeof target === 'string' ? target : null;
  } catch {
    return null;
  }
}

/** `20261121T020000Z` */
const compactTimeLength = 16;

/** What the name of a leftover says. */
export interface LeftoverName {
  readonly kind: LeftoverKind;
  /** What stands before the suffix: the target's name, or what is left of a long one. */
  readonly front: string;
  /** The start of the restore, to the second. */
  readonly createdAt: Date;
}

/** Takes a name apart; `null` when no restore would have chosen it. */
export function parseLeftoverName(name: string): LeftoverName | null {
  const kind = leftoverKind(name);
  const time = name.slice(-compactTimeLength);
  const createdAt = kind === null ? null : parseCompactTime(time);
  if (kind === null || createdAt === null) return null;
  return { kind, front: name.slice(0, -`__${kind}_${time}`.length), createdAt };
}

/** How a name ends that was shortened (core/names.ts), but for its suffix. */
const shortenedEnd = /~[0-9a-f]{8}$/;
/** A character of UTF-8 has up to 4 bytes, so up to 3 stay free when a name is shortened. */
const shortenedBytesMin = identifierBytesMax - 3;

/**
 * Which database a leftover was made for, or `null` where that cannot be told for certain: a name
 * that was shortened does not hold its target's, and may read like the name of another database.
 *
 * @param databases the names of all databases of the server
 * @param comment of the leftover
 */
export function leftoverTarget(
  name: string,
  databases: readonly string[],
  comment: string | null,
): string | null {
  const parsed = parseLeftoverName(name);
  if (parsed === null) return null;
  const { kind, front } = parsed;
  const said = kind === 'restoring' ? restoringCommentTarget(comment) : null;
  if (said !== null && isLeftoverNameOf(name, said)) return said;
  const bytes = Buffer.byteLength(name, 'utf8');
  if (bytes < shortenedBytesMin || !shortenedEnd.test(front)) return front === '' ? null : front;
  const possible = databases.filter((database) => isLeftoverNameOf(name, database));
  const [only, second] = possible;
  return only === undefined || second !== undefined || only === front ? null : only;
}

/** What deciding takes of a leftover. */
export interface KnownLeftover {
  readonly name: string;
  readonly oid: number;
  readonly kind: LeftoverKind;
  readonly target: string | null;
  readonly createdAt: Date;
}

/** What to type to drop a leftover. */
export function dropLeftover({ name, target }: Pick<KnownLeftover, 'name' | 'target'>): string {
  if (target === null) return `DROP DATABASE ${shownIdentifier(name)};`;
  const operand = `${target.startsWith('-') ? '-- ' : ''}${shellQuote(target)}`;
  return `scripts/restore_backup.ts --drop-old ${operand}`;
}

/** The leftovers of a kind that surely were made for a database, youngest first. */
export function leftoversOf<L extends KnownLeftover>(
  leftovers: readonly L[],
  kind: LeftoverKind,
  database: string,
): L[] {
  return leftovers
    .filter((leftover) => leftover.kind === kind && leftover.target === database)
    .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime() || b.oid - a.oid);
}

/**
 * The time in the name of a database that is put aside now: later than in all such names of that
 * database, also where the clock was set back. So the one that was put aside last is the youngest,
 * and a second rollback takes back the first one.
 */
export function putAsideAt(now: Date, others: readonly Pick<KnownLeftover, 'createdAt'>[]): Date {
  const youngestMs = Math.max(...others.map(({ createdAt }) => createdAt.getTime()), -Infinity);
  return new Date(Math.max(now.getTime(), youngestMs + 1000));
}
