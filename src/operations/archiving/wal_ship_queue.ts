/** Stores the files that wait in one data directory, several at a time, and marks them. */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { WalArchive } from '../../catalog/wal_archive.ts';
import { type ErrorCode, HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { WalClaim } from '../../core/wal_claim.ts';
import { chooseNext, pauseAfter, readyInOrder, serversNext } from '../../core/wal_queue.ts';
import { errorNumber } from '../../process/durable.ts';
import type { Context } from '../context.ts';
import type { WalMarkers } from './wal_markers.ts';
import { putWalFile } from './wal_put.ts';

/** A file that could not be stored. */
export interface ShipFailure {
  readonly name: string;
  readonly code: ErrorCode;
  readonly message: string;
}

/** What a queue has done so far. */
export interface ShipCounts {
  /** New in the archive. */
  stored: number;
  /** In the archive already, with the same content. */
  already: number;
}

/** How far a look at the queue has come. */
export interface QueueLook {
  /** Nothing waits that is not stored, and nothing is being stored. */
  readonly isIdle: boolean;
  /** When to look again at the latest, in milliseconds; something may be tried again then. */
  readonly pauseMs: number;
}

export interface QueueOptions {
  readonly context: Context;
  readonly archive: WalArchive;
  readonly claim: WalClaim;
  readonly markers: WalMarkers;
  readonly jobs: number;
  readonly ahead: number;
  /** The files that the server asks for next are left to it for a moment. */
  readonly leavesNext: boolean;
  /** Ends what is under way, and leaves nothing of it. */
  readonly signal: AbortSignal;
  readonly counts: ShipCounts;
  /** Called whenever a file is done with, well or not. */
  readonly onSettled: () => void;
}

/** A look at the clock is enough where nobody tells of changes. */
export const pollMs = 2_000;
/** Somebody else works on a file: wal_push needs less for it. */
const busyRestMs = 300;
/** A call of wal_push begins within milliseconds, where the server can call at all. */
const leaveMs = 300;
/** A file that is refused stays refused until somebody does something. */
const refusedRestMs = 30_000;

/** A disk that takes one file may have no room for the next. */
const trialsMin = 8;

/** They are about one file and not about the archive. */
const ofTheFile = new Set<ErrorCode>(['DAMAGED', 'STORE_EXISTS', 'ARCHIVING_FAILED']);

/** @throws HoldfastError ARCHIVING_FAILED when there is no such folder; STORE_REFUSED */
async function readReady(dataDirectory: string): Promise<string[]> {
  const folder = statusFolder(dataDirectory);
  try {
    return readyInOrder(await readdir(folder));
  } catch (error) {
    if (errorNumber(error) !== 'ENOENT') throw toHoldfastError(error, 'reading the waiting WAL');
    throw new HoldfastError('ARCHIVING_FAILED', `there is no ${folder}`, {
      hint: 'Is the data directory mounted, and does this user own it?',
      cause: error,
    });
  }
}

/** The files that wait on a server of this machine; none of one that is elsewhere. */
export function readWaiting(dataDirectory: string): Promise<string[]> {
  return readReady(dataDirectory).catch((error: unknown) => {
    if (error instanceof HoldfastError && error.code === 'ARCHIVING_FAILED') return [];
    throw error;
  });
}

/** Where the server says which files wait. */
export function statusFolder(dataDirectory: string): string {
  return join(dataDirectory, 'pg_wal', 'archive_status');
}

/** The files that wait on one server, under one claim. */
export class WalQueue {
  readonly failures = new Map<string, ShipFailure>();
  /** Why the archive takes nothing now. */
  trouble: HoldfastError | null = null;
  readonly #options: QueueOptions;
  readonly #stored = new Set<string>();
  readonly #running = new Map<string, Promise<void>>();
  /** Looked at before. */
  readonly #seen = new Set<string>();
  /** Until when, in milliseconds of the stopwatch. */
  readonly #resting = new Map<string, number>();
  /** The file that the server was to take, and until when it is left to it. */
  #left = { first: '', until: 0 };
  #isSwept = false;
  #troubles = 0;
  #troubleUntil = 0;
  /** Stored since the archive last took nothing, one after the other. */
  #trials = 0;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /**
   * Begins with what waits and is not stored, as far as jobs are free.
   *
   * @throws HoldfastError ARCHIVING_FAILED, STORE_REFUSED when the data directory cannot be read
   */
  async look(): Promise<QueueLook> {
    const { jobs, ahead, claim } = this.#options;
    const ready = await readReady(claim.data_directory);
    await this.#forget(ready);
    const now = this.#nowMs();
    if (this.trouble !== null && now < this.#troubleUntil) {
      return { isIdle: false, pauseMs: this.#troubleUntil - now };
    }
    for (const [name, until] of this.#resting) if (until <= now) this.#resting.delete(name);
    const resting = new Set(this.#resting.keys());
    const running = new Set(this.#running.keys());
    const isOne = this.trouble !== null;
    const left = this.#leave(serversNext({ ready, stored: this.#stored, running }), now);
    const next = chooseNext({
      ready,
      stored: this.#stored,
      running,
      resting,
      left: left.names,
      // After a trouble one of them tries for all.
      jobs: isOne ? 1 : jobs,
      ahead,
    });
    for (const name of next) this.#begin(name);
    const isIdle = this.#running.size === 0 && ready.every((name) => this.#stored.has(name));
    if (this.#trials > 0 && (isIdle || this.#trials >= trialsMin)) this.#recover();
    const untils = [...this.#resting.values(), ...(left.names.length === 0 ? [] : [left.until])];
    const rests = untils.map((until) => Math.max(0, until - now));
    return {
      isIdle,
      pauseMs: Math.min(pollMs, ...rests),
    };
  }

  /** Left to the server for a while: it may not call, or its call may fail. */
  #leave(names: readonly string[], now: number): { names: readonly string[]; until: number } {
    const [first = ''] = names;
    if (this.#left.first !== first) this.#left = { first, until: now + leaveMs };
    const { until } = this.#left;
    return { names: this.#options.leavesNext && now < until ? names : [], until };
  }

  /** Waits until nothing is being stored any more. */
  async settled(): Promise<void> {
    await Promise.all(this.#running.values());
  }

  /** Whether everything was tried that waits. */
  get isDone(): boolean {
    return this.#running.size === 0 && [...this.#resting.keys()].every((n) => this.failures.has(n));
  }

  #nowMs(): number {
    return this.#options.context.stopwatch() * 1000;
  }

  /** What the server has done with needs no marker any more. */
  async #forget(names: readonly string[]): Promise<void> {
    const ready = new Set(names);
    if (!this.#isSwept) await this.#options.markers.sweep(ready);
    this.#isSwept = true;
    for (const name of this.#seen) if (!ready.has(name)) this.#seen.delete(name);
    for (const name of [...this.#stored, ...this.failures.keys(), ...this.#resting.keys()]) {
      if (ready.has(name) || this.#running.has(name)) continue;
      this.#stored.delete(name);
      this.failures.delete(name);
      this.#resting.delete(name);
      await this.#options.markers.remove(name);
    }
  }

  #begin(name: string): void {
    const work = this.#store(name)
      .catch((error: unknown) => this.#fail(name, toHoldfastError(error)))
      .finally(() => {
        this.#running.delete(name);
        this.#options.onSettled();
      });
    this.#running.set(name, work);
  }

  async #store(name: string): Promise<void> {
    const { context, archive, claim, markers, signal, counts } = this.#options;
    const path = join(claim.data_directory, 'pg_wal', name);
    const isTrial = this.trouble !== null;
    if (await this.#isMarked(name, path)) {
      this.#stored.add(name);
      return;
    }
    if ((await this.#isServers(name)) || !(await markers.begin(name))) {
      this.#resting.set(name, this.#nowMs() + busyRestMs);
      return;
    }
    try {
      const request = { archive, claim, name, path, segmentBytes: null, signal };
      const { outcome, identity } = await putWalFile(context, request);
      await markers.store(name, identity);
      counts[outcome] += 1;
      this.#stored.add(name);
      this.failures.delete(name);
      // What was under way when the trouble began says nothing of it.
      if (isTrial) this.#trials += 1;
    } catch (error) {
      await markers.remove(name);
      // The server was quicker, and the segment has another name by now.
      const isGone = !(await this.#waits(name)) && ofTheFile.has(toHoldfastError(error).code);
      if (!isGone) throw error;
    }
  }

  async #waits(name: string): Promise<boolean> {
    return (await readReady(this.#options.claim.data_directory)).includes(name);
  }

  /** wal_push has stored it just now, and the server will say so: no need to compare it. */
  async #isServers(name: string): Promise<boolean> {
    if (!this.#options.leavesNext || this.#seen.has(name)) return false;
    this.#seen.add(name);
    return (await this.#options.archive.stat(name)) !== null;
  }

  /** What an earlier helper has stored, the server has only not asked for it yet. */
  async #isMarked(name: string, path: string): Promise<boolean> {
    const { archive, markers } = this.#options;
    return (
      (await markers.isStored(name, path)) &&
      (await archive.stat(name)) !== null &&
      (await archive.digest(name)) !== null
    );
  }

  #recover(): void {
    this.trouble = null;
    this.#troubles = 0;
    this.#trials = 0;
    this.#options.context.log.step('the archive takes WAL again');
  }

  #fail(name: string, error: HoldfastError): void {
    const { context, signal } = this.#options;
    if (signal.aborted) return;
    const { code, message, hint } = error;
    if (ofTheFile.has(code)) {
      this.#resting.set(name, this.#nowMs() + refusedRestMs);
      const isNews = this.failures.get(name)?.message !== message;
      this.failures.set(name, { name, code, message });
      if (isNews) context.log.warn(`not stored: ${message}`, { name, code });
      return;
    }
    // That the claim has moved is told by whoever looks after it.
    const isToldElsewhere = code === 'ARCHIVE_CLAIMED';
    if (!isToldElsewhere && this.trouble?.code !== code) {
      const advice = hint === undefined ? '' : ` (${hint})`;
      context.log.warn(`WAL waits, and is tried again: ${message}${advice}`, { name, code });
    }
    this.trouble = error;
    this.#trials = 0;
    this.#troubles += 1;
    this.#troubleUntil = this.#nowMs() + pauseAfter(this.#troubles);
  }
}
