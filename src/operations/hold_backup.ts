/** Keeps a backup from being removed while it is read. */

import { whileReading } from '../catalog/in_use.ts';
import type { Repository } from '../catalog/repository.ts';
import { HoldfastError } from '../core/errors.ts';
import type { Storage } from '../storage/storage.ts';

/**
 * Reads a backup of the repository while no prune removes it.
 *
 * @param place its label and the key of its folder
 * @throws HoldfastError BACKUP_NOT_FOUND when it was removed since it was found; LOCKED when it is
 *   being removed for a minute already
 */
export function holdBackup<T>(
  { storage, stateDir }: Pick<Repository, 'storage' | 'stateDir'>,
  { label, folder }: { readonly label: string; readonly folder: string },
  work: () => Promise<T>,
): Promise<T> {
  return whileReading(stateDir, label, async () => {
    await requireThere(storage, { label, folder });
    return work();
  });
}

/**
 * Tells a backup that is gone from one that is damaged: locks are of one host, and a bucket may be
 * pruned by another one.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND
 */
export async function requireThere(
  storage: Storage,
  { label, folder }: { readonly label: string; readonly folder: string },
): Promise<void> {
  if ((await storage.children(folder)).length > 0) return;
  throw new HoldfastError('BACKUP_NOT_FOUND', `the backup ${label} was removed just now`, {
    hint: 'scripts/list_backups.ts shows those that are there.',
  });
}

/**
 * The same for several backups: none of them is removed meanwhile.
 *
 * @throws HoldfastError as {@link holdBackup}
 */
export function holdBackups<T>(
  repository: Pick<Repository, 'storage' | 'stateDir'>,
  places: readonly { readonly label: string; readonly folder: string }[],
  work: () => Promise<T>,
): Promise<T> {
  const [first, ...rest] = places;
  if (first === undefined) return work();
  return holdBackup(repository, first, () => holdBackups(repository, rest, work));
}
