/**
 * The port that every store implements, and its written contract. test/contract/storage.ts holds a
 * store against it; a new store passes that suite as it is.
 *
 * The contract:
 * 1. A key is a relative path with `/` between its components; no component is empty, `.` or `..`,
 *    holds a NUL byte, or ends in `.partial`. Every method refuses any other key (PATH_REFUSED).
 * 2. Objects are written once. `put` on a key that exists fails with STORE_EXISTS and changes
 *    nothing.
 * 3. An object is there whole or not at all: a body that fails, a full disk, a kill leave no object
 *    under the key, and neither `list` nor `stat` nor `get` ever shows a part of one.
 * 4. When `put` or `commit` has resolved, the bytes survive a crash of the machine.
 * 5. A folder appears with its commit, all its objects at once; before that none of them is seen
 *    by `list`, `stat` or `get`.
 * 6. `remove` of what is not there is no error.
 * 7. Nothing is logged: errors are HoldfastErrors with the store's name and the key in the message.
 *    A store beyond a network has sent again what the network lost, and only that, before it fails.
 *    A key that does not exist is `null` (stat) or BACKUP_NOT_FOUND (get).
 */

import type { Readable } from 'node:stream';
import type { Tier } from '../core/label.ts';
import type { MeasuredBytes } from '../core/manifest.ts';
import type { ProcessIdentity } from '../process/identity.ts';

/** What a store knows about one object. */
export interface StoredObject {
  readonly key: string;
  readonly bytes: number;
  readonly modifiedAt: Date;
  /** What `identity` would answer, where the store tells it along with the rest. */
  readonly identity?: string;
}

/** What a folder is about, for a store that tells others of it (metadata, tags, classes). */
export interface FolderFacts {
  /** `null`: it is no logical backup. */
  readonly tier: Tier | null;
  /** The database's name as it is; `null`: a whole cluster. */
  readonly database: string | null;
  readonly startedAt: Date;
}

/** A part of an object: from byte `start`, `bytes` long (to the end when absent). */
export interface ByteRange {
  readonly start: number;
  readonly bytes?: number;
}

/** A store of objects, under the contract above. */
export interface Storage {
  /** For messages: "local store /var/backups", never with a secret. */
  readonly description: string;

  /** Writes one object. The body is consumed; when it fails, nothing stays. */
  put(key: string, body: Readable | Uint8Array): Promise<StoredObject>;

  /** Opens an object for reading. The stream fails with a HoldfastError if the store breaks off. */
  get(key: string, range?: ByteRange): Promise<Readable>;

  stat(key: string): Promise<StoredObject | null>;

  /**
   * Tells this object from any that ever lay or will lie under the key, so that what was learnt of
   * it can be remembered; `null` when there is none.
   */
  identity(key: string): Promise<string | null>;

  /**
   * All objects whose key lies in the folder (`''`: all), in pages, sorted by key within a folder.
   * Without the contents of folders that are not committed.
   */
  list(folder: string): AsyncIterable<readonly StoredObject[]>;

  /** The names of the folders and objects directly in a folder, sorted; for walking down a tree. */
  children(folder: string): Promise<readonly string[]>;

  remove(key: string): Promise<void>;

  /**
   * Removes a committed folder: it is gone for everyone at once, or, where the store cannot do
   * that, first the object that committed it goes and then the rest. A crash in between leaves
   * something that is no backup.
   *
   * @param commitName the name of the committing object in the folder (`manifest.json`)
   */
  removeFolder(folder: string, commitName: string): Promise<void>;

  /** Begins a folder that appears whole with {@link FolderWriter.commit}, or never. */
  createFolder(folder: string, facts?: FolderFacts): Promise<FolderWriter>;

  /** Removes a folder that holds nothing at all. @returns whether it was there and is gone */
  removeIfEmpty(folder: string): Promise<boolean>;

  /** The folders below `folder` that were begun and neither committed nor aborted. */
  unfinishedFolders(folder: string): Promise<readonly UnfinishedFolder[]>;

  /**
   * The objects below `folder` that were begun, by whoever still writes them or was killed; without
   * those in unfinished folders.
   */
  unfinishedObjects(folder: string): Promise<readonly UnfinishedObject[]>;

  /** Removes what is left of an unfinished folder or object. */
  removeUnfinished(key: string): Promise<void>;

  /** Bytes that can still be written, or `null` where the store cannot tell. */
  freeBytes(): Promise<number | null>;

  /**
   * Until when the store itself keeps the object, whoever asks it to remove it; `null` when nothing
   * holds it, or nothing is there. A backup whose manifest is held is retained until then, which is
   * no error: `removeFolder` refuses it (STORE_REFUSED, with `retained_until` in the details).
   * A store without the method holds nothing.
   */
  retainedUntil?(key: string): Promise<Date | null>;

  /**
   * All that lies below a folder, told in one walk: a bucket tells a thousand objects in one
   * answer, and would be asked once for each folder by who walks down the tree. A store without the
   * method is walked down as fast.
   */
  survey?(folder: string): Promise<Survey>;

  /**
   * By how many milliseconds our clock is ahead of the store's, to a second or so; `null` when the
   * store does not tell. A store without the method has our own clock.
   */
  clockAheadMs?(): Promise<number | null>;
}

/** All that lies below a folder, in memory. */
export interface Survey {
  /** What `list` gives, sorted by key within a folder, each with its identity. */
  readonly objects: readonly StoredObject[];
  /** What `unfinishedFolders` gives. */
  readonly unfinishedFolders: readonly UnfinishedFolder[];
}

/** A folder that was begun: its key without any suffix, and when something last changed in it. */
export interface UnfinishedFolder {
  readonly folder: string;
  readonly modifiedAt: Date;
  /** The process that writes or removes it, where the store tells; else absent. */
  readonly writer?: ProcessIdentity;
}

/** An object that was begun: a key that nothing finished has, and when it last changed. */
export interface UnfinishedObject {
  readonly key: string;
  readonly bytes: number;
  readonly modifiedAt: Date;
}

/** Writes the objects of one folder and then makes them appear together. */
export interface FolderWriter {
  /** The key under which the folder will appear. */
  readonly folder: string;

  /** Writes an object of the folder; durable when it resolves, not yet visible. */
  put(name: string, body: Readable | Uint8Array): Promise<StoredObject>;

  /** Reads back what was put, from the store itself. */
  get(name: string): Promise<Readable>;

  /**
   * Reads back what was put, from the store itself, and measures it; in little memory, since nobody
   * keeps what was read.
   *
   * @throws besides what `get` throws, the reason of the signal
   */
  measure(name: string, signal: AbortSignal): Promise<MeasuredBytes>;

  /** Writes the last object and makes the folder appear. Fails with STORE_EXISTS if it is there. */
  commit(name: string, body: Uint8Array): Promise<void>;

  /** Removes everything that was put. Harmless after a commit that failed; does not throw. */
  abort(): Promise<void>;
}
