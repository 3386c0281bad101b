/** Brings the stores what they lack of the backups of one database, after a backup of it. */

import { databaseFolder } from '../../catalog/repository.ts';
import { HoldfastError } from '../../core/errors.ts';
import { acquireDatabaseLock, backupLockKey } from '../../postgres/advisory_lock.ts';
import type { ResolvedTarget } from '../../postgres/connection.ts';
import { formatLockHolder } from '../../postgres/lock_holder.ts';
import type { RepositoryContext } from '../context.ts';
import { type FinishedCopies, finishCopies } from '../finish_copies.ts';
import { openDatabase } from '../open_database.ts';
import { stopOnLostLock } from '../stop_on_lost_lock.ts';
import type { BackupResult } from './backup_full.ts';

/**
 * Does it under the lock of a backup, so that no two hosts copy the same one; where the next backup
 * of the database runs already, that one will do it. It never throws.
 */
export function finishFullCopies(
  context: RepositoryContext,
  target: ResolvedTarget,
  { manifest, copies }: Pick<BackupResult, 'manifest' | 'copies'>,
): Promise<FinishedCopies> {
  const { host, pid, signal } = context;
  const { cluster, database } = manifest;
  return finishCopies(context, {
    folder: databaseFolder(cluster, database),
    failed: copies.flatMap(({ store, error }) => (error === null ? [] : [store])),
    exclusively: async (work) => {
      const holder = formatLockHolder({ operation: 'copy', startedAt: context.clock(), host, pid });
      const { client } = await openDatabase(context, target, holder);
      try {
        const key = backupLockKey(target.database);
        const lock = await acquireDatabaseLock({ client, key, holder, waitMs: 0, signal });
        try {
          await work(stopOnLostLock(context, lock).signal);
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
