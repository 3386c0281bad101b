/**
 * Keeps writers out of a database between its safety backup and its drop: what is committed after
 * the backup's snapshot would be lost. Locks do it, so nothing is left behind whatever is killed:
 * readers, pg_dump among them, go on, and writers wait until the drop ends them.
 */

import type { Client } from 'pg';
import { toHoldfastError } from '../../core/errors.ts';
import { type ConnectionParameters, withDatabase } from '../../postgres/connection.ts';
import type { WriteGuard } from '../../postgres/put_aside.ts';
import { execute, queryOne, queryRows } from '../../postgres/query.ts';
import { sqlState } from '../../postgres/server_error.ts';
import type { Context } from '../context.ts';
import { openMore } from '../open_database.ts';

/** How long one try waits for transactions that write; from the second one on they are ended. */
const lockTimeoutMs = 3_000;
const attemptsMax = 10;
const lookMs = 250;

/** Writers are kept out while it stands. */
export interface Fence {
  /** Why writers could not be kept out, or `null`. */
  readonly problem: string | null;
  /** The session whose locks it is; `null` where there is a problem. */
  readonly guard: WriteGuard | null;
  /** Lets writers in again. Harmless when the database is gone. */
  remove(): Promise<void>;
}

/**
 * Every table that holds rows of a user's, and the large objects where this role may lock them:
 * SHARE lets readers alone in. Each partition is locked itself.
 */
const tablesSql = `
  SELECT pg_catalog.string_agg(pg_catalog.format('ONLY %I.%I', n.nspname, c.relname), ', ')
           AS tables
    FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
     AND (n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
          OR c.oid = 'pg_catalog.pg_largeobject'::regclass
             AND pg_catalog.current_setting('is_superuser') = 'on')`;

/** Ends the transactions that are in the way of a lock: they have written and are still open. */
const endBlockersSql = `
  SELECT pg_catalog.pg_terminate_backend(blocker)
    FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids($1::int)) AS blocker WHERE blocker > 0`;

/**
 * Ends who wants a table for itself: it waits behind the fence, and everybody waits behind it,
 * pg_dump too.
 */
const endExclusiveSql = `
  SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks
   WHERE NOT granted AND locktype = 'relation' AND mode = 'AccessExclusiveLock'
     AND database = $1::oid`;

/** Does something again and again until it is told to stop; one question at a time. */
function repeatedly(work: () => Promise<unknown>): () => Promise<void> {
  let running: Promise<unknown> = Promise.resolve();
  let isBusy = false;
  const timer = setInterval(() => {
    if (isBusy) return;
    isBusy = true;
    running = work()
      .catch(() => undefined)
      .finally(() => {
        isBusy = false;
      });
  }, lookMs);
  return async () => {
    clearInterval(timer);
    await running;
  };
}

async function lockTables(inside: Client, second: Client, pid: number): Promise<void> {
  const { tables } = await queryOne<{ tables: string | null }>(inside, tablesSql);
  if (tables === null) return;
  for (let attempt = 1; ; attempt += 1) {
    const stop =
      attempt === 1
        ? () => Promise.resolve()
        : repeatedly(() => queryRows(second, endBlockersSql, [pid]));
    try {
      await execute(inside, 'BEGIN ISOLATION LEVEL READ COMMITTED');
      await execute(
        inside,
        `SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0;
         SET LOCAL lock_timeout = ${lockTimeoutMs}; LOCK TABLE ${tables} IN SHARE MODE`,
      );
      return;
    } catch (error) {
      await inside.query('ROLLBACK').catch(() => undefined);
      // 55P03 lock_not_available; 40P01 deadlock_detected.
      const isBusy = ['55P03', '40P01'].includes(sqlState(error) ?? '');
      if (!isBusy || attempt >= attemptsMax) throw error;
    } finally {
      await stop();
    }
  }
}

/**
 * Puts the fence up. Where that fails (a role that may not lock a table) it says why: the caller
 * tells it, since what is written then until the drop is lost.
 *
 * @param parameters of the maintenance database
 */
export async function raiseFence(
  context: Context,
  parameters: ConnectionParameters,
  database: { readonly name: string; readonly oid: number },
): Promise<Fence> {
  const clients: Client[] = [];
  let stop = () => Promise.resolve();
  const remove = async () => {
    await stop();
    await Promise.all(clients.splice(0).map((client) => client.end()));
  };
  try {
    const second = await openMore(context, parameters, 'holdfast fence');
    clients.push(second);
    const within = await withDatabase(parameters, database.name);
    const inside = await openMore(context, within, 'holdfast fence');
    clients.push(inside);
    const { pid } = await queryOne<{ pid: number }>(inside, 'SELECT pg_backend_pid() AS pid');
    await lockTables(inside, second, pid);
    stop = repeatedly(() => queryRows(second, endExclusiveSql, [database.oid]));
    return { problem: null, guard: { pid, release: remove }, remove };
  } catch (error) {
    await remove();
    context.signal.throwIfAborted();
    return { problem: toHoldfastError(error).message, guard: null, remove };
  }
}
