/** Brings the stores what they lack of the backups of one database, after a backup of it. */

import { databaseFolder } from '../../catalog/repository.ts';
import { backupLockKey } from '../../postgres/advisory_lock.ts';
import type { ResolvedTarget } from '../../postgres/connection.ts';
import type { RepositoryContext } from '../context.ts';
import { whileCopying } from '../copy_lock.ts';
import { type FinishedCopies, finishCopies } from '../finish_copies.ts';
import { openDatabase } from '../open_database.ts';
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
  const { cluster, database } = manifest;
  const key = backupLockKey(target.database);
  return finishCopies(context, {
    folder: databaseFolder(cluster, database),
    failed: copies.flatMap(({ store, error }) => (error === null ? [] : [store])),
    exclusively: (work) =>
      whileCopying(context, key, (holder) => openDatabase(context, target, holder), work),
  });
}
