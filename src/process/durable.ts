/**
 * Files that survive a crash of the machine: the bytes are fsynced before the name appears, and the
 * folder is fsynced after it (manual of fsync(2): that of a file does not keep its folder's entry).
 */

import { randomBytes } from 'node:crypto';
import { link, mkdir, open, rename, rm, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { HoldfastError } from '../core/errors.ts';

/** Files of the repository are for their owner alone, and so are its folders. */
export const fileMode = 0o600;
export const folderMode = 0o700;

/** What no finished file or folder ends with. */
export const partialSuffix = '.partial';

/** How long a reservation may stand before it is taken for what a crash has left. */
const reservationMsMax = 60_000;
const reservationWaitMs = 20;

/** What link(2) says where the file system has no hard links (vfat, some of FUSE, some of SMB). */
const noHardLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/** The number of an operating system's error by its name, such as `ENOENT`; else `undefined`. */
export function errorNumber(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Makes the entries of a folder durable. File systems that cannot do it (some of FUSE and SMB say
 * EINVAL or ENOTSUP) keep them in their own way.
 */
export async function fsyncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } catch (error) {
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'].includes(errorNumber(error) ?? '')) throw error;
  } finally {
    await handle.close();
  }
}

/**
 * Creates a folder and what is missing above it, durably. One that exists is left as it is.
 *
 * @param isParentThere then ENOENT is final: some file systems say it of what they do not let in
 */
export async function makeFolders(path: string, isParentThere = false): Promise<void> {
  try {
    await mkdir(path, { mode: folderMode });
  } catch (error) {
    const number = errorNumber(error);
    if (number === 'EEXIST') {
      if ((await stat(path)).isDirectory()) return;
      throw error;
    }
    if (number !== 'ENOENT' || isParentThere || dirname(path) === path) throw error;
    await makeFolders(dirname(path));
    return makeFolders(path, true);
  }
  await fsyncFolder(dirname(path));
}

/** A name beside the given one under which it can be written; it ends in {@link partialSuffix}. */
export function temporaryPath(path: string): string {
  return join(dirname(path), `${randomBytes(9).toString('hex')}${partialSuffix}`);
}

/** Writes a small file under a new temporary name, fsynced. Nothing stays when that fails. */
async function writeTemporary(path: string, bytes: Uint8Array, mode = fileMode): Promise<string> {
  const temporary = temporaryPath(path);
  const handle = await open(temporary, 'wx', mode);
  try {
    // The umask has taken away what others are to read.
    if (((await handle.stat()).mode & mode) !== mode) await handle.chmod(mode);
    await handle.writeFile(bytes);
    await handle.sync();
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
  return temporary;
}

/**
 * Writes a small file whole or not at all, in the place of an older one if there is one.
 *
 * @param mode of the file, whatever the umask takes; {@link fileMode} unless told
 * @throws Node's errors
 */
export async function replaceFile(path: string, bytes: Uint8Array, mode?: number): Promise<void> {
  const temporary = await writeTemporary(path, bytes, mode);
  try {
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await fsyncFolder(dirname(path));
}

/**
 * Gives a finished temporary file its name, which must not exist: of two who race, one fails with
 * EEXIST. link(2) does that in one step; rename(2) would overwrite.
 *
 * @param makeLink link(2); another one stands for a file system without it
 * @throws Node's errors, and then the temporary file is still there
 */
export async function publishFile(
  temporary: string,
  path: string,
  makeLink: (from: string, to: string) => Promise<void> = link,
): Promise<void> {
  try {
    await makeLink(temporary, path);
  } catch (error) {
    if (!noHardLinks.has(errorNumber(error) ?? '')) throw error;
    await publishReserved(temporary, path);
    return;
  }
  await unlink(temporary);
  await fsyncFolder(dirname(path));
}

/**
 * The same without hard links: mkdir(2) of a reservation lets one writer in at a time, who looks
 * whether the name is free and renames.
 */
async function publishReserved(temporary: string, path: string): Promise<void> {
  const reservation = `${path}.reserved${partialSuffix}`;
  await reserve(reservation);
  try {
    const existing = await stat(path).catch(() => null);
    if (existing !== null) {
      throw Object.assign(new Error(`EEXIST: file already exists, rename '${path}'`), {
        code: 'EEXIST',
      });
    }
    await rename(temporary, path);
    await fsyncFolder(dirname(path));
  } finally {
    await rmdir(reservation);
  }
}

/** Takes a reservation, and the one that a crash has left for too long a time away. */
async function reserve(reservation: string): Promise<void> {
  const attempts = Math.ceil((2 * reservationMsMax) / reservationWaitMs);
  for (let attempt = 0; attempt < attempts; attempt += 1) {
    try {
      await mkdir(reservation, { mode: folderMode });
      return;
    } catch (error) {
      if (errorNumber(error) !== 'EEXIST') throw error;
    }
    const since = await stat(reservation).catch(() => null);
    if (since !== null && Date.now() - since.mtimeMs > reservationMsMax) {
      await rmdir(reservation).catch(() => undefined);
    } else {
      await new Promise((resolve) => setTimeout(resolve, reservationWaitMs));
    }
  }
  throw new HoldfastError('LOCKED', `another run is writing ${reservation}`, {
    hint: 'Try again; if no other run exists, remove that folder.',
  });
}

/**
 * Writes a small new file whole or not at all; fails with EEXIST where one is.
 *
 * @throws Node's errors
 */
export async function writeNewFile(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = await writeTemporary(path, bytes);
  try {
    await publishFile(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
