/** A folder of a bucket that is being written: hidden by its mark until the manifest is there. */

import type { Readable } from 'node:stream';
import { HoldfastError } from '../core/errors.ts';
import type { MeasuredBytes } from '../core/manifest.ts';
import { endBody, measureBody } from './body.ts';
import { joinKey, requireName } from './key.ts';
import type { PartBuffers } from './part_buffers.ts';
import type { S3Bucket } from './s3_bucket.ts';
import { commitName } from './s3_keys.ts';
import { newOwner } from './s3_marks.ts';
import { readObject } from './s3_read.ts';
import { removeObject } from './s3_remove.ts';
import { uploadObject } from './s3_upload.ts';
import type { FolderFacts, FolderWriter, StoredObject } from './storage.ts';
import { existsError } from './store_errors.ts';

/** Begins a folder. @throws HoldfastError STORE_EXISTS when it is there, or was begun */
export async function beginFolder(
  bucket: S3Bucket,
  buffers: PartBuffers,
  folder: string,
  facts: FolderFacts | null,
): Promise<FolderWriter> {
  const { connection, listing, marks } = bucket;
  const { value: page } = await listing.pages(folder, 'level').next();
  if (page !== undefined && page.objects.length + page.folders.length > 0) {
    throw existsError(folder, connection.description);
  }
  const owner = newOwner();
  await marks.begin(folder, owner);
  listing.note(folder, false);
  return new S3FolderWriter({ bucket, buffers, folder, facts, owner });
}

interface WriterOptions {
  readonly bucket: S3Bucket;
  readonly buffers: PartBuffers;
  readonly folder: string;
  readonly facts: FolderFacts | null;
  /** What its mark says as long as it is ours. */
  readonly owner: string;
}

class S3FolderWriter implements FolderWriter {
  readonly folder: string;
  readonly #options: WriterOptions;
  /** What was put, or is being put. */
  readonly #names = new Set<string>();
  #committed = false;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.folder = options.folder;
  }

  async put(name: string, body: Readable | Uint8Array): Promise<StoredObject> {
    const { bucket, buffers, facts } = this.#options;
    const { connection } = bucket;
    try {
      const key = joinKey(this.folder, requireName(name));
      if (this.#names.has(name)) throw existsError(key, connection.description);
      this.#names.add(name);
      return await uploadObject({ connection, key, facts }, buffers, body).catch(
        (error: unknown) => {
          // What somebody else has put there is not ours to remove.
          this.#names.delete(name);
          throw error;
        },
      );
    } catch (error) {
      endBody(body);
      throw error;
    }
  }

  async get(name: string): Promise<Readable> {
    const key = joinKey(this.folder, requireName(name));
    return readObject(this.#options.bucket.connection, key, { start: 0 });
  }

  async measure(name: string, signal: AbortSignal): Promise<MeasuredBytes> {
    return measureBody(await this.get(name), signal);
  }

  /** A prune elsewhere takes over what nobody seemed to write any more. */
  async #requireOurs(): Promise<void> {
    const { bucket, owner } = this.#options;
    if ((await bucket.marks.read(this.folder)) === owner) return;
    throw new HoldfastError(
      'STORE_REFUSED',
      `${this.folder} in ${bucket.connection.description} was removed while it was written`,
      { hint: 'Run it again; look which prune takes a run for dead that goes on.' },
    );
  }

  async commit(name: string, body: Uint8Array): Promise<void> {
    const { bucket } = this.#options;
    const { marks, listing } = bucket;
    requireName(name);
    await this.#requireOurs();
    await this.put(name, body);
    try {
      await this.#requireOurs();
    } catch (error) {
      await removeObject(bucket, joinKey(this.folder, name));
      throw error;
    }
    this.#committed = true;
    listing.note(this.folder, true);
    await marks.erase(this.folder).catch((error: unknown) => {
      // Beside the object that commits a folder its mark says nothing.
      if (name !== commitName) throw error;
    });
  }

  async abort(): Promise<void> {
    if (this.#committed) return;
    const { bucket, owner } = this.#options;
    try {
      const keys = [...this.#names].map((name) => joinKey(this.folder, name));
      const isCommit = (key: string) => key === joinKey(this.folder, commitName);
      for (const key of keys.filter(isCommit)) await removeObject(bucket, key);
      await Promise.all(keys.map((key) => removeObject(bucket, key)));
      if ((await bucket.marks.read(this.folder)) === owner) await bucket.marks.erase(this.folder);
    } catch {
      // The mark is still there: the next prune finds what is left.
    }
  }
}
