/**
 * One writer per database, from whatever host: an advisory lock (ARCHITECTURE.md, "Growing past
 * one machine"; manual, "Advisory Locks").
 *
 * It is a transaction-level lock in an open READ COMMITTED transaction of a dedicated direct
 * connection. A session-level lock would break behind a transaction pooler, and would outlive a
 * dead host for two hours; here the server asks the client for a sign of life after 30 s. The
 * transaction holds no snapshot between its statements, so it does not hold back vacuum.
 */

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { HoldfastError } from '../core/errors.ts';
import { type LockHolder, parseLockHolder } from './lock_holder.ts';
import {
  disableTimeouts,
  execute,
  pinSearchPath,
  type Queryable,
  queryOne,
  queryRows,
  serverVersionNum,
  withTimeout,
} from './query.ts';
import { describeServerError } from './server_error.ts';

/** Two int4 keys: the class names our kind of lock, the object which one of the kind. */
export interface LockKey {
  readonly classId: number;
  readonly objectId: number;
  /** What is locked, in words, for messages: `database "app"`. */
  readonly what: string;
}

/** `HOLD` in ASCII. An advisory lock belongs to the database of its session. */
const backupClass = 0x48_4f_4c_44;
/** `HOLR`: a key space of its own, in the maintenance database. */
const restoreClass = 0x48_4f_4c_52;
/** `HOLB`: base backups, in the maintenance database. */
const baseClass = 0x48_4f_4c_42;

/** The lock of a backup: taken in a session of the database itself. */
export function backupLockKey(database: string): LockKey {
  return {
    classId: backupClass,
    objectId: 1,
    what: `database ${JSON.stringify(database)}`,
  };
}

/** The lock of a base backup: one of a server at a time. Taken in the maintenance database. */
export function baseLockKey(): LockKey {
  return { classId: baseClass, objectId: 1, what: 'the base backup of this server' };
}

/**
 * The lock of a restore: taken in a session of the maintenance database, since the target may not
 * exist yet. Two names whose hashes meet (1 in 4 thousand million) wait for each other, no more.
 */
export function restoreLockKey(targetDatabase: string): LockKey {
  const hash = createHash('sha256').update(targetDatabase, 'utf8').digest();
  return {
    classId: restoreClass,
    objectId: hash.readInt32BE(0),
    what: `a restore of database ${JSON.stringify(targetDatabase)}`,
  };
}

/** Which lock is taken, for whom, and how long it is waited for. */
export interface AcquireLockOptions {
  /** A dedicated direct connection; the lock never closes it. */
  readonly client: Client;
  readonly key: LockKey;
  /** What formatLockHolder gave: shown to whoever finds the lock taken. */
  readonly holder: string;
  /** How long to wait for another holder; 0 fails at once. */
  readonly waitMs: number;
  readonly signal?: AbortSignal | undefined;
  /** Called once, when the lock is found taken and is waited for. */
  readonly onWait?: ((holder: string) => void) | undefined;
}

/** A lock that is held. */
export interface DatabaseLock {
  /**
   * Looks whether the lock is still held: before every commit.
   *
   * @throws HoldfastError LOCK_LOST
   */
  verify(): Promise<void>;
  /**
   * Resolves with LOCK_LOST when the connection breaks or answers no more while the lock is held;
   * never rejects.
   */
  readonly lost: Promise<HoldfastError>;
  /** Gives the lock back. A connection that is gone has given it back already. */
  release(): Promise<void>;
}

/** Who holds a lock now, as the server tells it. */
export interface CurrentHolder {
  readonly serverPid: number;
  readonly role: string | null;
  readonly applicationName: string;
  /** `null` through a Unix socket, and where the role may not see it. */
  readonly clientAddress: string | null;
  readonly parsed: LockHolder | null;
}

const pollMs = 1_000;
/** How often the lock is looked at while it is held: a dead network says nothing by itself. */
const heartbeatMs = 20_000;
/** A server that is merely busy must not cost a backup of hours. */
const heartbeatTimeoutMs = 30_000;
const verifyTimeoutMs = 15_000;
const releaseTimeoutMs = 5_000;

const lost = (what: string, why: string, cause?: unknown): HoldfastError =>
  new HoldfastError('LOCK_LOST', `the lock on ${what} was lost: ${why}`, {
    hint: 'Nothing of this run was kept; look into the log of the server, and start it again.',
    cause,
  });

