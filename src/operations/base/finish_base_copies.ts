/** Brings the stores what they lack of the base backups of a cluster. */

import { baseFolder } from '../../catalog/base_catalog.ts';
import { whileUsingCluster } from '../../catalog/in_use.ts';
import { HoldfastError } from '../../core/errors.ts';
import { acquireDatabaseLock, baseLockKey } from '../../postgres/advisory_lock.ts';
import { resolveConnection } from '../../postgres/connection.ts';
import { formatLockHolder } from '../../postgres/lock_holder.ts';
import type { RepositoryContext } from '../context.ts';
import { type FinishedCopies, finishCopies } from '../finish_copies.ts';
import { connectMaintenance } from '../open_database.ts';
import { stopOnLostLock } from '../stop_on_lost_lock.ts';
import type { IncrementalResult } from './backup_incremental.ts';

/**
 * Does it under the lock of a base backup of the server that the settings name, so that no two
 * hosts copy the same one, and while no prune removes what an increment needs. It never throws.
 */
export function finishBaseCopies(
  context: RepositoryContext,
  { cluster, base }: Pick<IncrementalResult, 'cluster' | 'base'>,
): Promise<FinishedCopies> {
  const { config, host, pid, repository, signal } = context;
  const stores = base?.stores ?? [];
  return finishCopies(context, {
    folder: baseFolder(cluster),
    failed: stores.flatMap(({ name, status }) => (status === 'missing' ? [name] : [])),
    exclusively: async (work) => {
      const holder = formatLockHolder({ operation: 'copy', startedAt: context.clock(), host, pid });
      const target = await resolveConnection({ config, fallbackDatabase: 'postgres' });
      const { client } = await connectMaintenance(context, target, holder);
      try {
        const key = baseLockKey();
        const lock = await acquireDatabaseLock({ client, key, holder, waitMs: 0, signal });
        try {
          const { signal: stop } = stopOnLostLock(context, lock);
          await whileUsingCluster(repository.stateDir, cluster, () => work(stop));
        } finally {
          await lock.release();
        }
      } catch (error) {
        if (!(error instanceof HoldfastError) || error.code !== 'LOCKED') throw error;
      } finally {
        await client.end();
      }
    },
  });
}
