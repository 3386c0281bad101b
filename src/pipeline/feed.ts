/**
 * Feeds one stream to several takers which stand and fall by themselves: at the pace of the
 * slowest, and without the one that fails or takes nothing any more.
 */

import { PassThrough, type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { within } from '../process/within.ts';

/** Bytes on their way to one taker, beside what it gathers itself. */
const laneBytes = 512 * 1024;

/** Who takes the whole stream. */
export interface Taker<T> {
  /** Takes it, and resolves when it is safe where it belongs. */
  readonly take: (body: Readable) => Promise<T>;
  /** For so long it may take nothing, while the others wait for it. */
  readonly stallMs: number;
  /** For so long it may take, after the last byte, to say that all is safe. */
  readonly settleMs: (bytes: number) => number;
  /** The error of one that took too long. */
  readonly late: () => Error;
  /** Leaves it behind at once; the reason is its error. */
  readonly signal: AbortSignal;
}

/** What became of one taker. */
export type Taken<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly error: unknown };

/** The way to one taker. */
class Lane<T> {
  readonly body = new PassThrough({ highWaterMark: laneBytes });
  readonly #taker: Taker<T>;
  readonly #settled: Promise<Taken<T>>;
  /** Told when it is left behind, whatever its taker still does. */
  readonly #left = Promise.withResolvers<Taken<T>>();
  #isLeft = false;
  /** Ends the wait for room. */
  #wake = (): void => undefined;

  constructor(taker: Taker<T>) {
    this.#taker = taker;
    // Whoever has given up listens no more; its own error is the one that counts.
    this.body.on('error', () => undefined);
    this.body.on('drain', () => this.#wake()).on('close', () => this.#wake());
    const { signal } = taker;
    const leave = () => this.leave(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    const end = (taken: Taken<T>) => {
      signal.removeEventListener('abort', leave);
      if (!taken.ok) this.leave(taken.error);
      return taken;
    };
    this.#settled = taker.take(this.body).then(
      (value) => end({ ok: true, value }),
      (error: unknown) => end({ ok: false, error }),
    );
    if (signal.aborted) leave();
  }

  get isOpen(): boolean {
    return !this.#isLeft && !this.body.destroyed;
  }

  /** The first reason counts. */
  leave(error: unknown): void {
    this.#isLeft = true;
    this.#left.resolve({ ok: false, error });
    this.body.destroy(error instanceof Error ? error : new Error(String(error)));
    this.#wake();
  }

  /** Waits until it takes more, or is left behind. */
  async room(): Promise<void> {
    const { stallMs, late } = this.#taker;
    // A race against the promise of its end would keep something for every piece.
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    if (!this.isOpen || !this.body.writableNeedDrain) return;
    await within(stallMs, promise, late).catch((error: unknown) => this.leave(error));
  }

  /** What became of it, after the end of the stream. */
  async outcome(bytes: number): Promise<Taken<T>> {
    const { settleMs, late } = this.#taker;
    const either = Promise.race([this.#left.promise, this.#settled]);
    try {
      return await within(settleMs(bytes), either, late);
    } catch (error) {
      this.leave(error);
      return this.#left.promise;
    }
  }

  /** Waits until it has let go of the body, as far as it does in time. */
  async gone(): Promise<void> {
    const { stallMs, late } = this.#taker;
    await within(stallMs, this.#settled, late).catch(() => undefined);
  }
}

/** Writes into all lanes that are open, and waits for the slowest of them. */
function createSplitter<T>(lanes: readonly Lane<T>[], onBytes: (bytes: number) => void): Writable {
  return new Writable({
    highWaterMark: laneBytes,
    write(chunk: Buffer, _encoding, done) {
      onBytes(chunk.length);
      const open = lanes.filter((lane) => lane.isOpen);
      const full = open.filter((lane) => !lane.body.write(chunk));
      Promise.all(full.map((lane) => lane.room())).then(() => {
        done(lanes.some((lane) => lane.isOpen) ? null : new Error('nobody takes it any more'));
      }, done);
    },
    final(done) {
      for (const lane of lanes) if (lane.isOpen) lane.body.end();
      done();
    },
  });
}

/**
 * Feeds a stream to its takers.
 *
 * @returns what became of each, in their order; when none is left the rest of the stream is not
 *   read
 * @throws what the stream itself broke off with: then no taker has seen its end
 */
export async function feed<T>(
  body: Readable,
  takers: readonly Taker<T>[],
): Promise<readonly Taken<T>[]> {
  const lanes = takers.map((taker) => new Lane(taker));
  let bytes = 0;
  const splitter = createSplitter(lanes, (more) => {
    bytes += more;
  });
  try {
    await pipeline(body, splitter);
  } catch (error) {
    if (lanes.some((lane) => lane.isOpen)) {
      for (const lane of lanes) lane.leave(error);
      await Promise.all(lanes.map((lane) => lane.gone()));
      throw error;
    }
  }
  return Promise.all(lanes.map((lane) => lane.outcome(bytes)));
}
