/** What the operating system's errors mean for a store in a folder. */

import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { errorNumber } from '../process/durable.ts';
import { BodyFailure } from './body.ts';
import { existsError, notFoundError } from './store_errors.ts';

const refusals = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR']);

/** A symbolic link lies where a file or folder of the store should be. */
export function linkError(key: string, description: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    'PATH_REFUSED',
    `${key} in ${description} lies behind a symbolic link, which is not followed`,
    { hint: 'Put the files themselves there, or mount the other disk at that place.', cause },
  );
}

/** Whether nothing lies under that name: no entry, or a file where a folder would have to be. */
export function isMissing(error: unknown): boolean {
  const number = errorNumber(error);
  return number === 'ENOENT' || number === 'ENOTDIR';
}

/** What was being done to which key of which store. */
export interface Doing {
  readonly verb: 'reading' | 'writing' | 'removing';
  /** `''`: the store itself. */
  readonly key: string;
  readonly description: string;
}

/** The error of a store for whatever was thrown while it worked on a key. */
export function localError(thrown: unknown, { verb, key, description }: Doing): HoldfastError {
  const where = key === '' ? `${verb} ${description}` : `${verb} ${key} in ${description}`;
  if (thrown instanceof BodyFailure) return toHoldfastError(thrown.cause, where);
  const number = systemError(thrown);
  if (number === null || isFull(number) || isLimit(number)) return toHoldfastError(thrown, where);
  if (number === 'EEXIST' || number === 'ENOTEMPTY') return existsError(key, description, thrown);
  if (number === 'ENOENT' && verb === 'reading') return notFoundError(key, description, thrown);
  if (number === 'ELOOP') return linkError(key, description, thrown);
  const text = `${where}: ${(thrown as Error).message}`;
  if (number === 'EFBIG') {
    const hint = 'The file system or the limit `ulimit -f` allows no larger files.';
    return new HoldfastError('NO_SPACE', text, { hint, cause: thrown });
  }
  if (number === 'ENAMETOOLONG') {
    const hint = 'Choose a shorter CLUSTER or BACKUP_DIR.';
    return new HoldfastError('PATH_REFUSED', text, { hint, cause: thrown });
  }
  if (refusals.has(number)) {
    const hint = 'Run as the user that owns the repository, or mend the permissions.';
    return new HoldfastError('STORE_REFUSED', text, { hint, cause: thrown });
  }
  const hint = 'Look at the disk or mount behind that folder, and at the system log.';
  return new HoldfastError('STORE_UNREACHABLE', text, { hint, cause: thrown });
}

function isFull(number: string): boolean {
  return number === 'ENOSPC' || number === 'EDQUOT';
}

/** No more files can be opened, whichever they are: the disk is not at fault. */
function isLimit(number: string): boolean {
  return number === 'EMFILE' || number === 'ENFILE';
}

/** The name of the operating system's error, or `null`: Node's own errors have no number. */
function systemError(thrown: unknown): string | null {
  if (!(thrown instanceof Error) || thrown instanceof HoldfastError) return null;
  // `EEXIST` is also thrown by publishFile, where the file system has no call that says so.
  const hasNumber = 'errno' in thrown && typeof thrown.errno === 'number';
  const name = errorNumber(thrown) ?? null;
  return hasNumber || name === 'EEXIST' ? name : null;
}
