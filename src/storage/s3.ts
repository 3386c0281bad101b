/**
 * The store in a bucket of Amazon S3, or of any server that speaks its protocol. This file and what
 * it imports load the SDK: open.ts imports it only when a bucket is opened.
 */

import { Readable } from 'node:stream';
import { endBody } from './body.ts';
import { requireFolder, requireKey, requireName, requireRange } from './key.ts';
import { PartBuffers } from './part_buffers.ts';
import type { S3Bucket } from './s3_bucket.ts';
import { S3Connection } from './s3_connection.ts';
import { beginFolder } from './s3_folder.ts';
import { S3Listing } from './s3_list.ts';
import { S3Marks } from './s3_marks.ts';
import type { S3Options } from './s3_options.ts';
import { readObject } from './s3_read.ts';
import { removeFolder, removeObject, removeUnfinished, retainedUntil } from './s3_remove.ts';
import { survey, unfinishedFolders, unfinishedObjects } from './s3_unfinished.ts';
import { uploadObject } from './s3_upload.ts';
import type {
  ByteRange,
  FolderFacts,
  FolderWriter,
  Storage,
  StoredObject,
  Survey,
  UnfinishedFolder,
  UnfinishedObject,
} from './storage.ts';
import { notFoundError } from './store_errors.ts';

/** Opens a bucket as a store. Nothing is sent before it is used. */
export function createS3Storage(options: S3Options): S3Storage {
  return new S3Storage(options);
}

/** A store in a bucket; see {@link createS3Storage}. */
class S3Storage implements Storage {
  readonly description: string;
  readonly #bucket: S3Bucket;
  readonly #buffers = new PartBuffers();

  constructor(options: S3Options) {
    requireFolder(options.prefix);
    const connection = new S3Connection(options);
    this.description = connection.description;
    this.#bucket = {
      connection,
      listing: new S3Listing(connection),
      marks: new S3Marks(connection),
    };
  }

  async put(key: string, body: Readable | Uint8Array): Promise<StoredObject> {
    try {
      const { connection } = this.#bucket;
      const about = { connection, key: requireKey(key), facts: null };
      return await uploadObject(about, this.#buffers, body);
    } catch (error) {
      endBody(body);
      throw error;
    }
  }

  async get(key: string, range: ByteRange = { start: 0 }): Promise<Readable> {
    requireKey(key);
    requireRange(range);
    const { connection, listing } = this.#bucket;
    if (range.bytes === 0) {
      if ((await this.stat(key)) === null) throw notFoundError(key, this.description);
      return Readable.from([]);
    }
    const body = await readObject(connection, key, range);
    try {
      if (await listing.isVisible(key)) return body;
    } catch (error) {
      body.destroy();
      throw error;
    }
    body.destroy();
    throw notFoundError(key, this.description);
  }

  async stat(key: string): Promise<StoredObject | null> {
    const { listing } = this.#bucket;
    const found = await listing.look(requireKey(key));
    return found !== null && (await listing.isVisible(key)) ? found : null;
  }

  async identity(key: string): Promise<string | null> {
    return (await this.stat(key))?.identity ?? null;
  }

  async *list(folder: string): AsyncGenerator<readonly StoredObject[]> {
    for await (const { shown } of this.#bucket.listing.walk(requireFolder(folder))) {
      if (shown.length > 0) yield shown;
    }
  }

  async children(folder: string): Promise<readonly string[]> {
    return this.#bucket.listing.children(requireFolder(folder));
  }

  async remove(key: string): Promise<void> {
    await removeObject(this.#bucket, requireKey(key));
  }

  async removeFolder(folder: string, commitName: string): Promise<void> {
    await removeFolder(this.#bucket, requireKey(folder), requireName(commitName));
  }

  async createFolder(folder: string, facts?: FolderFacts): Promise<FolderWriter> {
    return beginFolder(this.#bucket, this.#buffers, requireKey(folder), facts ?? null);
  }

  /** A bucket has no folders of their own: an empty one is not there. */
  async removeIfEmpty(folder: string): Promise<boolean> {
    requireKey(folder);
    return false;
  }

  async unfinishedFolders(folder: string): Promise<readonly UnfinishedFolder[]> {
    return unfinishedFolders(this.#bucket, requireFolder(folder));
  }

  async unfinishedObjects(folder: string): Promise<readonly UnfinishedObject[]> {
    return unfinishedObjects(this.#bucket, requireFolder(folder));
  }

  async removeUnfinished(key: string): Promise<void> {
    await removeUnfinished(this.#bucket, requireKey(key));
  }

  /** A bucket has no end that could be told. */
  async freeBytes(): Promise<null> {
    return null;
  }

  async survey(folder: string): Promise<Survey> {
    return survey(this.#bucket, requireFolder(folder));
  }

  async retainedUntil(key: string): Promise<Date | null> {
    return retainedUntil(this.#bucket, requireKey(key));
  }

  async clockAheadMs(): Promise<number | null> {
    const { connection, listing } = this.#bucket;
    if (connection.clockAheadMs === null) await listing.pages('clock', 'level').next();
    return connection.clockAheadMs;
  }

  /** Ends the connections that are kept open for the next request. */
  async close(): Promise<void> {
    await this.#bucket.connection.close();
  }
}
