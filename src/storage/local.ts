/** The store in a folder of this machine, whatever is mounted there. */

import type { Dirent } from 'node:fs';
import { lstat, mkdir, readdir, realpath, rename, rm, statfs, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { assert } from '../core/assert.ts';
import {
  errorNumber,
  folderMode,
  fsyncFolder,
  makeFolders,
  partialSuffix,
  publishFile,
  temporaryPath,
} from '../process/durable.ts';
import { isKeyComponent, joinKey, requireFolder, requireKey, requireName } from './key.ts';
import { type Doing, existsError, linkError, localError, notFoundError } from './local_errors.ts';
import { endBody, readFileFrom, writeFileFrom } from './local_file.ts';
import { LocalFolderWriter } from './local_folder.ts';
import type {
  ByteRange,
  FolderWriter,
  Storage,
  StoredObject,
  UnfinishedFolder,
} from './storage.ts';

export interface LocalStorageOptions {
  /** The folder of the store; it is created with the first object. */
  readonly root: string;
}

const pageObjects = 1000;

/** Whether nothing lies under that name: no entry, or a file where a folder would have to be. */
function isMissing(error: unknown): boolean {
  const number = errorNumber(error);
  return number === 'ENOENT' || number === 'ENOTDIR';
}

/**
 * Opens a store in a folder. Files have the mode 0600, folders 0700; symbolic links below the root
 * are never followed. A folder is written into `<folder>.partial/` and renamed by its commit.
 */
export function createLocalStorage({ root }: LocalStorageOptions): Storage {
  return new LocalStorage(root);
}

class LocalStorage implements Storage {
  readonly description: string;
  readonly #root: string;
  /** The root itself may lie behind links: where it really is, once it exists. */
  #realRoot: string | null = null;

  constructor(root: string) {
    this.#root = root;
    this.description = `local store ${root}`;
  }

  /** Does something and tells its failure in the words of the port. */
  async #attempt<T>(verb: Doing['verb'], key: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw localError(error, { verb, key, description: this.description });
    }
  }

  /**
   * The path of a key, once it is sure that no symbolic link lies on the way to it.
   *
   * @throws Node's errors: ENOENT when a folder on the way is missing
   */
  async #path(key: string): Promise<string> {
    this.#realRoot ??= await realpath(this.#root);
    const root = this.#realRoot;
    const path = key === '' ? root : join(root, key);
    const folder = key === '' ? root : dirname(path);
    if ((await realpath(folder)) !== folder) throw linkError(key, this.description);
    return path;
  }

  /** The same for a key that is about to be written: the folders on the way are created. */
  async #pathToWrite(key: string): Promise<string> {
    try {
      return await this.#path(key);
    } catch (error) {
      if (errorNumber(error) !== 'ENOENT') throw error;
    }
    await makeFolders(this.#root);
    let folder = await realpath(this.#root);
    this.#realRoot = folder;
    for (const component of key.split('/').slice(0, -1)) {
      folder = join(folder, component);
      const stats = await lstat(folder).catch(() => null);
      if (stats?.isSymbolicLink() === true) throw linkError(key, this.description);
      if (stats === null) await makeFolders(folder);
    }
    return this.#path(key);
  }

  async put(key: string, body: Readable | Uint8Array): Promise<StoredObject> {
    return this.#attempt('writing', key, async () => {
      try {
        const path = await this.#pathToWrite(requireKey(key));
        const temporary = temporaryPath(path);
        await writeFileFrom(temporary, body);
        await publishOrRemove(temporary, path);
        const { size, mtime } = await lstat(path);
        return { key, bytes: size, modifiedAt: mtime };
      } catch (error) {
        endBody(body);
        throw error;
      }
    });
  }

  async get(key: string, range: ByteRange = { start: 0 }): Promise<Readable> {
    requireKey(key);
    for (const bytes of [range.start, range.bytes ?? 0]) {
      assert(Number.isSafeInteger(bytes) && bytes >= 0, 'a range of bytes is not negative');
    }
    const doing: Doing = { verb: 'reading', key, description: this.description };
    return this.#attempt('reading', key, async () => {
      const body = await this.#path(key)
        .then((path) => readFileFrom(path, range, (error) => localError(error, doing)))
        .catch((error: unknown) => {
          if (errorNumber(error) === 'ENOTDIR') return null;
          throw error;
        });
      if (body === null) throw notFoundError(key, this.description);
      return body;
    });
  }

  async stat(key: string): Promise<StoredObject | null> {
    requireKey(key);
    return this.#attempt('reading', key, async () => {
      try {
        const stats = await lstat(await this.#path(key));
        if (stats.isSymbolicLink()) throw linkError(key, this.description);
        return stats.isFile() ? { key, bytes: stats.size, modifiedAt: stats.mtime } : null;
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
    });
  }

  /** The files and folders in a folder that are finished, sorted; none where there is no folder. */
  async #entries(folder: string): Promise<Dirent[]> {
    try {
      // The last component must be no link either: a name behind it makes #path look.
      const path = dirname(await this.#path(joinKey(folder, 'x')));
      const entries = await readdir(path, { withFileTypes: true });
      return entries
        .filter((entry) => (entry.isFile() || entry.isDirectory()) && isKeyComponent(entry.name))
        .sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  async *#walk(folder: string): AsyncGenerator<StoredObject> {
    for (const entry of await this.#attempt('reading', folder, () => this.#entries(folder))) {
      const key = joinKey(folder, entry.name);
      if (entry.isDirectory()) {
        yield* this.#walk(key);
        continue;
      }
      const stored = await this.stat(key);
      // What was removed since its folder was read is not there.
      if (stored !== null) yield stored;
    }
  }

  async *list(folder: string): AsyncGenerator<readonly StoredObject[]> {
    requireFolder(folder);
    let page: StoredObject[] = [];
    for await (const stored of this.#walk(folder)) {
      page.push(stored);
      if (page.length < pageObjects) continue;
      yield page;
      page = [];
    }
    if (page.length > 0) yield page;
  }

  async children(folder: string): Promise<readonly string[]> {
    requireFolder(folder);
    const entries = await this.#attempt('reading', folder, () => this.#entries(folder));
    return entries.map((entry) => entry.name);
  }

  async remove(key: string): Promise<void> {
    requireKey(key);
    await this.#attempt('removing', key, async () => {
      try {
        const path = await this.#path(key);
        if (!(await lstat(path)).isFile()) return;
        await unlink(path);
        await fsyncFolder(dirname(path));
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  async removeFolder(folder: string, commitName: string): Promise<void> {
    requireKey(folder);
    await this.remove(joinKey(folder, requireName(commitName)));
    await this.#attempt('removing', folder, async () => {
      try {
        const path = await this.#path(folder);
        if (!(await lstat(path)).isDirectory()) return;
        await fsyncFolder(path);
        const leaving = `${path}${partialSuffix}`;
        // Renamed first, it is an unfinished folder to everyone if this run is killed now. Where
        // one lies there already it goes as it is.
        const renamed = await rename(path, leaving).then(
          () => true,
          () => false,
        );
        await rm(renamed ? leaving : path, { recursive: true, force: true });
        await fsyncFolder(dirname(path));
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  async createFolder(folder: string): Promise<FolderWriter> {
    requireKey(folder);
    return this.#attempt('writing', folder, async () => {
      const path = await this.#pathToWrite(folder);
      if ((await lstat(path).catch(() => null)) !== null) {
        throw existsError(folder, this.description);
      }
      const partial = `${path}${partialSuffix}`;
      await mkdir(partial, { mode: folderMode });
      await fsyncFolder(dirname(partial));
      return new LocalFolderWriter(folder, path, this.description);
    });
  }

  async unfinishedFolders(folder: string): Promise<readonly UnfinishedFolder[]> {
    requireFolder(folder);
    return this.#attempt('reading', folder, async () => {
      try {
        const path = dirname(await this.#path(joinKey(folder, 'x')));
        return await findUnfinished(path, folder);
      } catch (error) {
        if (isMissing(error)) return [];
        throw error;
      }
    });
  }

  async removeUnfinished(folder: string): Promise<void> {
    requireKey(folder);
    await this.#attempt('removing', folder, async () => {
      try {
        const path = await this.#path(folder);
        await rm(`${path}${partialSuffix}`, { recursive: true, force: true });
        await fsyncFolder(dirname(path));
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  freeBytes(): Promise<number | null> {
    return this.#attempt('reading', '', async () => {
      const { bavail, bsize } = await statfs(this.#root);
      return bavail * bsize;
    });
  }
}

/** Gives a finished file its name; where that fails the file goes. */
async function publishOrRemove(temporary: string, path: string): Promise<void> {
  try {
    await publishFile(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Walks down from a folder that is there and behind no link; symbolic links are not followed. */
async function findUnfinished(path: string, folder: string): Promise<UnfinishedFolder[]> {
  const found: UnfinishedFolder[] = [];
  for (const entry of await readdir(path, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const below = join(path, entry.name);
    if (isKeyComponent(entry.name)) {
      const inside = findUnfinished(below, joinKey(folder, entry.name));
      found.push(...(await inside.catch(noneIfMissing)));
      continue;
    }
    const name = entry.name.slice(0, -partialSuffix.length);
    if (!entry.name.endsWith(partialSuffix) || !isKeyComponent(name)) continue;
    const modifiedAt = await lastChange(below).catch(noneIfMissing);
    if (modifiedAt instanceof Date) found.push({ folder: joinKey(folder, name), modifiedAt });
  }
  return found;
}

/** What was removed or committed since its parent was read is not there. */
function noneIfMissing(error: unknown): [] {
  if (isMissing(error)) return [];
  throw error;
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
