/** The folder that a cluster is restored into: new or empty, and marked while it is unfinished. */

import { lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../core/errors.ts';
import { errorNumber, folderMode, fsyncFolder, writeNewFile } from '../process/durable.ts';

/** Lies in every folder of a restore as long as that has not ended. */
const unfinishedName = 'holdfast_restore_unfinished';

const unfinishedText =
  'A restore into this folder has not ended: its files are not complete, and no server may run\n' +
  'on them. Where restore_pitr.ts runs no more, remove the folder and run it again.\n';

/** What a folder holds; `null` where there is none. @throws HoldfastError USAGE for no folder */
async function namesIn(folder: string): Promise<string[] | null> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return null;
    if (errorNumber(error) !== 'ENOTDIR') throw error;
    throw new HoldfastError('USAGE', `${JSON.stringify(folder)} is no folder`, {
      hint: 'Name a new or empty folder.',
    });
  }
}

/**
 * Looks whether a cluster can be restored into a folder.
 *
 * @throws HoldfastError USAGE when it is neither new nor empty
 */
export async function requireFree(folder: string): Promise<void> {
  const names = await namesIn(folder);
  if (names === null) {
    // A dangling link is not new: what it points to would be made somewhere else.
    if ((await lstat(folder).catch(() => null)) === null) return;
    throw new HoldfastError('USAGE', `${JSON.stringify(folder)} is a link that leads nowhere`, {
      hint: 'Name a new or empty folder.',
    });
  }
  if (names.length === 0) return;
  if (names.includes(unfinishedName)) {
    const text = `${JSON.stringify(folder)} holds a restore that has not ended`;
    throw new HoldfastError('USAGE', text, {
      hint: 'Where no restore_pitr.ts runs on it any more, remove what is in it, and run it again.',
    });
  }
  throw new HoldfastError('USAGE', `${JSON.stringify(folder)} is not empty, and was not touched`, {
    hint: 'Name a new or empty folder.',
  });
}

/**
 * Makes a folder, or takes an empty one, and marks it: of two who try, one fails with EEXIST and
 * has touched nothing.
 */
export async function begin(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: folderMode });
  await writeNewFile(join(folder, unfinishedName), Buffer.from(unfinishedText));
}

/** Takes the mark away: from now on the files are complete. */
export async function finish(folder: string): Promise<void> {
  await rm(join(folder, unfinishedName));
  await fsyncFolder(folder);
}

/** Removes what is in a folder, and leaves the folder; the mark goes last. */
export async function empty(folder: string): Promise<void> {
  const names = (await namesIn(folder)) ?? [];
  const options = { recursive: true, force: true } as const;
  for (const name of names) {
    if (name !== unfinishedName) await rm(join(folder, name), options);
  }
  await rm(join(folder, unfinishedName), options);
}
