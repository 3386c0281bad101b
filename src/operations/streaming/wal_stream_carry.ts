/**
 * Carries what pg_receivewal has completed into the archive, by the rules of wal_push, and removes
 * it from the stream's folder only when the archive holds it.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { listStream } from '../../catalog/stream_folder.ts';
import type { WalArchive } from '../../catalog/wal_archive.ts';
import { type StreamFiles, sortStream, superfluous } from '../../core/stream_files.ts';
import type { WalClaim } from '../../core/wal_claim.ts';
import { putWalFile } from '../archiving/wal_put.ts';
import type { RepositoryContext } from '../context.ts';

/** Where from, and where to. */
export interface CarryRequest {
  readonly archive: WalArchive;
  /** Of the archive: the one that the stream has agreed with. */
  readonly claim: WalClaim;
  /** The folder of the stream. */
  readonly folder: string;
  readonly segmentBytes: number;
}

/** Carries the files of one stream, again and again. */
export class Carrier {
  /** Files that this one has put into the archive. */
  carried = 0;
  readonly #context: RepositoryContext;
  readonly #request: CarryRequest;
  /** What the archive holds for sure, by name: it is compared once. */
  readonly #archived = new Set<string>();

  constructor(context: RepositoryContext, request: CarryRequest) {
    this.#context = context;
    this.#request = request;
  }

  async #list(): Promise<StreamFiles> {
    const { folder, segmentBytes } = this.#request;
    return sortStream(await listStream(folder), segmentBytes);
  }

  async #put(name: string): Promise<void> {
    if (this.#archived.has(name)) return;
    const { archive, claim, folder, segmentBytes } = this.#request;
    const path = join(folder, name);
    const { outcome } = await putWalFile(this.#context, {
      archive,
      claim,
      name,
      path,
      segmentBytes,
    });
    this.#archived.add(name);
    if (outcome === 'already') return;
    this.carried += 1;
    this.#context.log.detail(`${name} is in the archive`, { event: 'wal_carried', file: name });
  }

  /** Whether the archive has the complete form of an unfinished segment, from the archiver. */
  async #isCompleted(partial: string): Promise<boolean> {
    const name = partial.replace(/\.partial$/, '');
    if (this.#archived.has(name)) return true;
    if ((await this.#request.archive.stat(name)) === null) return false;
    this.#archived.add(name);
    return true;
  }

  /**
   * Carries what is complete, oldest first.
   *
   * @throws HoldfastError as {@link putWalFile}; what comes behind then stays where it is
   */
  async carry(): Promise<void> {
    const files = await this.#list();
    for (const { name } of files.histories) await this.#put(name);
    for (const { name, isPartial } of files.segments) if (!isPartial) await this.#put(name);
    for (const { name, isPartial } of files.segments.slice(0, -1)) {
      if (isPartial) await this.#isCompleted(name);
    }
    for (const { name } of superfluous(files, this.#archived)) {
      await rm(join(this.#request.folder, name), { force: true });
    }
  }
}
