/** Removes what killed runs have left, before a new one begins. */

import { forgetDeadRuns, removeStale, staleUnfinished } from '../catalog/runs.ts';
import type { RepositoryContext } from './context.ts';

/**
 * Removes what killed runs have left in a folder of backups. The lock says that none is running.
 *
 * @param folder the key of the folder that holds the backups of a database, or of a cluster
 */
export async function cleanUp(context: RepositoryContext, folder: string): Promise<void> {
  const { log } = context;
  const { storage, stateDir } = context.repository;
  const options = { storage, stateDir, folder, now: context.clock() };
  const stale = await staleUnfinished(options);
  await removeStale(storage, stateDir, stale);
  await forgetDeadRuns(options);
  for (const { folder: left } of stale) {
    log.step(`removed ${left}, which a run that never ended has left`, { folder: left });
  }
}
