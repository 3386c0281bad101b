/**
 * Where alerts are remembered while the repository is gone (a disk that is not mounted): without it
 * each run of the monitor would tell the same again.
 */

import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { type AlertMemory, emptyMemory } from '../../core/alert_memory.ts';
import { makeFolders } from '../../process/durable.ts';
import type { Context } from '../context.ts';
import { inDiskTime, openMemory, readAlertMemory } from './memory.ts';

const digestLength = 16;

/** A home that is not there (`/nonexistent` of a system's user) is not made. */
async function homeOf(home: string | undefined): Promise<string | null> {
  if (home === undefined || !isAbsolute(home)) return null;
  const stats = await inDiskTime(stat(home)).catch(() => null);
  return stats?.isDirectory() === true ? home : null;
}

/** What systemd gives (`StateDirectory=`), else the place of the XDG base directories. */
async function stateHome({ environment }: Context): Promise<string | null> {
  const { STATE_DIRECTORY: given = '', XDG_STATE_HOME: own = '', HOME } = environment;
  const [ofUnit = ''] = given.split(':');
  if (isAbsolute(ofUnit)) return ofUnit;
  if (isAbsolute(own)) return join(own, 'holdfast');
  const home = await homeOf(HOME);
  return home === null ? null : join(home, '.local/state/holdfast');
}

/**
 * A folder of this user on this machine, another one for each repository.
 *
 * @returns `null` where this user has no place for what is to last
 */
export async function spareStateDir(context: Context): Promise<string | null> {
  const parent = await stateHome(context);
  if (parent === null) return null;
  const digest = createHash('sha256').update(context.config.settings.backup_dir).digest('hex');
  return join(parent, digest.slice(0, digestLength));
}

/** Makes the folder that the one of a repository lies in. @throws the system's error */
export async function makeSpareHome(spareDir: string): Promise<void> {
  await inDiskTime(makeFolders(dirname(spareDir)));
}

/** What was remembered there; `null`: nothing, or it cannot be read, as it is of another user. */
export async function readSpare(spareDir: string): Promise<AlertMemory | null> {
  const memory = await inDiskTime(readAlertMemory(spareDir)).catch(() => emptyMemory);
  return isDeepStrictEqual(memory, emptyMemory) ? null : memory;
}

/**
 * Forgets what the repository's own memory has taken in, unless somebody has changed it meanwhile.
 *
 * @throws HoldfastError LOCKED, NO_SPACE, STORE_REFUSED, STORE_UNREACHABLE
 */
export async function forgetSpare(spareDir: string, taken: AlertMemory): Promise<void> {
  const memory = openMemory(spareDir, () => undefined);
  await memory.update((now) => (isDeepStrictEqual(now, taken) ? emptyMemory : now));
}
