import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/core/errors.ts';
import {
  type AcquireLockOptions,
  acquireDatabaseLock,
  backupLockKey,
  findLockHolder,
  restoreLockKey,
} from '../../src/postgres/advisory_lock.ts';
import { formatLockHolder } from '../../src/postgres/lock_holder.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';

let cluster: TestCluster;
const startedAt = new Date('2026-11-21T02:00:00Z');
const holder = formatLockHolder({ operation: 'full', startedAt, host: 'db1', pid: 4711 });
const key = backupLockKey('app');

beforeAll(async () => {
  cluster = await startTestCluster({
    settings: { idle_in_transaction_session_timeout: '300ms', statement_timeout: '20s' },
  });
  await cluster.sql([
    'CREATE DATABASE app',
    'CREATE DATABASE other',
    'CREATE ROLE guest LOGIN',
    'CREATE ROLE owner LOGIN',
  ]);
});
afterAll(async () => {
  await cluster.stop({ immediate: true });
});

async function acquire(more: Partial<AcquireLockOptions> = {}, database = 'app', role = 'owner') {
  const client = more.client ?? (await cluster.connect(database, role));
  return { client, lock: await acquireDatabaseLock({ key, holder, waitMs: 0, ...more, client }) };
}

async function failureOf(work: Promise<unknown>): Promise<HoldfastError> {
  const error = await work.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof HoldfastError)) throw new Error(`no HoldfastError: ${error}`);
  return error;
}

async function pidOf(client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
  return rows[0]?.pid ?? 0;
}

describe('the lock of a database', () => {
  it('tells the second run, also of another role without privileges, who holds it', async () => {
    const { lock } = await acquire();
    const error = await failureOf(acquire({}, 'app', 'guest'));
    expect(error.code).toBe('LOCKED');
    expect(error.status).toBe(6);
    expect(error.message).toBe(
      'database "app" is locked by full on db1 (process 4711), since 2026-11-21T02:00:00Z',
    );
    expect(error.details).toMatchObject({ host: 'db1', pid: 4711, operation: 'full' });
    await lock.release();
    const { lock: next } = await acquire({}, 'app', 'guest');
    await next.release();
  });

  it('belongs to one database: another one can be backed up meanwhile', async () => {
    const { lock } = await acquire();
    const { lock: other } = await acquire({}, 'other');
    await other.verify();
    await other.release();
    await lock.release();
  });

  it('outlives the time-outs of the server, and holds no snapshot', async () => {
    const { lock, client } = await acquire();
    const pid = await pidOf(client);
    await sleep(600);
    const [row] = await cluster.sql(
      `SELECT state, backend_xmin, backend_xid FROM pg_stat_activity WHERE pid = ${pid}`,
    );
    expect(row).toEqual({ state: 'idle in transaction', backend_xmin: null, backend_xid: null });
    await lock.verify();
    await lock.release();
  });

  it('is waited for, and taken when the first has ended', async () => {
    const { lock } = await acquire();
    const told: string[] = [];
    const waiting = acquire({ waitMs: 20_000, onWait: (who) => told.push(who) });
    await expect.poll(() => told.length).toBe(1);
    await lock.release();
    const { lock: second } = await waiting;
    expect(told[0]).toContain('db1');
    await second.release();
  });

  it('says how long it has waited in vain', async () => {
    const { lock } = await acquire();
    const error = await failureOf(acquire({ waitMs: 1_200 }));
    expect(error.code).toBe('LOCKED');
    expect(error.message).toContain('(waited 1 s)');
    await lock.release();
  });

  it('stops waiting when the run is interrupted', async () => {
    const { lock } = await acquire();
    const controller = new AbortController();
    const waiting = acquire({ waitMs: 60_000, signal: controller.signal });
    setTimeout(() => controller.abort(), 200);
    expect((await failureOf(waiting)).code).toBe('INTERRUPTED');
    await lock.release();
  });

  it('is found lost when the session was ended behind its back', async () => {
    const { lock, client } = await acquire();
    await cluster.sql(`SELECT pg_terminate_backend(${await pidOf(client)})`);
    expect((await lock.lost).code).toBe('LOCK_LOST');
    expect((await failureOf(lock.verify())).code).toBe('LOCK_LOST');
    await lock.release();
    const { lock: next } = await acquire();
    await next.release();
  });

  it('is found lost when its transaction has ended', async () => {
    const { lock, client } = await acquire();
    await client.query('ROLLBACK');
    const error = await failureOf(lock.verify());
    expect(error.code).toBe('LOCK_LOST');
    expect(error.message).toContain('its transaction has ended');
    await lock.release();
  });

  it('names a stranger who holds the same key', async () => {
    const stranger = await cluster.connect('app');
    await stranger.query("SET application_name = 'some tool'");
    await stranger.query('BEGIN');
    await stranger.query('SET LOCAL idle_in_transaction_session_timeout = 0');
    await stranger.query('SELECT pg_advisory_xact_lock($1::int, $2::int)', [
      key.classId,
      key.objectId,
    ]);
    const error = await failureOf(acquire());
    expect(error.message).toContain('"some tool" of role "postgres"');
    await stranger.end();
  });
});

describe('the lock of a restore', () => {
  it('is keyed by the name of the target, in the maintenance database', async () => {
    // The hash of this name is a negative int4, which pg_locks shows as a large OID.
    const names = Array.from({ length: 50 }, (_, index) => `app ${index}`);
    const negative = names.find((name) => restoreLockKey(name).objectId < 0) ?? '';
    const one = restoreLockKey(negative);
    const { lock } = await acquire({ key: one }, 'postgres');
    await lock.verify();
    const client = await cluster.connect('postgres', 'guest');
    expect((await findLockHolder(client, one))?.applicationName).toBe(holder);
    const error = await failureOf(acquire({ key: one, client }));
    expect(error.message).toContain(`a restore of database ${JSON.stringify(negative)} is locked`);
    const { lock: other } = await acquire({ key: restoreLockKey('another') }, 'postgres');
    await other.release();
    await lock.release();
  });
});
