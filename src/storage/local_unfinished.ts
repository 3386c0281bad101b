/** What lies unfinished in a local store: names that end in `.partial`. */

import type { Dirent } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { partialSuffix } from '../process/durable.ts';
import { isKeyComponent, joinKey } from './key.ts';
import { isMissing } from './local_errors.ts';
import type { UnfinishedFolder, UnfinishedObject } from './storage.ts';

/** A name with the suffix taken off, or `null` where nothing finished could have that name. */
function finishedName(name: string): string | null {
  if (!name.endsWith(partialSuffix)) return null;
  const finished = name.slice(0, -partialSuffix.length);
  return isKeyComponent(finished) ? finished : null;
}

/** What was removed or committed since its parent was read is not there. */
function noneIfMissing(error: unknown): [] {
  if (isMissing(error)) return [];
  throw error;
}

/**
 * Walks down from a folder that is there and behind no link; symbolic links are not followed, and
 * nothing is looked for in an unfinished folder.
 */
async function walk<Found>(
  path: string,
  folder: string,
  look: (entry: Dirent, path: string, folder: string) => Promise<readonly Found[]>,
): Promise<Found[]> {
  const found: Found[] = [];
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const below = join(path, entry.name);
    if (entry.isDirectory() && isKeyComponent(entry.name)) {
      const inside = walk(below, joinKey(folder, entry.name), look);
      found.push(...(await inside.catch(noneIfMissing)));
    } else {
      found.push(...(await look(entry, below, folder).catch(noneIfMissing)));
    }
  }
  return found;
}

/** When something last changed in a folder or in one of its files. */
async function lastChange(path: string): Promise<Date> {
  let latest = (await lstat(path)).mtime;
  for (const name of await readdir(path)) {
    const stats = await lstat(join(path, name)).catch(() => null);
    if (stats !== null && stats.mtime > latest) latest = stats.mtime;
  }
  return latest;
}

/**
 * The folders that were begun below a folder.
 *
 * @param path of the folder, which is there and behind no link
 * @throws Node's errors
 */
export function findUnfinishedFolders(path: string, folder: string): Promise<UnfinishedFolder[]> {
  return walk(path, folder, async (entry, below, parent) => {
    const name = finishedName(entry.name);
    if (name === null || !entry.isDirectory()) return [];
    return [{ folder: joinKey(parent, name), modifiedAt: await lastChange(below) }];
  });
}

/**
 * The objects that were begun below a folder, but for those in unfinished folders.
 *
 * @param path of the folder, which is there and behind no link
 * @throws Node's errors
 */
export function findUnfinishedObjects(path: string, folder: string): Promise<UnfinishedObject[]> {
  return walk(path, folder, async (entry, below, parent) => {
    const name = finishedName(entry.name);
    if (name === null || !entry.isFile()) return [];
    const { size, mtime } = await lstat(below);
    return [{ key: joinKey(parent, name), bytes: size, modifiedAt: mtime }];
  });
}
