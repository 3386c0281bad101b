/**
 * Puts a restored database in the place of the old one, in one transaction (PRODUCT.md, "What a
 * restore promises"): either both are renamed or none is.
 *
 * ALTER DATABASE … RENAME locks the database, then waits up to 5 s for its sessions to end; new
 * ones wait behind the lock. So a second session ends the old ones meanwhile, and after the commit
 * the clients find the new database under the old name. Killed at any moment, this leaves nothing
 * behind but the old state.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../core/errors.ts';
import { quoteIdentifier, quoteLiteral } from '../core/quote.ts';
import { databaseOid } from './admin.ts';
import { readPreparedTransactions } from './facts.ts';
import {
  disableTimeouts,
  execute,
  pinSearchPath,
  type Queryable,
  queryOne,
  queryRows,
  serverVersionNum,
} from './query.ts';
import { sqlState } from './server_error.ts';
import { type Stubborn, Terminator } from './terminator.ts';

/** Which databases change places, and through which sessions. */
export interface SwapOptions {
  /** Does the renames; connected to another database, such as `postgres`. */
  readonly admin: Queryable;
  /** Ends sessions meanwhile; connected to another database too. */
  readonly second: Queryable;
  /** The name that the restored database gets. */
  readonly name: string;
  /** The OID of the database of that name; `null` when there is none. */
  readonly oldOid: number | null;
  readonly restored: string;
  readonly restoredOid: number;
  /** The name under which the old database stays. */
  readonly keepOldAs: string;
  /** Run in the same transaction, before the renames. */
  readonly statements?: readonly string[] | undefined;
  /** For all tries together. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/** What a swap took. */
export interface SwapResult {
  /** How many sessions of the old database were ended. */
  readonly sessionsEnded: number;
  readonly attempts: number;
}

const retryPauseMs = 100;

function swapError(
  options: SwapOptions,
  why: string,
  hint: string,
  cause?: unknown,
): HoldfastError {
  const message =
    options.oldOid === null
      ? `database ${JSON.stringify(options.restored)} could not be renamed to ` +
        `${JSON.stringify(options.name)}: ${why}`
      : `database ${JSON.stringify(options.name)} could not be replaced and is untouched: ${why}`;
  return new HoldfastError('SWAP_FAILED', message, { hint, cause });
}

/** A prepared transaction belongs to no session: nobody can end it but who decides about it. */
async function refusePrepared(options: SwapOptions): Promise<void> {
  const { second, name, oldOid, restored, restoredOid } = options;
  const databases = [[name, oldOid] as const, [restored, restoredOid] as const];
  for (const [database, oid] of databases) {
    if (oid === null) continue;
    const [prepared] = await readPreparedTransactions(second, oid);
    if (prepared === undefined) continue;
    const gid = quoteLiteral(prepared.gid);
    throw swapError(
      options,
      `the prepared transaction ${JSON.stringify(prepared.gid)} of role ` +
        `${JSON.stringify(prepared.owner)} (${prepared.preparedAt}) is open in ` +
        `${database === name ? 'it' : JSON.stringify(database)}`,
      `Connected to that database: COMMIT PREPARED ${gid}; or ROLLBACK PREPARED ${gid};`,
    );
  }
}

function stubbornError(options: SwapOptions, stubborn: Stubborn): HoldfastError {
  return swapError(
    options,
    `a session of role ${JSON.stringify(stubborn.role)} ` +
      `(${JSON.stringify(stubborn.applicationName)}) cannot be ended: ${stubborn.words}`,
    'End that session, or connect as a superuser; pg_signal_backend is enough for other sessions.',
  );
}

/** The names must still belong to the databases that were looked at. */
async function requireOid(options: SwapOptions, name: string, oid: number | null): Promise<void> {
  const found = await databaseOid(options.admin, name);
  if (found === oid) return;
  throw swapError(
    options,
    `${JSON.stringify(name)} is not the database that it was (OID ${found}, not ${oid})`,
    'Somebody renamed, created or dropped a database meanwhile: look, and start again.',
  );
}

async function rename(options: SwapOptions, from: string, to: string): Promise<void> {
  const statement = `ALTER DATABASE ${quoteIdentifier(from)} RENAME TO ${quoteIdentifier(to)}`;
  await execute(options.admin, statement);
}

/** Both renames; the transaction stays open. */
async function renameBoth(options: SwapOptions, lockTimeoutMs: number): Promise<void> {
  const { admin, name, oldOid, restored, restoredOid, keepOldAs } = options;
  await disableTimeouts(admin, await serverVersionNum(admin));
  await queryRows(admin, "SELECT pg_catalog.set_config('lock_timeout', $1, true)", [
    String(Math.max(1, Math.ceil(lockTimeoutMs))),
  ]);
  for (const statement of options.statements ?? []) await execute(admin, statement);
  if (oldOid !== null) await rename(options, name, keepOldAs);
  await rename(options, restored, name);
  // Our own renames are visible here, and the locks keep everybody else away.
  await requireOid(options, name, restoredOid);
  if (oldOid !== null) await requireOid(options, keepOldAs, oldOid);
}

/** `true` when done; `false` when sessions were in the way and another try may succeed. */
async function trySwap(options: SwapOptions, lockTimeoutMs: number): Promise<boolean> {
  const { admin, second, name, restoredOid } = options;
  await execute(admin, 'BEGIN ISOLATION LEVEL READ COMMITTED');
  try {
    await renameBoth(options, lockTimeoutMs);
    options.signal?.throwIfAborted();
  } catch (error) {
    await admin.query('ROLLBACK').catch(() => undefined);
    // 55006 object_in_use: the 5 s are over; 55P03 lock_not_available; 40P01 deadlock_detected.
    if (['55006', '55P03', '40P01'].includes(sqlState(error) ?? '')) return false;
    throw error;
  }
  try {
    await execute(admin, 'COMMIT');
    return true;
  } catch (error) {
    // The connection broke while it committed: only the catalog knows what came of it.
    if ((await databaseOid(second, name)) === restoredOid) return true;
    throw error;
  }
}

function describeFailure(options: SwapOptions, thrown: unknown): HoldfastError {
  if (thrown instanceof HoldfastError && thrown.code === 'SWAP_FAILED') return thrown;
  if (options.signal?.aborted === true) {
    const { reason } = options.signal;
    if (reason instanceof HoldfastError && reason.code !== 'INTERRUPTED') return reason;
    return new HoldfastError('INTERRUPTED', 'interrupted before the databases were swapped', {
      cause: thrown,
    });
  }
  const words = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof HoldfastError && thrown.code === 'DATABASE_PRIVILEGE') {
    return swapError(
      options,
      words,
      'Renaming takes the ownership of both databases and CREATEDB, or a superuser.',
      thrown,
    );
  }
  const hint = thrown instanceof HoldfastError ? thrown.hint : undefined;
  return swapError(
    options,
    words,
    hint ?? 'Look into the log of the server, and try again.',
    thrown,
  );
}

