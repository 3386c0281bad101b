/** The store in a folder of this machine, whatever is mounted there. */

import type { Dirent } from 'node:fs';
import {
  lstat,
  mkdir,
  readdir,
  realpath,
  rename,
  rm,
  rmdir,
  statfs,
  unlink,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  errorNumber,
  folderMode,
  fsyncFolder,
  makeFolders,
  partialSuffix,
  publishFile,
  temporaryPath,
} from '../process/durable.ts';
import { endBody } from './body.ts';
import {
  isKeyComponent,
  joinKey,
  requireFolder,
  requireKey,
  requireName,
  requireRange,
} from './key.ts';
import { type Doing, isMissing, linkError, localError } from './local_errors.ts';
import { readFileFrom, writeFileFrom } from './local_file.ts';
import { LocalFolderWriter } from './local_folder.ts';
import { findUnfinishedFolders, findUnfinishedObjects } from './local_unfinished.ts';
import type {
  ByteRange,
  FolderWriter,
  Storage,
  StoredObject,
  UnfinishedFolder,
  UnfinishedObject,
} from './storage.ts';
import { existsError, notFoundError } from './store_errors.ts';

export interface LocalStorageOptions {
  /** The folder of the store; it is created with the first object. */
  readonly root: string;
}

const pageObjects = 1000;

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
    requireRange(range);
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

  async identity(key: string): Promise<string | null> {
    requireKey(key);
    return this.#attempt('reading', key, async () => {
      try {
        const stats = await lstat(await this.#path(key), { bigint: true });
        // The change time moves with whatever happens to a file, and nobody can set it back.
        const { dev, ino, size, mtimeNs, ctimeNs } = stats;
        return stats.isFile() ? [dev, ino, size, mtimeNs, ctimeNs].join('-') : null;
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
    requireName(commitName);
    await this.#attempt('removing', folder, async () => {
      try {
        const path = await this.#path(folder);
        if (!(await lstat(path)).isDirectory()) return;
        // Renamed first, all of it is gone at once, and an unfinished folder if this run is killed.
        const leaving = await renamedAway(path);
        await rm(join(leaving, commitName), { force: true });
        await fsyncFolder(leaving);
        await rm(leaving, { recursive: true, force: true });
        await fsyncFolder(dirname(path));
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    });
  }

  async removeIfEmpty(folder: string): Promise<boolean> {
    requireKey(folder);
    return this.#attempt('removing', folder, async () => {
      try {
        const path = await this.#path(folder);
        await rmdir(path);
        await fsyncFolder(dirname(path));
        return true;
      } catch (error) {
        const number = errorNumber(error) ?? '';
        if (isMissing(error) || ['ENOTEMPTY', 'EEXIST'].includes(number)) return false;
        throw error;
      }
    });
  }

  async createFolder(folder: string): Promise<FolderWriter> {
    requireKey(folder);
    return this.#attempt('writing', folder, async () => {
      const path = await this.#makePartial(folder).catch((error: unknown) => {
        // A prune has removed the empty folder above it in between: it is created again.
        if (errorNumber(error) === 'ENOENT') return this.#makePartial(folder);
        throw error;
      });
      return new LocalFolderWriter(folder, path, this.description);
    });
  }

  /** @returns the path that the folder will have */
  async #makePartial(folder: string): Promise<string> {
    const path = await this.#pathToWrite(folder);
    if ((await lstat(path).catch(() => null)) !== null) {
      throw existsError(folder, this.description);
    }
    await mkdir(`${path}${partialSuffix}`, { mode: folderMode });
    await fsyncFolder(dirname(path));
    return path;
  }

  /** Looks below a folder; nothing is found where there is none. */
  #findBelow<Found>(
    folder: string,
    find: (path: string, folder: string) => Promise<Found[]>,
  ): Promise<Found[]> {
    requireFolder(folder);
    return this.#attempt('reading', folder, async () => {
      try {
        return await find(dirname(await this.#path(joinKey(folder, 'x'))), folder);
      } catch (error) {
        if (isMissing(error)) return [];
        throw error;
      }
    });
  }

  async unfinishedFolders(folder: string): Promise<readonly UnfinishedFolder[]> {
    return this.#findBelow(folder, findUnfinishedFolders);
  }

  async unfinishedObjects(folder: string): Promise<readonly UnfinishedObject[]> {
    return this.#findBelow(folder, findUnfinishedObjects);
  }

  async removeUnfinished(key: string): Promise<void> {
    requireKey(key);
    await this.#attempt('removing', key, async () => {
      try {
        const path = await this.#path(key);
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

/** Takes a folder's name away, so that nobody finds it any more. @returns where it lies then */
async function renamedAway(path: string): Promise<string> {
  const leaving = `${path}${partialSuffix}`;
  try {
    await rename(path, leaving);
  } catch (error) {
    // What a killed run has left lies under that name: the folder goes as it is.
    if (!['ENOTEMPTY', 'EEXIST'].includes(errorNumber(error) ?? '')) throw error;
    return path;
  }
  await fsyncFolder(dirname(path));
  return leaving;
}
