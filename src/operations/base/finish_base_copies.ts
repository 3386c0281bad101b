/** Brings the stores what they lack of the base backups of a cluster. */

import { baseFolder } from '../../catalog/base_catalog.ts';
import { whileUsingCluster } from '../../catalog/in_use.ts';
import { baseLockKey } from '../../postgres/advisory_lock.ts';
import { resolveConnection } from '../../postgres/connection.ts';
import type { RepositoryContext } from '../context.ts';
import { whileCopying } from '../copy_lock.ts';
import { type FinishedCopies, finishCopies } from '../finish_copies.ts';
import { connectMaintenance } from '../open_database.ts';
import type { IncrementalResult } from './backup_incremental.ts';

/**
 * Does it under the lock of a base backup of the server that the settings name, so that no two
 * hosts copy the same one, and while no prune removes what an increment needs. It never throws.
 */
export function finishBaseCopies(
  context: RepositoryContext,
  { cluster, base }: Pick<IncrementalResult, 'cluster' | 'base'>,
): Promise<FinishedCopies> {
  const { config, repository } = context;
  const stores = base?.stores ?? [];
  const open = async (holder: string) => {
    const target = await resolveConnection({ config, fallbackDatabase: 'postgres' });
    return connectMaintenance(context, target, holder);
  };
  return finishCopies(context, {
    folder: baseFolder(cluster),
    failed: stores.flatMap(({ name, status }) => (status === 'missing' ? [name] : [])),
    exclusively: (work) =>
      whileCopying(context, baseLockKey(), open, (stop) =>
        whileUsingCluster(repository.stateDir, cluster, () => work(stop)),
      ),
  });
}
