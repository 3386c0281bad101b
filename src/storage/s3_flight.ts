/** The parts of one upload on their way to the store. */

import { type CompletedPart, type S3Client, UploadPartCommand } from '@aws-sdk/client-s3';
import { partsInFlight } from '../core/part_sizes.ts';
import { checksumOf, type Upload } from './s3_write.ts';

/** The parts of one upload that are on their way, and those that have arrived. */
export class Flight {
  readonly #stop = new AbortController();
  readonly #underWay = new Set<Promise<void>>();
  readonly parts: CompletedPart[] = [];
  bytes = 0;
  readonly #upload: Upload;
  readonly #uploadId: string;
  readonly #hasChecksums: boolean;
  readonly #failed: Promise<never>;

  constructor(upload: Upload, uploadId: string, hasChecksums: boolean) {
    this.#upload = upload;
    this.#uploadId = uploadId;
    this.#hasChecksums = hasChecksums;
    const { signal } = this.#stop;
    this.#failed = new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    this.#failed.catch(() => undefined);
  }

  /** Sends a part, once there is room for one of its size; `done` when its bytes are free again. */
  async launch(number: number, bytes: Uint8Array, size: number, done: () => void): Promise<void> {
    const { connections } = this.#upload.connection.options;
    while (this.#underWay.size >= partsInFlight(size, connections)) {
      await Promise.race(this.#underWay);
    }
    this.#stop.signal.throwIfAborted();
    this.bytes += bytes.length;
    const flying = this.#send(number, bytes).then(
      () => {
        this.#underWay.delete(flying);
        done();
      },
      (error: unknown) => {
        this.#underWay.delete(flying);
        // The first failure is told; those of the others follow from it.
        if (!this.#stop.signal.aborted) this.#stop.abort(error);
      },
    );
    this.#underWay.add(flying);
  }

  async #send(number: number, bytes: Uint8Array): Promise<void> {
    const { connection, place, doing } = this.#upload;
    const sum = this.#hasChecksums ? { ChecksumCRC32: checksumOf(bytes) } : {};
    const { ETag } = await connection.send(
      doing,
      (client: S3Client, abortSignal) =>
        client.send(
          new UploadPartCommand({
            ...place,
            UploadId: this.#uploadId,
            PartNumber: number,
            Body: bytes,
            ContentLength: bytes.length,
            ...sum,
          }),
          abortSignal === undefined ? {} : { abortSignal },
        ),
      this.#stop.signal,
    );
    this.parts.push({ PartNumber: number, ETag, ...sum });
  }

  /** Waits until all parts have arrived. @throws the failure of the first that did not */
  async land(): Promise<void> {
    await Promise.all(this.#underWay);
    this.#stop.signal.throwIfAborted();
    this.parts.sort((a, b) => (a.PartNumber ?? 0) - (b.PartNumber ?? 0));
  }

  /** Breaks off what is on its way, and waits until it is. */
  async crash(reason: unknown): Promise<void> {
    if (!this.#stop.signal.aborted) this.#stop.abort(reason);
    await Promise.all(this.#underWay);
  }

  /** Waits for something else, but no longer than until a part has failed. */
  async unlessFailed<T>(work: Promise<T>): Promise<T> {
    work.catch(() => undefined);
    return Promise.race([work, this.#failed]);
  }
}
