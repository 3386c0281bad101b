/**
 * Who reads a backup holds a shared lock on its label, and who removes it holds the lock alone: a
 * restore never loses the ground under its feet. A label is in use only while such a process lives.
 */

import { join } from 'node:path';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { encodeComponent } from '../core/names.ts';
import { isClaimed, type LockOptions, withFileLock } from './lock.ts';

/** Removing is the removing of some files: whoever waits for it waits no longer. */
const removalMsMax = 60_000;

/** A store that takes no file: a read-only disk or a full one. */
const noClaim = new Set<string>(['STORE_REFUSED', 'NO_SPACE']);

function lockPath(stateDir: string, label: string): string {
  return join(stateDir, 'in_use', label);
}

/** Like `withFileLock`; where nothing can be written, `otherwise` is done in place of the work. */
async function withClaim<T>(
  path: string,
  options: LockOptions,
  work: () => Promise<T>,
  otherwise: () => Promise<T>,
): Promise<T> {
  let begun = false;
  try {
    return await withFileLock(path, options, () => {
      begun = true;
      return work();
    });
  } catch (thrown) {
    if (begun) throw thrown;
    const error = toHoldfastError(thrown, `claiming ${path}`);
    if (!noClaim.has(error.code)) throw error;
  }
  return otherwise();
}

/**
 * Reads a backup while no prune removes it. From a repository that is read-only or full it is read
 * without that promise: a restore has to work there too.
 *
 * @param stateDir the repository's folder for what is local (`Repository.stateDir`)
 * @throws HoldfastError LOCKED when it is being removed for a minute already
 */
export function whileReading<T>(
  stateDir: string,
  label: string,
  work: () => Promise<T>,
): Promise<T> {
  const path = lockPath(stateDir, label);
  return withClaim(path, { waitMs: removalMsMax, shared: true }, work, work);
}

/**
 * Removes a backup while nobody reads it. On a full disk, where no claim can be made, who reads it
 * already is still seen.
 *
 * @throws HoldfastError LOCKED when somebody reads it, or removes it too
 */
export function whileRemoving<T>(
  stateDir: string,
  label: string,
  work: () => Promise<T>,
): Promise<T> {
  const path = lockPath(stateDir, label);
  return withClaim(path, { waitMs: 0 }, work, async () => {
    if (!(await isClaimed(path))) return work();
    throw new HoldfastError('LOCKED', `${label} is in use`, {
      hint: 'Wait until the restore or verification that reads it has ended.',
    });
  });
}

/** The lock of all base backups and all WAL of a cluster. */
function clusterLockPath(stateDir: string, cluster: string): string {
  return join(stateDir, 'in_use', 'incremental', encodeComponent(cluster));
}

/**
 * Reads or adds to the base backups and the WAL of a cluster while none of it is removed. In a
 * repository that is read-only or full it is done without that promise.
 *
 * @throws HoldfastError LOCKED when something is being removed for a minute already
 */
export function whileUsingCluster<T>(
  stateDir: string,
  cluster: string,
  work: () => Promise<T>,
): Promise<T> {
  const path = clusterLockPath(stateDir, cluster);
  return withClaim(path, { waitMs: removalMsMax, shared: true }, work, work);
}

/**
 * Removes base backups or WAL of a cluster while nobody uses it, and no other prune does. On a full
 * disk, where no claim can be made, who uses it already is still seen.
 *
 * @throws HoldfastError LOCKED when somebody does
 */
export function whileRemovingOfCluster<T>(
  stateDir: string,
  cluster: string,
  work: () => Promise<T>,
): Promise<T> {
  const path = clusterLockPath(stateDir, cluster);
  return withClaim(path, { waitMs: 0 }, work, async () => {
    if (!(await isClaimed(path))) return work();
    throw new HoldfastError('LOCKED', `the WAL of ${JSON.stringify(cluster)} is in use`, {
      hint: 'Wait until the base backup, restore or verification that uses it has ended.',
    });
  });
}

/**
 * Does something while no other prune of this repository does. On a full disk it is done anyway:
 * that is what frees it, and removing twice is harmless by its order.
 *
 * @throws HoldfastError LOCKED after a minute
 */
export function whilePruning<T>(stateDir: string, work: () => Promise<T>): Promise<T> {
  return withClaim(join(stateDir, 'prune.lock'), { waitMs: removalMsMax }, work, work);
}
