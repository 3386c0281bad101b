/** Removes what killed runs have left, before a new one begins. */

import { forgetDeadRuns, staleUnfinished } from '../catalog/runs.ts';
import { toHoldfastError } from '../core/errors.ts';
import type { Storage } from '../storage/storage.ts';
import type { RepositoryContext } from './context.ts';
import type { ReadyStore } from './ready_stores.ts';

/** Removes what lies unfinished in one store and belongs to no run. */
async function cleanUpIn(
  context: RepositoryContext,
  storage: Storage,
  folder: string,
): Promise<void> {
  const { stateDir } = context.repository;
  const stale = await staleUnfinished({ storage, stateDir, folder, now: context.clock() });
  for (const { folder: left } of stale) {
    await storage.removeUnfinished(left);
    const text = `removed ${left}, which a run that never ended has left`;
    context.log.step(text, { folder: left, store: storage.description });
  }
}

/**
 * Removes what killed runs have left in a folder of backups, in every store. The lock says that
 * none is running. Only when all stores have answered are the killed runs forgotten: what they left
 * in one that is down goes when it is back.
 *
 * @param folder the key of the folder that holds the backups of a database, or of a cluster
 * @throws HoldfastError where the only store cannot be read
 */
export async function cleanUp(
  context: RepositoryContext,
  stores: readonly ReadyStore[],
  folder: string,
): Promise<void> {
  const { stateDir } = context.repository;
  const answered: Storage[] = [];
  for (const { storage, spec } of stores) {
    if (storage === null) continue;
    try {
      await cleanUpIn(context, storage, folder);
      answered.push(storage);
    } catch (thrown) {
      if (stores.length === 1) throw thrown;
      const { message } = toHoldfastError(thrown);
      const text = `nothing was cleaned up in the store ${JSON.stringify(spec.name)}: ${message}`;
      context.log.step(text, { store: spec.name });
    }
  }
  const [storage] = answered;
  if (storage === undefined || answered.length < stores.length) return;
  await forgetDeadRuns({ storage, stateDir, folder, now: context.clock() });
}
