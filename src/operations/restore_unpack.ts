/** The temporary file that holds the unpacked dump for several jobs, and what old ones left. */

import { type FileHandle, lstat, mkdtemp, open, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import { fileMode } from '../process/durable.ts';
import { identityName, ownIdentity, parseIdentityName, processState } from '../process/identity.ts';

/** A place for an unpacked dump, in a folder that only this user can enter. */
export interface UnpackedFile {
  readonly path: string;
  /** Empty, open for reading and writing; whoever writes it closes it. */
  readonly handle: FileHandle;
  /** Removes the file and its folder. */
  remove(): Promise<void>;
}

/** Of a folder for an unpacked dump; the process that it belongs to follows. */
const unpackedPrefix = 'holdfast-restore-';

/** Removes the unpacked dumps that killed restores of this host and user have left. */
async function removeStaleUnpacked(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(unpackedPrefix)) continue;
    const owner = parseIdentityName(name.slice(unpackedPrefix.length));
    if (owner === null || processState(owner) !== 'dead') continue;
    const folder = join(parent, name);
    const stats = await lstat(folder).catch(() => null);
    if (stats?.isDirectory() !== true || stats.uid !== process.getuid?.()) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

/** @throws HoldfastError CONFIG_INVALID when there is no such folder */
async function freeBytesIn(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (cause) {
    throw new HoldfastError('CONFIG_INVALID', `temp_dir (TMPDIR): ${folder} cannot be used`, {
      hint: 'Set TMPDIR to an existing folder, or restore with --jobs 1, which unpacks nothing.',
      cause,
    });
  }
}

/**
 * Makes the folder for an unpacked dump, after it has removed those of killed restores.
 *
 * @param parent the setting `temp_dir`
 * @param plainBytes what the file will hold, where that is known
 * @throws HoldfastError CONFIG_INVALID when there is no such folder, NO_SPACE when it is too full
 */
export async function createUnpackedFile(
  parent: string,
  plainBytes: number | null,
): Promise<UnpackedFile> {
  // Once for the folder itself, and again for what the removal has freed.
  await freeBytesIn(parent);
  await removeStaleUnpacked(parent);
  const free = await freeBytesIn(parent);
  if (plainBytes !== null && plainBytes > free) {
    const [needed, there] = [formatBytes(plainBytes), formatBytes(free)];
    throw new HoldfastError(
      'NO_SPACE',
      `several jobs need ${needed} in ${parent} for the unpacked dump, and ${there} are free`,
      { hint: 'Restore with --jobs 1, which unpacks nothing, or set TMPDIR to a larger folder.' },
    );
  }
  const folder = await mkdtemp(join(parent, `${unpackedPrefix}${identityName(ownIdentity())}~`));
  const path = join(folder, 'database.dump');
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    return { path, handle: await open(path, 'wx+', fileMode), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
