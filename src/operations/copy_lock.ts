/** Holds the lock of a backup while one is copied. */

import { HoldfastError } from '../core/errors.ts';
import { acquireDatabaseLock, type LockKey } from '../postgres/advisory_lock.ts';
import type { Connected } from '../postgres/connect.ts';
import { formatLockHolder } from '../postgres/lock_holder.ts';
import type { Context } from './context.ts';
import { stopOnLostLock } from './stop_on_lost_lock.ts';

/**
 * Does the work under the lock; not at all where a backup holds it, which will do the same.
 *
 * @param open connects, with what others are told of who holds the lock
 * @param work its signal ends it when the lock is lost
 * @throws HoldfastError DATABASE_…, LOCK_LOST; what the work throws
 */
export async function whileCopying(
  context: Context,
  key: LockKey,
  open: (holder: string) => Promise<Pick<Connected, 'client'>>,
  work: (signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const { host, pid, signal } = context;
  const holder = formatLockHolder({ operation: 'copy', startedAt: context.clock(), host, pid });
  const { client } = await open(holder);
  try {
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
}
