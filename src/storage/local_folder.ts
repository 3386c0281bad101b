/** A folder of the local store that is being written: `<folder>.partial/` until its commit. */

import { lstat, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import type { MeasuredBytes } from '../core/manifest.ts';
import { fsyncFolder, partialSuffix } from '../process/durable.ts';
import { endBody } from './body.ts';
import { joinKey, requireName } from './key.ts';
import { type Doing, localError } from './local_errors.ts';
import { measureFile, readFileFrom, writeFileFrom } from './local_file.ts';
import type { FolderWriter, StoredObject } from './storage.ts';
import { existsError, notFoundError } from './store_errors.ts';

/** Writes into a folder of that suffix which exists and is empty. */
export class LocalFolderWriter implements FolderWriter {
  readonly folder: string;
  readonly #path: string;
  readonly #partial: string;
  readonly #description: string;
  #committed = false;

  constructor(folder: string, path: string, description: string) {
    this.folder = folder;
    this.#path = path;
    this.#partial = `${path}${partialSuffix}`;
    this.#description = description;
  }

  #error(thrown: unknown, verb: Doing['verb'], key: string): Error {
    return localError(thrown, { verb, key, description: this.#description });
  }

  async put(name: string, body: Readable | Uint8Array): Promise<StoredObject> {
    const key = joinKey(this.folder, name);
    try {
      const path = join(this.#partial, requireName(name));
      await writeFileFrom(path, body);
      const { size, mtime } = await lstat(path);
      return { key, bytes: size, modifiedAt: mtime };
    } catch (error) {
      endBody(body);
      throw this.#error(error, 'writing', key);
    }
  }

  async get(name: string): Promise<Readable> {
    const key = joinKey(this.folder, name);
    try {
      const path = join(this.#partial, requireName(name));
      const body = await readFileFrom(path, { start: 0 }, (error) =>
        this.#error(error, 'reading', key),
      );
      if (body === null) throw notFoundError(key, this.#description);
      return body;
    } catch (error) {
      throw this.#error(error, 'reading', key);
    }
  }

  async measure(name: string, signal: AbortSignal): Promise<MeasuredBytes> {
    const key = joinKey(this.folder, name);
    try {
      const measured = await measureFile(join(this.#partial, requireName(name)), signal);
      if (measured === null) throw notFoundError(key, this.#description);
      return measured;
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw this.#error(error, 'reading', key);
    }
  }

  async commit(name: string, body: Uint8Array): Promise<void> {
    await this.put(name, body);
    try {
      await fsyncFolder(this.#partial);
      // rename(2) would take the place of an empty folder, so one is looked for first; it fails
      // by itself where the other run has committed.
      if ((await lstat(this.#path).catch(() => null)) !== null) {
        throw existsError(this.folder, this.#description);
      }
      await rename(this.#partial, this.#path);
      await this.#syncParent();
      this.#committed = true;
    } catch (error) {
      throw this.#error(error, 'writing', this.folder);
    }
  }

  /** What cannot be made durable is taken back: nobody shall see a commit that failed. */
  async #syncParent(): Promise<void> {
    try {
      await fsyncFolder(dirname(this.#path));
    } catch (error) {
      await rename(this.#path, this.#partial).catch(() => undefined);
      throw error;
    }
  }

  async abort(): Promise<void> {
    if (this.#committed) return;
    await rm(this.#partial, { recursive: true, force: true }).catch(() => undefined);
    await fsyncFolder(dirname(this.#partial)).catch(() => undefined);
  }
}
