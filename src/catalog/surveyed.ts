/**
 * A store as one look at it has shown it, for who reads a whole tree of it: folders are then walked
 * in memory. What is read or written goes to the store itself.
 */

import type { Readable } from 'node:stream';
import { HoldfastError } from '../core/errors.ts';
import type {
  ByteRange,
  FolderFacts,
  FolderWriter,
  Storage,
  StoredObject,
  Survey,
  UnfinishedFolder,
  UnfinishedObject,
} from '../storage/storage.ts';

/** Whether a key lies in a folder, at any depth. */
function isBelow(key: string, folder: string): boolean {
  return folder === '' || key.startsWith(`${folder}/`);
}

/** Sorted as every store sorts: by code units. */
function sorted(names: Iterable<string>): string[] {
  return [...names].sort((a, b) => (a < b ? -1 : 1));
}

/**
 * Looks at all that lies below some folders. A store that is walked as fast is given back as it is.
 *
 * @param folders none of them lies in another one
 * @throws HoldfastError when the store cannot be read
 */
export async function surveyed(storage: Storage, folders: readonly string[]): Promise<Storage> {
  if (storage.survey === undefined) return storage;
  const looked = new SurveyedStorage(storage);
  for (const folder of folders) looked.add(folder, await storage.survey(folder));
  return looked;
}

class SurveyedStorage implements Storage {
  readonly description: string;
  readonly #storage: Storage;
  readonly #folders: string[] = [];
  readonly #objects = new Map<string, StoredObject>();
  /** The names directly in each folder. */
  readonly #children = new Map<string, Set<string>>();
  readonly #unfinished: UnfinishedFolder[] = [];

  constructor(storage: Storage) {
    this.#storage = storage;
    this.description = storage.description;
  }

  add(folder: string, { objects, unfinishedFolders }: Survey): void {
    this.#folders.push(folder);
    this.#unfinished.push(...unfinishedFolders);
    for (const object of objects) {
      this.#objects.set(object.key, object);
      for (let key = object.key; key !== folder; ) {
        const end = key.lastIndexOf('/');
        const parent = end === -1 ? '' : key.slice(0, end);
        const names = this.#children.get(parent) ?? new Set();
        this.#children.set(parent, names.add(key.slice(end + 1)));
        if (names.size > 1 || parent === '') break;
        key = parent;
      }
    }
  }

  #isKnown(key: string): boolean {
    return this.#folders.some((folder) => key === folder || isBelow(key, folder));
  }

  /** What has gone since it was seen is no longer told. */
  #forget(key: string): void {
    const folder = key.slice(0, key.lastIndexOf('/'));
    for (const name of this.#children.get(folder) ?? []) this.#objects.delete(`${folder}/${name}`);
    this.#children.delete(folder);
  }

  async get(key: string, range?: ByteRange): Promise<Readable> {
    try {
      return await this.#storage.get(key, range);
    } catch (error) {
      if (error instanceof HoldfastError && error.code === 'BACKUP_NOT_FOUND') this.#forget(key);
      throw error;
    }
  }

  async stat(key: string): Promise<StoredObject | null> {
    return this.#isKnown(key) ? (this.#objects.get(key) ?? null) : this.#storage.stat(key);
  }

  async identity(key: string): Promise<string | null> {
    if (!this.#isKnown(key)) return this.#storage.identity(key);
    const object = this.#objects.get(key);
    return object === undefined ? null : (object.identity ?? this.#storage.identity(key));
  }

  async *list(folder: string): AsyncGenerator<readonly StoredObject[]> {
    if (!this.#isKnown(folder)) return yield* this.#storage.list(folder);
    const found = [...this.#objects.values()].filter(({ key }) => isBelow(key, folder));
    if (found.length > 0) yield found;
  }

  async children(folder: string): Promise<readonly string[]> {
    if (!this.#isKnown(folder)) return this.#storage.children(folder);
    return sorted(this.#children.get(folder) ?? []);
  }

  async unfinishedFolders(folder: string): Promise<readonly UnfinishedFolder[]> {
    if (!this.#isKnown(folder)) return this.#storage.unfinishedFolders(folder);
    return this.#unfinished.filter((each) => isBelow(each.folder, folder));
  }

  put(key: string, body: Readable | Uint8Array): Promise<StoredObject> {
    return this.#storage.put(key, body);
  }

  remove(key: string): Promise<void> {
    return this.#storage.remove(key);
  }

  removeFolder(folder: string, commitName: string): Promise<void> {
    return this.#storage.removeFolder(folder, commitName);
  }

  createFolder(folder: string, facts?: FolderFacts): Promise<FolderWriter> {
    return this.#storage.createFolder(folder, facts);
  }

  removeIfEmpty(folder: string): Promise<boolean> {
    return this.#storage.removeIfEmpty(folder);
  }

  unfinishedObjects(folder: string): Promise<readonly UnfinishedObject[]> {
    return this.#storage.unfinishedObjects(folder);
  }

  removeUnfinished(key: string): Promise<void> {
    return this.#storage.removeUnfinished(key);
  }

  freeBytes(): Promise<number | null> {
    return this.#storage.freeBytes();
  }

  async retainedUntil(key: string): Promise<Date | null> {
    return (await this.#storage.retainedUntil?.(key)) ?? null;
  }
}