/** Who holds the lock, or `null`. */
export async function findLockHolder(client: Client, key: LockKey): Promise<CurrentHolder | null> {
  const [row] = await queryRows<Omit<CurrentHolder, 'parsed'>>(
    client,
    `SELECT l.pid AS "serverPid", a.usename::text AS role,
            coalesce(a.application_name, '') AS "applicationName",
            host(a.client_addr) AS "clientAddress"
       FROM pg_locks AS l LEFT JOIN pg_stat_activity AS a ON a.pid = l.pid
      WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
        AND l.classid = $1::bigint::oid AND l.objid = $2::bigint::oid
        AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    [key.classId, unsigned(key.objectId)],
  );
  return row === undefined ? null : { ...row, parsed: parseLockHolder(row.applicationName) };
}

/**
 * Which databases are being restored or rolled back now, whichever maintenance database the lock is
 * held in. Two names whose hashes meet are taken for each other.
 *
 * @returns whether a database of that name is
 */
export async function readRestoreLocks(client: Queryable): Promise<(database: string) => boolean> {
  const rows = await queryRows<{ key: number }>(
    client,
    `SELECT objid AS key FROM pg_catalog.pg_locks
      WHERE locktype = 'advisory' AND granted AND objsubid = 2 AND classid = $1::bigint::oid`,
    [restoreClass],
  );
  const held = new Set(rows.map(({ key }) => key));
  return (database) => held.has(unsigned(restoreLockKey(database).objectId));
}

/** pg_locks shows an int4 key as an OID. */
function unsigned(value: number): number {
  return value >>> 0;
}

/** `a full backup … on db1 (process 4711, from 10.0.0.5), since 2026-11-21T02:00:00Z`. */
function describeHolder(holder: CurrentHolder): string {
  const { parsed, clientAddress, serverPid, role } = holder;
  const from = clientAddress === null ? '' : `, from ${clientAddress}`;
  if (parsed === null) {
    const name = JSON.stringify(holder.applicationName);
    return `${name} of role ${JSON.stringify(role)} (server process ${serverPid}${from})`;
  }
  const since = `${parsed.startedAt.toISOString().slice(0, 19)}Z`;
  return `${parsed.operation} on ${parsed.host} (process ${parsed.pid}${from}), since ${since}`;
}

function lockedError(key: LockKey, holder: CurrentHolder | null, waitMs: number): HoldfastError {
  const who = holder === null ? 'another run, which has just ended' : describeHolder(holder);
  const waited = waitMs > 0 ? ` (waited ${Math.round(waitMs / 1000)} s)` : '';
  return new HoldfastError('LOCKED', `${key.what} is locked by ${who}${waited}`, {
    hint:
      key.classId === backupClass
        ? 'Wait until it has ended, or pass --wait SECONDS.'
        : 'Wait until it has ended, then start the command again.',
    details: {
      operation: holder?.parsed?.operation,
      host: holder?.parsed?.host,
      pid: holder?.parsed?.pid,
      since: holder?.parsed?.startedAt.toISOString(),
      client_address: holder?.clientAddress ?? undefined,
      server_pid: holder?.serverPid,
    },
  });
}

async function openTransaction(client: Client, holder: string): Promise<void> {
  await pinSearchPath(client);
  const versionNum = await serverVersionNum(client);
  await execute(client, 'BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY');
  await disableTimeouts(client, versionNum);
  // The server's end of the connection: a host that died is found out after a minute.
  await queryRows(
    client,
    `SELECT set_config('application_name', $1, true), set_config('tcp_keepalives_idle', '30', true),
            set_config('tcp_keepalives_interval', '10', true),
            set_config('tcp_keepalives_count', '3', true)`,
    [holder],
  );
}

/**
 * Asks again each second. A statement that waits for the lock in the server would keep its snapshot
 * meanwhile, and vacuum could remove nothing.
 */
async function pollLock(options: AcquireLockOptions): Promise<void> {
  const { client, key, waitMs, signal } = options;
  const deadlineMs = performance.now() + waitMs;
  for (let told = false; ; told = true) {
    signal?.throwIfAborted();
    const { taken } = await queryOne<{ taken: boolean }>(
      client,
      'SELECT pg_try_advisory_xact_lock($1::int, $2::int) AS taken',
      [key.classId, key.objectId],
    );
    if (taken) return;
    const holder = await findLockHolder(client, key);
    const leftMs = deadlineMs - performance.now();
    if (leftMs <= 0) throw lockedError(key, holder, waitMs);
    if (!told && holder !== null) options.onWait?.(describeHolder(holder));
    await sleep(Math.min(pollMs, leftMs), undefined, { signal });
  }
}

/**
 * Takes the lock.
 *
 * @throws HoldfastError LOCKED who holds it and since when; INTERRUPTED; what the server says
 */
export async function acquireDatabaseLock(options: AcquireLockOptions): Promise<DatabaseLock> {
  const { client, key, holder } = options;
  let released = false;
  const { promise, resolve } = Promise.withResolvers<HoldfastError>();
  const onError = (error: Error) => {
    if (!released) resolve(lost(key.what, error.message, error));
  };
  const onEnd = () => onError(new Error('the connection ended'));
  client.on('error', onError);
  client.on('end', onEnd);
  try {
    await openTransaction(client, holder);
    await pollLock(options);
  } catch (error) {
    released = true;
    await client.query('ROLLBACK').catch(() => undefined);
    client.off('end', onEnd);
    throw describeServerError(error, { doing: `locking ${key.what}` });
  }
  async function look(timeoutMs: number): Promise<void> {
    let held: boolean;
    try {
      const question = queryOne<{ held: boolean }>(
        client,
        `SELECT EXISTS (SELECT FROM pg_locks
           WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() AND objsubid = 2
             AND classid = $1::bigint::oid AND objid = $2::bigint::oid) AS held`,
        [key.classId, unsigned(key.objectId)],
      );
      held = (await withTimeout(question, timeoutMs)).held;
    } catch (error) {
      throw lost(key.what, error instanceof Error ? error.message : String(error), error);
    }
    if (!held) throw lost(key.what, 'its transaction has ended');
  }

  const heartbeat = setInterval(() => {
    look(heartbeatTimeoutMs).catch((error: HoldfastError) => {
      if (!released) resolve(error);
    });
  }, heartbeatMs);
  heartbeat.unref();
  return {
    lost: promise,
    verify: () => look(verifyTimeoutMs),
    async release() {
      released = true;
      clearInterval(heartbeat);
      // The listener for errors stays: a connection that breaks later must not end the process.
      client.off('end', onEnd);
      await withTimeout(client.query('ROLLBACK'), releaseTimeoutMs).catch(() => undefined);
    },
  };
}
