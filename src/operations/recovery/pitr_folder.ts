/** The folder that a cluster is restored into: new or empty, and marked while it is unfinished. */

import { lstat, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../../core/errors.ts';
import {
  errorNumber,
  folderMode,
  fsyncFolder,
  replaceFile,
  writeNewFile,
} from '../../process/durable.ts';
import { requireOurPlace } from './pitr_place.ts';

/** Lies in every folder of a restore as long as that has not ended. */
export const unfinishedName = 'holdfast_restore_unfinished';

const unfinishedText =
  'A restore into this folder has not ended: its files are not complete, and no server may run\n' +
  'on them. Where restore_pitr.ts runs no more, run it again with --delta to go on, or with\n' +
  '--force to begin anew.\n';
const identifierLine = 'system identifier: ';

/** What a mark says. */
export interface Mark {
  /** Of the cluster that is restored; `null` where it does not say. */
  readonly systemIdentifier: string | null;
}

/** The mark in a folder, or `null` where a restore has ended or never begun. */
export async function readMark(folder: string): Promise<Mark | null> {
  try {
    const text = await readFile(join(folder, unfinishedName), 'utf8');
    const line = text.split('\n').find((each) => each.startsWith(identifierLine));
    return { systemIdentifier: line?.slice(identifierLine.length) ?? null };
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return null;
    throw error;
  }
}

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

/** Whether a folder is new or empty. @throws HoldfastError USAGE for no folder */
export async function isFree(folder: string): Promise<boolean> {
  const names = await namesIn(folder);
  if (names !== null) return names.length === 0;
  return (await lstat(folder).catch(() => null)) === null;
}

/**
 * Looks whether a cluster can be restored into a folder.
 *
 * @throws HoldfastError USAGE when it is neither new nor empty, WRONG_USER when this user may not
 *   make it or does not own it
 */
export async function requireFree(folder: string): Promise<void> {
  const names = await namesIn(folder);
  if (names === null) {
    // A dangling link is not new: what it points to would be made somewhere else.
    if ((await lstat(folder).catch(() => null)) === null) return requireOurPlace(folder);
    throw new HoldfastError('USAGE', `${JSON.stringify(folder)} is a link that leads nowhere`, {
      hint: 'Name a new or empty folder.',
    });
  }
  if (names.length === 0) return requireOurPlace(folder);
  if (names.includes(unfinishedName)) {
    const text = `${JSON.stringify(folder)} holds a restore that has not ended`;
    throw new HoldfastError('USAGE', text, {
      hint: 'Run it again with --delta to go on, or with --force to begin anew.',
    });
  }
  throw new HoldfastError('USAGE', `${JSON.stringify(folder)} is not empty, and was not touched`, {
    hint: 'Name a new or empty folder; or add --delta or --force, where it is a data directory.',
  });
}

/**
 * Makes a folder, or takes an empty one, and marks it: of two who try, one fails with EEXIST and
 * has touched nothing.
 */
export async function begin(folder: string, systemIdentifier: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: folderMode });
  await writeNewFile(join(folder, unfinishedName), markBytes(systemIdentifier));
}

/** Marks a folder that holds something: the mark of a restore that was killed, too. */
export async function markAgain(folder: string, systemIdentifier: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: folderMode });
  await replaceFile(join(folder, unfinishedName), markBytes(systemIdentifier));
}

function markBytes(systemIdentifier: string): Buffer {
  return Buffer.from(`${unfinishedText}${identifierLine}${systemIdentifier}\n`);
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
