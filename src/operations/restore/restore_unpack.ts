/** The temporary file that holds the unpacked dump for several jobs. */

import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../../core/errors.ts';
import { formatBytes } from '../../core/units.ts';
import { fileMode } from '../../process/durable.ts';
import { createScratchFolder } from '../scratch_folder.ts';

/** A place for an unpacked dump, in a folder that only this user can enter. */
export interface UnpackedFile {
  readonly path: string;
  /** Empty, open for reading and writing; whoever writes it closes it. */
  readonly handle: FileHandle;
  /** Removes the file and its folder. */
  remove(): Promise<void>;
}

/** Of a folder for an unpacked dump. */
const unpackedPrefix = 'holdfast-restore-';

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
  const hint = 'Set TMPDIR to an existing folder, or restore with --jobs 1, which unpacks nothing.';
  const {
    path: folder,
    freeBytes,
    remove,
  } = await createScratchFolder(parent, unpackedPrefix, hint);
  try {
    if (plainBytes !== null && plainBytes > freeBytes) {
      const [needed, there] = [formatBytes(plainBytes), formatBytes(freeBytes)];
      throw new HoldfastError(
        'NO_SPACE',
        `several jobs need ${needed} in ${parent} for the unpacked dump, and ${there} are free`,
        { hint: 'Restore with --jobs 1, which unpacks nothing, or set TMPDIR to a larger folder.' },
      );
    }
    const path = join(folder, 'database.dump');
    return { path, handle: await open(path, 'wx+', fileMode), remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
