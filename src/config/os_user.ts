/** What the system knows of the user who runs this, which in a container may be nothing. */

import { userInfo } from 'node:os';
import { HoldfastError } from '../core/errors.ts';

interface KnownUser {
  readonly username: string;
  readonly homedir: string;
}

/** `null` for a uid that the system has no name for: userInfo() throws then. */
function lookUp(read: () => KnownUser): KnownUser | null {
  try {
    return read();
  } catch {
    return null;
  }
}

/**
 * The user's home folder by the system's word; `/` where it knows none.
 *
 * @param read how the system is asked; another one stands for a user without a name
 */
export function systemHome(read: () => KnownUser = userInfo): string {
  return lookUp(read)?.homedir ?? '/';
}

/**
 * The user's name, which libpq takes for the role where none is named.
 *
 * @param read how the system is asked; another one stands for a user without a name
 * @throws HoldfastError CONFIG_INVALID where the system knows none
 */
export function systemUserName(read: () => KnownUser = userInfo): string {
  const user = lookUp(read);
  if (user !== null) return user.username;
  const uid = process.getuid?.() ?? 'unknown';
  throw new HoldfastError(
    'CONFIG_INVALID',
    `no role is named and this user (uid ${uid}) has no name`,
    { hint: 'Set PGUSER to the role to connect as.' },
  );
}
