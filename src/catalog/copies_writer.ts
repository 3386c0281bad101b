/**
 * Writes one folder into several stores at once: one pass over the data feeds them all. A store
 * that fails, or takes nothing for too long, is left behind, and the others go on without it.
 */

import type { Readable } from 'node:stream';
import { localName, type StoreSpec } from '../config/stores.ts';
import { assert } from '../core/assert.ts';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { MeasuredBytes } from '../core/manifest.ts';
import { formatDuration } from '../core/units.ts';
import { feed, type Taken, type Taker } from '../pipeline/feed.ts';
import { within } from '../process/within.ts';
import type { FolderWriter, StoredObject } from '../storage/storage.ts';

/** A store that sends or reads fewer bytes in a second, on the average, counts as stalled. */
const slowestBytesPerSecond = 8 * 1024 * 1024;
/** What a store with a limited rate may hold back before it takes more: parts on their way. */
const heldBytes = 128 * 1024 * 1024;
/** What is left in a store that does not answer any more goes with the next run. */
const discardMsMax = 30_000;

/** What a store may take before it counts as stalled, with what its own rate limit costs. */
export function stallMsOf({ stallMs, bytesPerSecondMax }: StoreSpec): number {
  return stallMs + (bytesPerSecondMax === null ? 0 : (heldBytes / bytesPerSecondMax) * 1000);
}

/** The same for work with so many bytes that tells nothing before its end. */
export function settleMsOf(spec: StoreSpec, bytes: number): number {
  const rate = Math.min(spec.bytesPerSecondMax ?? slowestBytesPerSecond, slowestBytesPerSecond);
  return stallMsOf(spec) + (bytes / rate) * 1000;
}

/** The error of a store that does not answer. */
export function stalledError({ name, stallMs }: StoreSpec, doing: string): HoldfastError {
  const limit = formatDuration(stallMs / 1000);
  return new HoldfastError(
    'STORE_UNREACHABLE',
    `the store ${JSON.stringify(name)} did not answer in time while ${doing} (limit ${limit})`,
    { hint: 'Look at the network and the store; stall_seconds (S3_STALL_SECONDS) is the limit.' },
  );
}

/** A store in which the folder was begun, or why it was not. */
export type BegunCopy = {
  readonly spec: StoreSpec;
} & ({ readonly writer: FolderWriter } | { readonly error: HoldfastError });

/** What became of the folder in one store. */
export interface StoredCopy {
  /** The store's name. */
  readonly store: string;
  /** `missing`: the store was left behind. */
  readonly status: 'stored' | 'missing';
  readonly isRequired: boolean;
  /** Bytes that it has taken. */
  readonly bytes: number;
  /** From the beginning to its commit, or until it was left behind. */
  readonly seconds: number;
  /** `null` where it is stored. */
  readonly error: HoldfastError | null;
}

export interface CopiesOptions {
  /** The key under which the folder will appear. */
  readonly folder: string;
  /** Seconds, for durations. */
  readonly stopwatch: () => number;
  /** Told at once when a store is left behind and others go on. */
  readonly onLeft: (spec: StoreSpec, error: HoldfastError) => void;
}

/** One store that takes part. */
interface Copy {
  readonly spec: StoreSpec;
  readonly writer: FolderWriter | null;
  /** Ends whatever is under way with it. */
  readonly stop: AbortController;
  /** Writes that have not ended: nothing is removed under them. */
  readonly pending: Set<Promise<unknown>>;
  bytes: number;
  endedSeconds: number | null;
  error: HoldfastError | null;
}

type LiveCopy = Copy & { readonly writer: FolderWriter };

/** One folder that is written into several stores. */
export class CopiesWriter implements FolderWriter {
  readonly folder: string;
  readonly #copies: readonly Copy[];
  readonly #options: CopiesOptions;
  readonly #begunSeconds: number;
  readonly #leaving: Promise<void>[] = [];
  /** BACKUP_DIR alone needs nobody who watches over it: nothing stands in between. */
  readonly #alone: FolderWriter | null;
  #isDiscarded = true;

