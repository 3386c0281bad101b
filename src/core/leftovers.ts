/**
 * What restores leave on a server: the databases that they replaced (`…__before_<time>`), and, where
 * they were killed, the ones that they were building (`…__restoring_<time>`).
 */

import { parseCompactTime } from './label.ts';
import { identifierBytesMax, isLeftoverNameOf, type LeftoverKind, leftoverKind } from './names.ts';

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

/** What the name of a leftover says. */
export interface LeftoverName {
  readonly kind: LeftoverKind;
  /** The start of the restore, to the second. */
  readonly createdAt: Date;
}

/** Takes a name apart; `null` when no restore would have chosen it. */
export function parseLeftoverName(name: string): LeftoverName | null {
  const kind = leftoverKind(name);
  const createdAt = kind === null ? null : parseCompactTime(name.slice(-16));
  return kind === null || createdAt === null ? null : { kind, createdAt };
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
  const kind = leftoverKind(name);
  if (kind === null) return null;
  const said = kind === 'restoring' ? restoringCommentTarget(comment) : null;
  if (said !== null && isLeftoverNameOf(name, said)) return said;
  const literal = name.slice(0, name.length - `__${kind}_20261121T020000Z`.length);
  const bytes = Buffer.byteLength(name, 'utf8');
  if (bytes < shortenedBytesMin || !shortenedEnd.test(literal)) {
    return literal === '' ? null : literal;
  }
  const possible = databases.filter((database) => isLeftoverNameOf(name, database));
  const [only, second] = possible;
  return only === undefined || second !== undefined || only === literal ? null : only;
}
