/**
 * The resident helper beside the archiver: stores the WAL that waits before the server asks for it,
 * so that wal_push answers at once. Without it, or when it is killed at any moment, wal_push does
 * all by itself.
 *
 * What it has stored lies in the archive of the hooks; from there it carries it to other stores.
 */

import { join } from 'node:path';
import { withFileLock } from '../../catalog/lock.ts';
import { openWalArchive, type WalArchive, walClusters } from '../../catalog/wal_archive.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { encodeComponent } from '../../core/names.ts';
import { printable } from '../../core/printable.ts';
import { describeClaim, formatClaim, type WalClaim } from '../../core/wal_claim.ts';
import { pauseAfterIndex } from '../../core/wal_queue.ts';
import { type DataChild, startChild } from '../../process/stream.ts';
import type { RepositoryContext } from '../context.ts';
import { runBeside, type StoreCarry } from './wal_carry_crew.ts';
import { markersFolder, openMarkers, type WalMarkers } from './wal_markers.ts';
import { currentClaim } from './wal_put.ts';
import { tidyArchive } from './wal_ship_index.ts';
import {
  pollMs,
  type ShipCounts,
  type ShipFailure,
  statusFolder,
  WalQueue,
} from './wal_ship_queue.ts';
import { createWaker, type Waker } from './wal_ship_wake.ts';

/** What is asked for. */
export interface ShipRequest {
  /** So many files are stored at the same time. */
  readonly jobs: number;
  /** Stores what waits now, and ends. */
  readonly once: boolean;
  /** The program that writes missing indexes in idle moments, and its arguments; `null`: nobody. */
  readonly indexer: readonly [program: string, ...args: string[]] | null;
}

/** What was done. */
export interface ShipResult extends Readonly<ShipCounts> {
  readonly cluster: string;
  /** Waiting still, and why. */
  readonly failures: readonly ShipFailure[];
  /** The other stores, and what was carried to them. */
  readonly stores: readonly StoreCarry[];
}

/** Looked ahead: the server takes them one by one. */
const aheadFiles = 16;
/** Nothing has waited for so long: time for the indexes. */
const idleMs = 2_000;
const claimPollMs = 5_000;

/** Whether the claim is of a server of this machine. */
function isOurs(claim: WalClaim | null, { host }: RepositoryContext): claim is WalClaim {
  return claim !== null && claim.host === host;
}

/**
 * The cluster that is meant: the setting, or the only one whose server runs here.
 *
 * @throws HoldfastError ARCHIVE_CLAIMED when there is none, USAGE when there are several
 */
export async function findShipCluster(context: RepositoryContext): Promise<string> {
  const { local } = context.repository;
  const { cluster } = context.config.settings;
  if (cluster !== null) return cluster;
  const found: string[] = [];
  for (const each of await walClusters(local)) {
    const claim = await openWalArchive(local, each).claim();
    if (isOurs(claim, context)) found.push(each);
  }
  const [only, second] = found;
  if (only !== undefined && second === undefined) return only;
  if (only === undefined) {
    throw new HoldfastError('ARCHIVE_CLAIMED', 'no server of this host archives its WAL here', {
      hint: 'Switch archiving on: setup_archiving.ts; or name the cluster: CLUSTER.',
    });
  }
  const names = found.map((each) => JSON.stringify(each)).join(', ');
  throw new HoldfastError(
    'USAGE',
    `several servers of this host archive their WAL here: ${names}`,
    {
      hint: 'Name the one that is meant: CLUSTER.',
    },
  );
}

/** One helper at work. */
class Helper {
  readonly #context: RepositoryContext;
  readonly #request: ShipRequest;
  readonly #archive: WalArchive;
  readonly #markers: WalMarkers;
  readonly #waker: Waker;
  readonly #counts: ShipCounts = { stored: 0, already: 0 };
  #queue: WalQueue | null = null;
  #claim: WalClaim | null = null;
  /** What was last said of why nothing is done; `''` while something is. */
  #said = '';
  /** There may be segments without an index. */
  #mayIndex = true;
  #idleSinceMs: number | null = null;
  #indexNotBeforeMs = 0;
  #indexer: DataChild | null = null;

  constructor(
    context: RepositoryContext,
    request: ShipRequest,
    archive: WalArchive,
    markers: WalMarkers,
  ) {
    this.#context = context;
    this.#request = request;
    this.#archive = archive;
    this.#markers = markers;
    this.#waker = createWaker(context.signal);
  }