  constructor(begun: readonly BegunCopy[], options: CopiesOptions) {
    this.folder = options.folder;
    this.#options = options;
    this.#begunSeconds = options.stopwatch();
    this.#copies = begun.map((each) => ({
      spec: each.spec,
      writer: 'writer' in each ? each.writer : null,
      stop: new AbortController(),
      pending: new Set(),
      bytes: 0,
      endedSeconds: null,
      error: 'error' in each ? each.error : null,
    }));
    const [only] = this.#copies;
    this.#alone = this.#copies.length === 1 && only?.spec.name === localName ? only.writer : null;
    this.#requireOne();
    for (const { spec, error } of this.#copies) if (error !== null) options.onLeft(spec, error);
  }

  /** How many stores still take part. */
  get count(): number {
    return this.#live().length;
  }

  /** What has become of each store, in their order. */
  report(): readonly StoredCopy[] {
    return this.#copies.map(({ spec, bytes, endedSeconds, error }) => ({
      store: spec.name,
      status: error === null ? 'stored' : 'missing',
      isRequired: spec.isRequired,
      bytes,
      seconds: (endedSeconds ?? this.#options.stopwatch()) - this.#begunSeconds,
      error,
    }));
  }

  /** Whether nothing is left in stores that were left behind, as far as they have answered. */
  get isDiscarded(): boolean {
    return this.#isDiscarded;
  }

  #live(): LiveCopy[] {
    return this.#copies.filter(
      (copy): copy is LiveCopy => copy.writer !== null && copy.error === null,
    );
  }

  /** @throws HoldfastError of the first store that failed, when none is left */
  #requireOne(): LiveCopy {
    const [first] = this.#live();
    if (first !== undefined) return first;
    const failed = this.#copies.filter(({ error }) => error !== null);
    failed.sort((a, b) => (a.endedSeconds ?? 0) - (b.endedSeconds ?? 0));
    const [cause] = failed;
    assert(cause?.error != null, 'a copy that is not written has an error');
    throw cause.error;
  }

  /** What all of them have done, each by itself: who has failed is left behind. */
  #settle<T>(copies: readonly LiveCopy[], taken: readonly Taken<T>[]): T {
    const left = copies.filter((copy, index) => {
      const each = taken[index];
      return each?.ok === false && this.#leave(copy, each.error);
    });
    const first = taken[copies.indexOf(this.#requireOne())];
    for (const { spec, error } of left) if (error !== null) this.#options.onLeft(spec, error);
    assert(first?.ok === true, 'a copy that has not failed has a result');
    return first.value;
  }

  /** @returns whether it took part until now */
  #leave(copy: LiveCopy, thrown: unknown): boolean {
    if (copy.error !== null) return false;
    copy.error = toHoldfastError(thrown, `writing into the store ${copy.spec.name}`);
    copy.endedSeconds = this.#options.stopwatch();
    copy.stop.abort(copy.error);
    this.#leaving.push(this.#discard(copy));
    return true;
  }

  /** Removes what was put, once nothing is being written there any more. */
  async #discard({ spec, writer, pending }: LiveCopy): Promise<void> {
    const work = Promise.allSettled(pending).then(() => writer.abort());
    const late = () => stalledError(spec, `removing ${this.folder}`);
    try {
      await within(Math.min(discardMsMax, spec.stallMs), work, late);
    } catch {
      this.#isDiscarded = false;
    }
  }

  /** One thing done with one store, in its time. */
  async #attempt<T>(
    copy: LiveCopy,
    bytes: number,
    doing: string,
    work: () => Promise<T>,
  ): Promise<Taken<T>> {
    const late = () => stalledError(copy.spec, doing);
    try {
      const begun = this.#track(copy, work());
      return { ok: true, value: await within(settleMsOf(copy.spec, bytes), begun, late) };
    } catch (error) {
      return { ok: false, error };
    }
  }

  #track<T>({ pending }: Copy, work: Promise<T>): Promise<T> {
    pending.add(work);
    const end = () => pending.delete(work);
    work.then(end, end);
    return work;
  }

  #taker(copy: LiveCopy, name: string): Taker<StoredObject> {
    const { spec, writer, stop } = copy;
    return {
      take: async (body) => {
        const stored = await this.#track(copy, writer.put(name, body));
        copy.bytes += stored.bytes;
        return stored;
      },
      stallMs: stallMsOf(spec),
      settleMs: (bytes) => settleMsOf(spec, bytes),
      late: () => stalledError(spec, `writing ${name}`),
      signal: stop.signal,
    };
  }

  async put(name: string, body: Readable | Uint8Array): Promise<StoredObject> {
    const live = this.#live();
    if (this.#alone !== null) return this.#putAlone(name, body);
    if (!(body instanceof Uint8Array)) {
      const takers = live.map((copy) => this.#taker(copy, name));
      return this.#settle(live, await feed(body, takers));
    }
    const puts = live.map(async (copy) => {
      const taken = await this.#attempt(copy, body.length, `writing ${name}`, () =>
        copy.writer.put(name, body),
      );
      if (taken.ok) copy.bytes += body.length;
      return taken;
    });
    return this.#settle(live, await Promise.all(puts));
  }

  async #putAlone(name: string, body: Readable | Uint8Array): Promise<StoredObject> {
    const copy = this.#requireOne();
    const stored = await copy.writer.put(name, body);
    copy.bytes += stored.bytes;
    return stored;
  }

  /** From the first store that takes part; see {@link each}. */
  async get(name: string): Promise<Readable> {
    return this.#requireOne().writer.get(name);
  }

  /** In the first store that takes part; see {@link each}. */
  async measure(name: string, signal: AbortSignal): Promise<MeasuredBytes> {
    return this.#requireOne().writer.measure(name, signal);
  }

  /**
   * Does something in every store that takes part, at once; one in which it fails is left behind.
   *
   * @param bytes about so many are read
   * @param signal ends the work; then no store has failed
   * @returns what it gave in the first of them
   * @throws what it threw, when none is left; the reason of the signal
   */
  async each<T>(
    bytes: number,
    signal: AbortSignal,
    work: (writer: FolderWriter, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    if (this.#alone !== null) return work(this.#alone, signal);
    const live = this.#live();
    const taken = await Promise.all(
      live.map((copy) => {
        const both = AbortSignal.any([signal, copy.stop.signal]);
        const doing = `reading ${this.folder} back`;
        return this.#attempt(copy, bytes, doing, () => work(copy.writer, both));
      }),
    );
    if (signal.aborted) throw signal.reason;
    return this.#settle(live, taken);
  }

  /** Commits in every store that takes part; one in which that fails is left behind. */
  async commit(name: string, body: Uint8Array): Promise<void> {
    const live = this.#live();
    if (this.#alone !== null) {
      await this.#alone.commit(name, body);
      for (const copy of live) this.#end(copy, body.length);
      return;
    }
    const commits = live.map(async (copy) => {
      const taken = await this.#attempt(copy, body.length, `writing ${name}`, () =>
        copy.writer.commit(name, body),
      );
      if (taken.ok) this.#end(copy, body.length);
      return taken;
    });
    this.#settle(live, await Promise.all(commits));
    await Promise.all(this.#leaving);
  }

  #end(copy: Copy, bytes: number): void {
    copy.bytes += bytes;
    copy.endedSeconds = this.#options.stopwatch();
  }

  async abort(): Promise<void> {
    if (this.#alone !== null) return this.#alone.abort();
    await Promise.all([...this.#leaving, ...this.#live().map((copy) => this.#discard(copy))]);
  }
}
