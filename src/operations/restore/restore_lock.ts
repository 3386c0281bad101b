/** Only one restore or rollback of a database at a time, from whatever host. */

import { acquireDatabaseLock, restoreLockKey } from '../../postgres/advisory_lock.ts';
import type { ConnectionParameters } from '../../postgres/connection.ts';
import type { Context } from '../context.ts';
import { openMore } from '../open_database.ts';

/**
 * Works while the lock on a database's restores is held.
 *
 * @param parameters of the maintenance database
 * @param holder what formatLockHolder gave
 * @param work its context is ended when the lock is lost
 * @throws HoldfastError LOCKED, LOCK_LOST, and whatever `work` throws
 */
export async function withRestoreLock<T>(
  context: Context,
  parameters: ConnectionParameters,
  database: string,
  holder: string,
  work: (guarded: Context) => Promise<T>,
): Promise<T> {
  const { signal } = context;
  const client = await openMore(context, parameters, holder);
  try {
    const key = restoreLockKey(database);
    const lock = await acquireDatabaseLock({ client, key, holder, waitMs: 0, signal });
    try {
      const stop = new AbortController();
      void lock.lost.then((error) => stop.abort(error));
      return await work({ ...context, signal: AbortSignal.any([signal, stop.signal]) });
    } finally {
      await lock.release();
    }
  } finally {
    await client.end();
  }
}