  async run(): Promise<ShipResult> {
    const { cluster } = this.#archive;
    const { once } = this.#request;
    let stores: readonly StoreCarry[];
    try {
      await tidyArchive(this.#context, this.#archive);
      const work = () => (once ? this.#runOnce() : this.#reside());
      stores = await runBeside(this.#context, cluster, once, work);
    } finally {
      await this.#queue?.settled();
      await this.#indexer?.end();
      this.#waker.close();
    }
    const failures = [...(this.#queue?.failures.values() ?? [])];
    return { cluster, ...this.#counts, failures, stores };
  }

  #nowMs(): number {
    return this.#context.stopwatch() * 1000;
  }

  /** Says once why nothing is done. */
  #say(message: string): void {
    if (message !== '' && message !== this.#said) this.#context.log.warn(message);
    if (message === '' && this.#said !== '')
      this.#context.log.step('the WAL is stored ahead again');
    this.#said = message;
  }

  /** Who may write, and whether that is the server here; a new queue for a new claim. */
  async #follow(): Promise<WalQueue | null> {
    const claim = await currentClaim(this.#archive);
    if (!isOurs(claim, this.#context)) {
      await this.#queue?.settled();
      this.#queue = null;
      this.#claim = null;
      const who =
        claim === null ? 'nobody has claimed it' : `it is claimed by ${describeClaim(claim)}`;
      const message = `nothing is put into this archive from here: ${who}`;
      if (this.#request.once) throw new HoldfastError('ARCHIVE_CLAIMED', message);
      this.#say(`${message}; it is waited for`);
      return null;
    }
    if (this.#queue !== null && this.#claim !== null) {
      if (formatClaim(this.#claim) === formatClaim(claim)) return this.#queue;
    }
    await this.#queue?.settled();
    this.#claim = claim;
    this.#queue = new WalQueue({
      context: this.#context,
      archive: this.#archive,
      claim,
      markers: this.#markers,
      jobs: this.#request.jobs,
      ahead: this.#request.once ? Number.POSITIVE_INFINITY : aheadFiles,
      leavesNext: !this.#request.once,
      signal: this.#context.signal,
      counts: this.#counts,
      onSettled: () => this.#waker.wake(),
    });
    this.#context.log.detail(`storing ahead for ${printable(claim.data_directory)}`);
    return this.#queue;
  }

  /** Everything that waits now, once. */
  async #runOnce(): Promise<void> {
    const { signal } = this.#context;
    const queue = await this.#follow();
    while (queue !== null) {
      signal.throwIfAborted();
      const { isIdle, pauseMs } = await queue.look();
      if (queue.trouble !== null) {
        await queue.settled();
        throw queue.trouble;
      }
      if (isIdle || queue.isDone) return;
      await this.#waker.wait(pauseMs);
    }
  }

  /** One round. @returns how long to wait for something to happen */
  async #round(): Promise<number> {
    const queue = await this.#follow();
    if (queue === null) return claimPollMs;
    const { data_directory: directory } = this.#claim as WalClaim;
    await this.#waker.follow(statusFolder(directory));
    const { stored } = this.#counts;
    const look = await queue.look();
    if (stored !== this.#counts.stored || !look.isIdle) this.#mayIndex = true;
    this.#say('');
    // Of what is encrypted only the plain file tells, and the server uses that again soon.
    const mayIndex = look.isIdle || this.#context.config.settings.encryption !== 'none';
    const untilIndex = mayIndex ? this.#indexWhenIdle() : null;
    if (!mayIndex) this.#idleSinceMs = null;
    return untilIndex === null ? look.pauseMs : Math.min(look.pauseMs, untilIndex);
  }

  async #reside(): Promise<void> {
    const { signal, log } = this.#context;
    log.step(`storing WAL ahead, ${this.#request.jobs} at a time; ends with SIGTERM`);
    while (!signal.aborted) {
      let pauseMs = pollMs;
      try {
        pauseMs = await this.#round();
      } catch (thrown) {
        const error = toHoldfastError(thrown);
        if (error.code === 'UNEXPECTED') throw error;
        // The disk or the data directory is away for a while: neither is a reason to end.
        this.#say(`nothing is stored ahead: ${error.message}`);
        pauseMs = claimPollMs;
      }
      await this.#waker.wait(pauseMs);
    }
  }

  /** @returns when there is something to index at the earliest; `null` when there is nothing */
  #indexWhenIdle(): number | null {
    const { indexer } = this.#request;
    if (!this.#mayIndex || indexer === null || this.#indexer !== null) return null;
    const now = this.#nowMs();
    this.#idleSinceMs ??= now;
    const due = Math.max(this.#idleSinceMs + idleMs, this.#indexNotBeforeMs);
    if (now < due) return due - now;
    this.#mayIndex = false;
    const [program, ...args] = indexer;
    const { environment, signal, log } = this.#context;
    const named = { ...environment, CLUSTER: this.#archive.cluster };
    const child = startChild(program, args, { environment: named, signal });
    this.#indexer = child;
    child.stdin.end();
    child.stdout.resume();
    const end = (failure: string | null) => {
      this.#indexer = null;
      const ended = this.#nowMs();
      this.#indexNotBeforeMs = ended + pauseAfterIndex(ended - now);
      if (failure !== null && !signal.aborted) log.detail(`WAL is not indexed: ${failure}`);
    };
    child.exited.then(
      ({ status }) => end(status === 0 ? null : child.stderrTail().trim()),
      (error: unknown) => end(String(error)),
    );
    return null;
  }
}

/**
 * Stores the WAL of the server of this host that waits to be archived; until the signal, unless
 * once.
 *
 * @throws HoldfastError LOCKED when another one does it for this cluster already; once, also
 *   ARCHIVE_CLAIMED, NO_SPACE and what the store or the data directory refuses
 */
export async function shipWal(
  context: RepositoryContext,
  cluster: string,
  request: ShipRequest,
): Promise<ShipResult> {
  const { local, stateDir } = context.repository;
  const lock = join(stateDir, `wal_ship-${encodeComponent(cluster)}.lock`);
  return withFileLock(lock, { waitMs: 0 }, async () => {
    const markers = await openMarkers(markersFolder(stateDir, cluster), context);
    const archive = openWalArchive(local, cluster);
    return new Helper(context, request, archive, markers).run();
  });
}
