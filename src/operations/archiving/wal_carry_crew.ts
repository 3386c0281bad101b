/**
 * Carries the WAL archive of a cluster to all other stores at once, each at its own pace: one that
 * is down is tried again later, and holds up neither the others nor the archiver.
 */

import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { withFileLock } from '../../catalog/lock.ts';
import { mapBounded } from '../../catalog/map_bounded.ts';
import type { WalArchive } from '../../catalog/wal_archive.ts';
import { type ErrorCode, type HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { encodeComponent } from '../../core/names.ts';
import { printable } from '../../core/printable.ts';
import { formatCount } from '../../core/units.ts';
import { mayLeave } from '../../core/wal_carry.ts';
import { defaultJobs, pauseAfter } from '../../core/wal_queue.ts';
import type { RepositoryContext } from '../context.ts';
import { otherStores } from './store_claims.ts';
import { LocalNames, WalCarrier } from './wal_carry.ts';
import { currentClaim } from './wal_put.ts';
import { readWaiting } from './wal_ship_queue.ts';

/** What became of one store. */
export interface StoreCarry {
  readonly store: string;
  readonly required: boolean;
  /** Files of the WAL that are new there. */
  readonly carried: number;
  /** Why it does not have everything; `null`: it has. */
  readonly problem: { readonly code: ErrorCode; readonly message: string } | null;
}

/** A look at the folders is enough where nobody tells of changes. */
const pollMs = 2_000;
/** Somebody else carries. */
const lockPollMs = 5_000;
/** How long a segment waits for its index, where the archive of the hooks is no store. */
const indexWaitMs = 10 * 60_000;
/** Removed between two looks at the other stores. */
const leaveMax = 64;

/** One store and how it goes. */
class Route {
  readonly carrier: WalCarrier;
  carried = 0;
  problem: HoldfastError | null = null;
  #failures = 0;

  constructor(carrier: WalCarrier) {
    this.carrier = carrier;
  }

  get name(): string {
    return this.carrier.store.spec.name;
  }

  /** @returns how long to wait before the next look; 0: there is more */
  async step(context: RepositoryContext, local: WalArchive): Promise<number> {
    const { log, signal } = context;
    try {
      const claim = await currentClaim(local);
      if (claim === null) return pollMs;
      const { carried, hasMore, refused } = await this.carrier.look(claim, signal);
      this.carried += carried;
      if (carried > 0) {
        const files = formatCount(carried, 'file');
        log.detail(`carried ${files} of the WAL to ${printable(this.name)}`, { carried });
      }
      if (refused !== null) this.#tell(context, refused);
      else if (this.problem !== null) log.step(`${printable(this.name)} takes WAL again`);
      this.problem = refused;
      this.#failures = 0;
      return hasMore ? 0 : pollMs;
    } catch (thrown) {
      if (signal.aborted) return 0;
      const error = toHoldfastError(thrown, `carrying WAL to ${printable(this.name)}`);
      this.#tell(context, error);
      this.problem = error;
      this.#failures += 1;
      return pauseAfter(this.#failures);
    }
  }

  /** Once, as long as it stays the same. */
  #tell({ log }: RepositoryContext, { message, hint, code }: HoldfastError): void {
    if (this.problem?.message === message) return;
    const advice = hint === undefined ? '' : ` (${hint})`;
    const text = `${printable(this.name)} lacks WAL, and is tried again: ${message}${advice}`;
    log.warn(text, { store: this.name, code });
  }

  result(): StoreCarry {
    const { problem, carried } = this;
    return {
      store: this.name,
      required: this.carrier.store.spec.isRequired,
      carried,
      problem: problem === null ? null : { code: problem.code, message: problem.message },
    };
  }
}

/** Carries to every other store of a repository. */
export class CarryCrew {
  readonly #context: RepositoryContext;
  readonly #names: LocalNames;
  readonly #local: WalArchive;
  readonly #routes: readonly Route[];

  /** @param jobs files on their way to one store at the same time */
  constructor(context: RepositoryContext, cluster: string, jobs: number) {
    this.#context = context;
    this.#names = new LocalNames(context, cluster);
    this.#local = this.#names.archive;
    this.#routes = otherStores(context).map(
      (store) => new Route(new WalCarrier(context, this.#names, store, jobs)),
    );
  }

  get results(): readonly StoreCarry[] {
    return this.#routes.map((route) => route.result());
  }

  /** Carries until the context's signal fires. Does not throw. */
  async reside(): Promise<void> {
    const { signal } = this.#context;
    await Promise.all(
      this.#routes.map(async (route) => {
        while (!signal.aborted) {
          const pauseMs = await route.step(this.#context, this.#local);
          await this.#leave();
          if (pauseMs > 0) await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
        }
      }),
    );
  }

  /** Carries what is there now, with one try for each store. */
  async once(): Promise<readonly StoreCarry[]> {
    const { signal } = this.#context;
    await Promise.all(
      this.#routes.map(async (route) => {
        while (!signal.aborted) {
          const pauseMs = await route.step(this.#context, this.#local);
          if (pauseMs > 0) return;
        }
      }),
    );
    signal.throwIfAborted();
    while (await this.#leave()) signal.throwIfAborted();
    return this.results;
  }

  /**
   * Takes away from here what all stores have that count, where no backups are kept here.
   *
   * @returns whether there may be more
   */
  async #leave(): Promise<boolean> {
    const { config, clock, log } = this.#context;
    if (config.settings.local_copy) return false;
    // An optional store that is away is not waited for, as long as another one has everything.
    const isCounting = ({ carrier, problem }: Route) =>
      carrier.store.spec.isRequired || problem === null;
    const counting = this.#routes.filter(isCounting);
    if (counting.length === 0) return false;
    const { storage, folder } = this.#local;
    try {
      const claim = await currentClaim(this.#local);
      const waiting = new Set(claim === null ? [] : await readWaiting(claim.data_directory));
      const now = clock().getTime();
      const groups = mayLeave(await this.#names.read(), waiting);
      let gone = 0;
      await mapBounded(groups.slice(0, leaveMax), 1, async ({ name, paths }) => {
        const [path = ''] = paths;
        const stored = await storage.stat(`${folder}/${path}`);
        const hasIndex = paths.length > 2;
        // The index is made from what lies here; it is not waited for for ever.
        if (stored === null || (!hasIndex && now - stored.modifiedAt.getTime() < indexWaitMs))
          return;
        for (const { carrier } of counting) if (!(await carrier.holds(name, hasIndex))) return;
        for (const each of paths) await storage.remove(`${folder}/${each}`);
        gone += 1;
      });
      return gone === leaveMax;
    } catch (error) {
      log.detail(`carried WAL stays here for now: ${toHoldfastError(error).message}`);
      return false;
    }
  }
}

/**
 * Runs what carries the WAL of a cluster; nobody else carries it meanwhile.
 *
 * @throws HoldfastError LOCKED when somebody does already
 */
export function whileCarrying<T>(
  { repository }: RepositoryContext,
  cluster: string,
  work: () => Promise<T>,
): Promise<T> {
  const lock = join(repository.stateDir, `wal_carry-${encodeComponent(cluster)}.lock`);
  return withFileLock(lock, { waitMs: 0 }, work);
}

/**
 * Runs what fills the archive of the hooks, and carries beside it to the other stores until that
 * ends; once, behind it.
 *
 * @throws what the work throws; once, LOCKED where somebody else carries
 */
export async function runBeside(
  context: RepositoryContext,
  cluster: string,
  isOnce: boolean,
  work: () => Promise<void>,
): Promise<readonly StoreCarry[]> {
  if (otherStores(context).length === 0) {
    await work();
    return [];
  }
  const ended = new AbortController();
  const signal = AbortSignal.any([context.signal, ended.signal]);
  const crew = new CarryCrew({ ...context, signal }, cluster, defaultJobs(availableParallelism()));
  const carrying = isOnce ? null : carryAlways({ ...context, signal }, cluster, crew);
  try {
    await work();
  } finally {
    if (!isOnce) ended.abort();
    await carrying;
  }
  if (isOnce) await whileCarrying(context, cluster, () => crew.once());
  return crew.results;
}

/** Where somebody else carries, it is waited until that has ended. Does not throw. */
async function carryAlways(
  context: RepositoryContext,
  cluster: string,
  crew: CarryCrew,
): Promise<void> {
  const { signal, log } = context;
  while (!signal.aborted) {
    try {
      await whileCarrying(context, cluster, () => crew.reside());
    } catch (thrown) {
      log.trace(`WAL is not carried from here: ${toHoldfastError(thrown).message}`);
      await sleep(lockPollMs, undefined, { signal }).catch(() => undefined);
    }
  }
}
