/** How far each store of a repository leads: its own recovery point, by what lies in it alone. */

import { setTimeout as sleep } from 'node:timers/promises';
import { openWalArchive } from '../../catalog/wal_archive.ts';
import { type ErrorCode, HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { defaultJobs } from '../../core/wal_queue.ts';
import type { RepositoryContext } from '../context.ts';
import { inStore } from '../store_choice.ts';
import { otherStores } from './store_claims.ts';
import { CarryCrew, type StoreCarry, whileCarrying } from './wal_carry_crew.ts';
import { listWal } from './wal_list.ts';

/** The recovery point of one store. Times ISO 8601 UTC. */
export interface StorePoint {
  readonly store: string;
  readonly required: boolean;
  /** The last segment of the newest timeline that can be replayed; `null`: none is there. */
  readonly last_segment: string | null;
  readonly newest_recoverable_at: string | null;
  /** How many gaps there are on the way to it. */
  readonly gaps: number;
  /** Why it is not as far as it should be; `null`: it is. */
  readonly problem: { readonly code: ErrorCode; readonly message: string } | null;
}

/** Another process carries: it is given so long to carry the last segment. */
const othersWaitMs = 60_000;
const pollMs = 250;

/** What another process has carried of the last segment, after a while. */
async function awaitOthers(
  context: RepositoryContext,
  cluster: string,
  segment: string,
): Promise<readonly StoreCarry[]> {
  const { signal, stopwatch } = context;
  const until = stopwatch() + othersWaitMs / 1000;
  return Promise.all(
    otherStores(context).map(async (store): Promise<StoreCarry> => {
      const told = { store: store.spec.name, required: store.spec.isRequired, carried: 0 };
      try {
        const archive = openWalArchive(await store.open(), cluster);
        while ((await archive.digest(segment)) === null) {
          if (stopwatch() > until) {
            throw new HoldfastError('STORE_UNREACHABLE', `${segment} has not come there yet`, {
              hint: 'The log of wal_ship.ts (or wal_stream.ts) says why.',
            });
          }
          await sleep(pollMs, undefined, { signal });
        }
        return { ...told, problem: null };
      } catch (thrown) {
        if (signal.aborted) throw signal.reason;
        const { code, message } = toHoldfastError(thrown, `looking into ${store.spec.name}`);
        return { ...told, problem: { code, message } };
      }
    }),
  );
}

/**
 * Carries what the other stores lack, or waits for whoever carries it already.
 *
 * @param segment that all of them should have then
 */
async function carryNow(
  context: RepositoryContext,
  cluster: string,
  segment: string,
): Promise<readonly StoreCarry[]> {
  const crew = new CarryCrew(context, cluster, defaultJobs(context.config.settings.threads + 1));
  try {
    return await whileCarrying(context, cluster, () => crew.once());
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'LOCKED') throw error;
    return awaitOthers(context, cluster, segment);
  }
}

/** What lies in one store alone. */
async function pointIn(
  context: RepositoryContext,
  cluster: string,
): Promise<Pick<StorePoint, 'last_segment' | 'newest_recoverable_at' | 'gaps'>> {
  const [archive] = await listWal(context, cluster, { withStream: false });
  const newest = archive?.timelines.toSorted((a, b) => a.timeline - b.timeline).at(-1);
  const last = newest?.ranges.at(-1);
  return {
    last_segment: last?.last_segment ?? null,
    newest_recoverable_at: last?.last_commit?.at ?? null,
    gaps: newest?.gaps.length ?? 0,
  };
}

/**
 * Carries the WAL to every other store and tells the recovery point of each; nothing where there
 * are no others.
 *
 * @param segment the last one that was archived
 * @throws HoldfastError what the archive of the hooks throws; the stores' own failures are told
 */
export async function carryAndTell(
  context: RepositoryContext,
  cluster: string,
  segment: string,
): Promise<readonly StorePoint[]> {
  const stores = otherStores(context);
  if (stores.length === 0) return [];
  const carried = await carryNow(context, cluster, segment);
  return Promise.all(
    stores.map(async (store): Promise<StorePoint> => {
      const { name, isRequired: required } = store.spec;
      const problem = carried.find((each) => each.store === name)?.problem ?? null;
      const none = { last_segment: null, newest_recoverable_at: null, gaps: 0 };
      try {
        const point = await pointIn(await inStore(context, store), cluster);
        return { store: name, required, ...point, problem };
      } catch (thrown) {
        if (context.signal.aborted) throw thrown;
        const { code, message } = toHoldfastError(thrown, `looking into the store ${name}`);
        return { store: name, required, ...none, problem: problem ?? { code, message } };
      }
    }),
  );
}
