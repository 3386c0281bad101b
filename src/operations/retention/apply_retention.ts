/** Applies the retention of one database or cluster after a good run for it, in every store. */

import type { Store } from '../../catalog/stores.ts';
import { type HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { Manifest } from '../../core/manifest.ts';
import { printable } from '../../core/printable.ts';
import type { RepositoryContext } from '../context.ts';
import { inStore } from '../store_choice.ts';
import { prune } from './prune.ts';
import { pruneCluster } from './prune_cluster.ts';
import { clusterGuardErrors, guardErrors } from './retention_guard.ts';

/** What the retention after a backup has done in one store. */
interface StoreRetention {
  /** Labels. */
  readonly removed: readonly string[];
  readonly freed_bytes: number;
}

/** What the retention after a backup has done. */
export interface AppliedRetention extends StoreRetention {
  /** In each store by its name, but for those in which it could not be applied. */
  readonly stores: Readonly<Record<string, StoreRetention>>;
  /** What a person should know; the backup is good whatever stands here. */
  readonly warnings: readonly string[];
}

/** What was done in one store, and what a guard has stopped there. */
interface Done<Result extends StoreRetention> {
  readonly result: Result;
  readonly guards: readonly HoldfastError[];
}

/** Whether killed runs stay known when one store was tidied: the others come later, or failed. */
type Prune<Result extends StoreRetention> = (
  view: RepositoryContext,
  remembersRuns: boolean,
) => Promise<Done<Result>>;

/** In which store, where there are several. */
function whereOf({ repository }: RepositoryContext, { spec }: Store): string {
  return repository.stores.length === 1 ? '' : ` in the store ${printable(spec.name)}`;
}

/**
 * Applies it in one store after the other, each by its own rules. It never throws: a backup that
 * was taken is a good one, whatever becomes of the older ones.
 *
 * @param what whose retention it is, for the warnings
 */
async function applyInStores<Result extends StoreRetention>(
  context: RepositoryContext,
  what: string,
  pruneIn: Prune<Result>,
): Promise<{ readonly done: ReadonlyMap<string, Result>; readonly warnings: readonly string[] }> {
  const { stores } = context.repository;
  const [done, warnings] = [new Map<string, Result>(), [] as string[]];
  for (const [index, store] of stores.entries()) {
    try {
      const isLast = done.size === index && index === stores.length - 1;
      const { result, guards } = await pruneIn(await inStore(context, store), !isLast);
      done.set(store.spec.name, result);
      warnings.push(...guards.map(({ message, hint }) => `${message}. ${hint}`));
    } catch (thrown) {
      const { message } = toHoldfastError(thrown);
      const where = whereOf(context, store);
      warnings.push(`the retention of ${printable(what)} was not applied${where}: ${message}`);
    }
  }
  for (const warning of warnings) context.log.warn(warning);
  return { done, warnings };
}

function sumOf(results: ReadonlyMap<string, StoreRetention>): Omit<AppliedRetention, 'warnings'> {
  const all = [...results.values()];
  return {
    removed: [...new Set(all.flatMap(({ removed }) => removed))],
    freed_bytes: all.reduce((sum, { freed_bytes }) => sum + freed_bytes, 0),
    stores: Object.fromEntries(results),
  };
}

/** Removes what the retention of the database does not keep any more. It never throws. */
export async function applyRetention(
  context: RepositoryContext,
  { cluster, database }: Pick<Manifest, 'cluster' | 'database'>,
): Promise<AppliedRetention> {
  const filter = { cluster, database };
  const { done, warnings } = await applyInStores(context, database, async (view, remembersRuns) => {
    const pruned = await prune(view, { filter, force: false, agreed: null, remembersRuns });
    const removed = pruned.removed.map(({ label }) => label);
    const guards = guardErrors(pruned.plan, false, view.repository);
    return { result: { removed, freed_bytes: pruned.freedBytes }, guards };
  });
  return { ...sumOf(done), warnings };
}

/** What the retention of base backups and WAL has done. */
export interface AppliedClusterRetention extends AppliedRetention {
  /** How many files of the WAL were removed. */
  readonly wal_files: number;
}

/** Removes what the retention of a cluster does not keep any more of its base backups and WAL. */
export async function applyClusterRetention(
  context: RepositoryContext,
  cluster: string,
): Promise<AppliedClusterRetention> {
  const { done, warnings } = await applyInStores(context, cluster, async (view, remembersRuns) => {
    const options = { force: false, agreed: null, remembersRuns };
    const pruned = await pruneCluster(view, cluster, options);
    const removed = pruned.removed.map(({ label }) => label);
    const plans = pruned.plan === null ? [] : [pruned.plan];
    const guards = clusterGuardErrors(plans, false, view.repository);
    const { walFiles: wal_files, freedBytes: freed_bytes } = pruned;
    return { result: { removed, wal_files, freed_bytes }, guards };
  });
  const wal_files = [...done.values()].reduce((sum, each) => sum + each.wal_files, 0);
  return { ...sumOf(done), wal_files, warnings };
}
