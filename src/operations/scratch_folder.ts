/** Folders for what is unpacked for a while, and what became of those of killed runs. */

import { lstat, mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../core/errors.ts';
import { identityName, ownIdentity, parseIdentityName, processState } from '../process/identity.ts';

/** A folder that only this user can enter. */
export interface ScratchFolder {
  readonly path: string;
  /** What its file system has left for this user. */
  readonly freeBytes: number;
  remove(): Promise<void>;
}

/** Removes the folders of killed runs of this host and user. */
async function removeStale(parent: string, prefix: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix)) continue;
    const owner = parseIdentityName(name.slice(prefix.length));
    if (owner === null || processState(owner) !== 'dead') continue;
    const folder = join(parent, name);
    const stats = await lstat(folder).catch(() => null);
    if (stats?.isDirectory() !== true || stats.uid !== process.getuid?.()) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

async function freeBytesIn(folder: string, hint: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (cause) {
    const text = `temp_dir (TMPDIR): ${folder} cannot be used`;
    throw new HoldfastError('CONFIG_INVALID', text, { hint, cause });
  }
}

/**
 * Makes a folder of this process, after it has removed those of killed ones.
 *
 * @param parent the setting `temp_dir`
 * @param prefix tells what it is for, and ends in a hyphen; the process that it belongs to follows
 * @param hint what to do where `parent` cannot be used
 * @throws HoldfastError CONFIG_INVALID when there is no such folder
 */
export async function createScratchFolder(
  parent: string,
  prefix: string,
  hint: string,
): Promise<ScratchFolder> {
  // Once for the folder itself, and again for what the removal has freed.
  await freeBytesIn(parent, hint);
  await removeStale(parent, prefix);
  const freeBytes = await freeBytesIn(parent, hint);
  const path = await mkdtemp(join(parent, `${prefix}${identityName(ownIdentity())}~`));
  return { path, freeBytes, remove: () => rm(path, { recursive: true, force: true }) };
}