/** Tries until the renames are through, the time is over, or they clearly never will be. */
async function swapLoop(options: SwapOptions, terminator: Terminator): Promise<number> {
  const deadlineMs = performance.now() + options.timeoutMs;
  for (let attempt = 1; ; attempt += 1) {
    options.signal?.throwIfAborted();
    await refusePrepared(options);
    const leftMs = deadlineMs - performance.now();
    if (await trySwap(options, leftMs)) return attempt;
    if (terminator.failure !== null) throw terminator.failure;
    const [stubborn] = terminator.stubborn;
    if (stubborn !== undefined) throw stubbornError(options, stubborn);
    if (performance.now() + retryPauseMs >= deadlineMs) {
      await refusePrepared(options);
      const seconds = Math.round(options.timeoutMs / 1000);
      throw swapError(
        options,
        `sessions kept using it for ${seconds} s and could not be ended`,
        'Stop what connects to it, and try again.',
      );
    }
    await sleep(retryPauseMs, undefined, { signal: options.signal });
  }
}

/** The server process of a session, so that the other one can cancel its statement. */
async function backendPid(client: Queryable): Promise<number> {
  return (await queryOne<{ pid: number }>(client, 'SELECT pg_backend_pid() AS pid')).pid;
}

/**
 * Swaps the databases. Whatever fails, the old database is untouched.
 *
 * @throws HoldfastError SWAP_FAILED with what stands in the way (a prepared transaction, a session
 * that this role cannot end, a missing privilege), INTERRUPTED, or why else the signal was given
 */
export async function swapDatabases(options: SwapOptions): Promise<SwapResult> {
  const { admin, second, signal, oldOid, restoredOid } = options;
  const oids = oldOid === null ? [restoredOid] : [oldOid, restoredOid];
  const terminator = new Terminator(second, oids);
  let abort: (() => void) | undefined;
  let terminating: Promise<void> | undefined;
  let attempts: number;
  try {
    await pinSearchPath(admin);
    await pinSearchPath(second);
    await requireOid(options, options.name, oldOid);
    await requireOid(options, options.restored, restoredOid);
    await refusePrepared(options);
    const adminPid = await backendPid(admin);
    abort = () => terminator.cancel(adminPid);
    signal?.addEventListener('abort', abort, { once: true });
    terminating = terminator.run();
    attempts = await swapLoop(options, terminator);
  } catch (error) {
    throw describeFailure(options, error);
  } finally {
    terminator.stop();
    await terminating;
    if (abort !== undefined) signal?.removeEventListener('abort', abort);
  }
  // Only now is it known: the renames can be through before the last answer of the terminator.
  return { sessionsEnded: terminator.ended, attempts };
}
