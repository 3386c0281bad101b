/** The errors that every store has. */

import { HoldfastError } from '../core/errors.ts';

/** An object of that key, or a folder that was begun under it, is there already. */
export function existsError(key: string, description: string, cause?: unknown): HoldfastError {
  return new HoldfastError('STORE_EXISTS', `${key} exists already in ${description}`, { cause });
}

/** There is no object of that key. */
export function notFoundError(key: string, description: string, cause?: unknown): HoldfastError {
  return new HoldfastError('BACKUP_NOT_FOUND', `there is no ${key} in ${description}`, { cause });
}
