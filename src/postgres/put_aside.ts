/**
 * Gives a database another name while writers are kept out of it, without a gap through which one
 * could slip in: what is written after the safety backup would be lost.
 *
 * ALTER DATABASE … RENAME locks the database first, so that new sessions wait, and then waits up to
 * 5 s for the old ones to end. The guard, whose locks the writers wait for, goes as the very last.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { quoteIdentifier } from '../core/quote.ts';
import { databaseOid } from './admin.ts';
import { execute, type Queryable, queryOne, queryRows } from './query.ts';
import { sqlState } from './server_error.ts';
import { Terminator } from './terminator.ts';

const lookMs = 20;
const retryPauseMs = 100;

/** A session in the database that keeps writers out as long as it lasts. */
export interface WriteGuard {
  readonly pid: number;
  /** Ends it. */
  release(): Promise<void>;
}

/** Which database gets which name, and through which sessions. */
export interface PutAsideOptions {
  /** Does the rename; connected to another database. */
  readonly admin: Queryable;
  /** Ends sessions meanwhile; connected to another database too. */
  readonly second: Queryable;
  readonly name: string;
  readonly oid: number;
  readonly newName: string;
  /** `null`: nobody keeps writers out. */
  readonly guard: WriteGuard | null;
  /** For all tries together. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/** Whether the rename has the database to itself and nobody but the guard is left in it. */
async function isAlone(options: PutAsideOptions, adminPid: number): Promise<boolean> {
  const { second, oid, guard } = options;
  const [row] = await queryRows<{ alone: boolean }>(
    second,
    `SELECT EXISTS (SELECT FROM pg_catalog.pg_locks
                     WHERE locktype = 'object' AND granted AND mode = 'AccessExclusiveLock'
                       AND classid = 'pg_catalog.pg_database'::regclass
                       AND objid = $1::oid AND pid = $2::int)
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity
                         WHERE datid = $1::oid AND usesysid IS NOT NULL
                           AND pid <> $3::int) AS alone`,
    [oid, adminPid, guard?.pid ?? 0],
  );
  return row?.alone === true;
}

/** @returns the error of the rename, or `null`; its transaction stays open */
async function renameBesideGuard(
  options: PutAsideOptions,
  adminPid: number,
  release: () => Promise<void>,
): Promise<unknown> {
  const { admin, name, newName } = options;
  let isOver = false;
  const statement = `ALTER DATABASE ${quoteIdentifier(name)} RENAME TO ${quoteIdentifier(newName)}`;
  const renaming = execute(admin, statement)
    .then(
      () => null,
      (error: unknown) => error,
    )
    .finally(() => {
      isOver = true;
    });
  try {
    while (!isOver) {
      if (await isAlone(options, adminPid)) await release();
      await sleep(lookMs);
    }
  } catch (error) {
    await renaming;
    return error;
  }
  return renaming;
}

/** One try. `false` when sessions were in the way and another try may succeed. */
async function tryOnce(
  options: PutAsideOptions,
  adminPid: number,
  release: () => Promise<void>,
): Promise<boolean> {
  const { admin, oid, newName, signal, timeoutMs } = options;
  await execute(admin, 'BEGIN ISOLATION LEVEL READ COMMITTED');
  try {
    await execute(admin, `SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = ${timeoutMs}`);
    const error = await renameBesideGuard(options, adminPid, release);
    if (error !== null) throw error;
    signal.throwIfAborted();
    if ((await databaseOid(admin, newName)) !== oid) {
      throw new HoldfastError('RESTORE_FAILED', 'another database took the name meanwhile', {
        hint: 'Look at the databases of the server, and start again.',
      });
    }
    await execute(admin, 'COMMIT');
    return true;
  } catch (error) {
    await admin.query('ROLLBACK').catch(() => undefined);
    // 55006 object_in_use: the 5 s are over; 55P03 lock_not_available; 40P01 deadlock_detected.
    if (['55006', '55P03', '40P01'].includes(sqlState(error) ?? '')) return false;
    throw error;
  }
}

/**
 * Renames the database. Whatever fails, it keeps its name and its content.
 *
 * @throws HoldfastError RESTORE_FAILED with what stands in the way, and what the server says
 */
export async function putAside(options: PutAsideOptions): Promise<void> {
  const { admin, second, guard, name, oid, signal, timeoutMs } = options;
  const { pid } = await queryOne<{ pid: number }>(admin, 'SELECT pg_backend_pid() AS pid');
  const terminator = new Terminator(second, [oid], guard?.pid);
  let released = false;
  const release = async () => {
    if (released) return;
    released = true;
    await guard?.release();
  };
  const deadlineMs = performance.now() + timeoutMs;
  const terminating = terminator.run();
  try {
    while (!(await tryOnce(options, pid, release))) {
      signal.throwIfAborted();
      if (terminator.failure !== null) throw toHoldfastError(terminator.failure);
      const [stubborn] = terminator.stubborn;
      if (!released && stubborn === undefined && performance.now() < deadlineMs) {
        await sleep(retryPauseMs);
        continue;
      }
      const why =
        stubborn === undefined
          ? 'sessions kept using it'
          : `a session of role ${JSON.stringify(stubborn.role)} cannot be ended: ${stubborn.words}`;
      throw new HoldfastError(
        'RESTORE_FAILED',
        `database ${JSON.stringify(name)} could not be put aside and is untouched: ${why}`,
        { hint: 'Stop what connects to it, and try again.' },
      );
    }
  } finally {
    terminator.stop();
    await terminating;
  }
}
