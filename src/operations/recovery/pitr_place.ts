/** Whether this user may make a data directory in a place. */

import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemUserName } from '../../config/os_user.ts';
import { HoldfastError } from '../../core/errors.ts';
import { shellQuote } from '../../core/quote.ts';

/** The folder itself, or the nearest above it that there is. */
async function nearestFolder(folder: string): Promise<string> {
  for (let at = folder; ; at = dirname(at)) {
    if ((await stat(at).catch(() => null)) !== null || at === dirname(at)) return at;
  }
}

/**
 * Looks whether a folder can be made, or is this user's: PostgreSQL runs on no other one's.
 *
 * @param folder an absolute path
 * @throws HoldfastError WRONG_USER with the line that root types
 */
export async function requireOurPlace(folder: string): Promise<void> {
  const nearest = await nearestFolder(folder);
  const isOpen = await access(nearest, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
  const isOurs = nearest !== folder || (await stat(folder)).uid === process.geteuid?.();
  if (isOpen && isOurs) return;
  const user = systemUserName();
  const fact = isOpen ? `does not belong to ${user}` : `is closed to ${user}`;
  throw new HoldfastError('WRONG_USER', `${JSON.stringify(nearest)} ${fact}`, {
    hint: `As root: install --directory --owner=${user} --mode=0700 ${shellQuote(folder)}`,
  });
}
