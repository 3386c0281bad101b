/**
 * Everything runs as the user that owns the repository (PRODUCT.md, "Who runs it"): a command that
 * root starts becomes that user, so that no file of the repository ever belongs to the wrong one.
 */

import { accessSync, constants, statSync } from 'node:fs';
import type { Config } from '../config/load.ts';
import { HoldfastError } from '../core/errors.ts';
import type { Log } from '../process/console.ts';
import { becomeUser, findUserById, isRoot } from '../process/user.ts';
import { projectDir } from './version.ts';

/**
 * Becomes the owner of the repository where root started the command and the repository belongs to
 * somebody else.
 *
 * @returns what changes in the environment of children
 * @throws HoldfastError WRONG_USER when that user cannot read the checkout, or does not exist
 */
export async function runAsOwner(
  config: Config,
  log: Log,
): Promise<Readonly<Record<string, string>>> {
  if (!isRoot()) return {};
  const root = config.settings.backup_dir;
  const owner = statSync(root, { throwIfNoEntry: false })?.uid;
  if (owner === undefined || owner === 0) return {};
  const user = findUserById(owner);
  if (user === null) {
    throw new HoldfastError('WRONG_USER', `${root} belongs to user ${owner}, who does not exist`, {
      hint: `Give it to an existing user: chown -R postgres ${root}.`,
    });
  }
  log.step(`running as ${user.name}, who owns ${root}`);
  const changed = becomeUser(user);
  try {
    accessSync(`${projectDir}/package.json`, constants.R_OK);
  } catch (cause) {
    throw new HoldfastError('WRONG_USER', `${user.name} may not read ${projectDir}`, {
      hint: 'Put the checkout where everybody may read it, such as /opt/holdfast.',
      cause,
    });
  }
  return changed;
}
