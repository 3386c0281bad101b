/** Holds what goes over a connection to a rate. */

import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { TokenBucket } from '../core/token_bucket.ts';

/** What is handed on at once: small enough for an even flow, large enough to be cheap. */
const sliceBytes = 64 * 1024;

/** One direction of everything that a store sends or receives. */
export class Rate {
  readonly #bucket: TokenBucket | null;

  /** @param bytesPerSecond `null`: no limit */
  constructor(bytesPerSecond: number | null) {
    this.#bucket = bytesPerSecond === null ? null : new TokenBucket(bytesPerSecond);
  }

  /** Whether there is a limit at all. */
  get isLimited(): boolean {
    return this.#bucket !== null;
  }

  /** Waits until so many bytes may pass. */
  async pass(bytes: number): Promise<void> {
    const waitMs = this.#bucket?.take(bytes, performance.now()) ?? 0;
    if (waitMs > 0) await sleep(waitMs);
  }

  /** The same bytes as a stream that keeps to the rate. */
  paced(bytes: Uint8Array): Readable {
    const pass = (count: number) => this.pass(count);
    return Readable.from(
      (async function* () {
        for (let from = 0; from < bytes.length; from += sliceBytes) {
          const slice = bytes.subarray(from, from + sliceBytes);
          await pass(slice.length);
          yield slice;
        }
      })(),
      { objectMode: false, highWaterMark: sliceBytes },
    );
  }
}
