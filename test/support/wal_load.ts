/**
 * A server under load whose every transaction tells who it is: pgbench, a marker every 100 ms with
 * its LSN, time and transaction, restore points, transactions that fail or are prepared.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { startChild } from '../../src/process/stream.ts';
import { type TestCluster, testEnvironment } from './cluster.ts';

/** Settings of a server that takes this load: small, with many checkpoints. */
export const loadSettings = {
  archive_mode: 'on',
  wal_level: 'replica',
  max_prepared_transactions: '4',
  max_connections: '30',
  shared_buffers: '8MB',
  full_page_writes: 'on',
  min_wal_size: '5MB',
  max_wal_size: '20MB',
  checkpoint_timeout: '30s',
} as const;

const script = [
  '\\set account random(1, 100)',
  '\\set amount random(1, 90)',
  'BEGIN;',
  'UPDATE account SET balance = balance + :amount WHERE id = :account;',
  "INSERT INTO load SELECT pg_current_xact_id(), :amount, repeat('x', :amount * 20);",
  'COMMIT;',
].join('\n');

/** A marker as its own session saw it. */
export interface Marker {
  readonly xid: number;
  /** Of the server's clock and WAL just before its commit. */
  readonly at: string;
  readonly lsn: string;
}

export interface WalLoad {
  /** Those whose commit was acknowledged. */
  readonly markers: readonly Marker[];
  /** Names of restore points, in their order. */
  readonly points: readonly string[];
  /** Subtransactions: they have ended, and no recovery can stop at them. */
  readonly subtransactions: readonly number[];
  /** Waits until so many markers have come since. */
  more(markers: number): Promise<void>;
  /** Ends it, also where the server is gone. */
  stop(): Promise<void>;
}

/** All transactions that have left a row. */
export const allXids =
  'SELECT xid::text FROM load UNION ALL SELECT xid::text FROM marker ORDER BY 1';

/** What no transaction that is there by half would leave true. */
export const wholeSql =
  'SELECT (SELECT sum(balance) FROM account) = ' +
  '(SELECT coalesce(sum(amount), 0) FROM load) AS whole';

const insertMarker =
  'INSERT INTO marker ' +
  'VALUES (pg_current_xact_id(), clock_timestamp(), pg_current_wal_insert_lsn()) ' +
  'RETURNING xid::text, at::text, lsn::text';

async function mark(client: pg.Client): Promise<Marker> {
  const { rows } = await client.query(insertMarker);
  const { xid, at, lsn } = rows[0];
  return { xid: Number(xid), at, lsn };
}

/** What every so many markers comes between: nothing of it leaves a row but the prepared one. */
async function oddities(client: pg.Client, number: number): Promise<number | null> {
  if (number % 7 === 3) {
    await client.query('BEGIN');
    await mark(client);
    await client.query('ROLLBACK');
  }
  if (number % 9 === 4) {
    await client.query('BEGIN');
    await mark(client);
    await client.query(`PREPARE TRANSACTION 'prepared ${number}'`);
  }
  if (number % 9 === 7 && number > 9) {
    await client.query(`COMMIT PREPARED 'prepared ${number - 3}'`);
  }
  if (number % 8 !== 5) return null;
  await client.query('BEGIN; SAVEPOINT inner_one; CREATE TEMP TABLE of_inner ()');
  const { rows } = await client.query(
    "SELECT xmin::text AS xid FROM pg_class WHERE relname = 'of_inner'",
  );
  await client.query('RELEASE SAVEPOINT inner_one; DROP TABLE of_inner; COMMIT');
  return Number(rows[0].xid);
}

/** Starts it. @param folder for pgbench's script */
export async function startLoad(cluster: TestCluster, folder: string): Promise<WalLoad> {
  await cluster.sql([
    'CREATE TABLE account AS SELECT id, 0 AS balance FROM generate_series(1, 100) AS id',
    'CREATE UNIQUE INDEX ON account (id)',
    'CREATE TABLE load (xid xid8, amount int, pad text)',
    'CREATE TABLE marker (xid xid8, at timestamptz, lsn pg_lsn)',
  ]);
  const file = join(folder, 'load.sql');
  await writeFile(file, script, { mode: 0o644 });
  const { osUser: user } = cluster;
  const flags = ['--no-vacuum', '--client=3', '--rate=250', '--time=600', `--file=${file}`];
  const bench = startChild(join(cluster.binDirectory, 'pgbench'), flags, {
    environment: { ...testEnvironment, ...cluster.environment('postgres') },
    cwd: '/',
    ...(user === null ? {} : { user }),
  });
  bench.stdin.end();
  bench.stdout.resume();
  const [markers, points, subtransactions]: [Marker[], string[], number[]] = [[], [], []];
  let isOver = false;
  const client = await cluster.connect();

  const loop = (async () => {
    for (let number = 1; !isOver; number += 1) {
      // Acknowledged here is a commit of its own.
      markers.push(await mark(client));
      if (number % 4 === 0) {
        const name = `point ${number} 'é`;
        await client.query('SELECT pg_create_restore_point($1)', [name]);
        points.push(name);
      }
      const inner = await oddities(client, number);
      if (inner !== null) subtransactions.push(inner);
      await sleep(100);
    }
  })();
  // Where it fails while it is wanted, more() tells; after that a server may be killed.
  loop.catch(() => undefined);

  return {
    markers,
    points,
    subtransactions,
    async more(count) {
      const wanted = markers.length + count;
      while (markers.length < wanted) await Promise.race([sleep(50), loop.then(neverHere)]);
    },
    async stop() {
      isOver = true;
      await bench.end();
      await bench.exited;
      await loop.catch(() => undefined);
    },
  };
}

function neverHere(): never {
  throw new Error('the load has ended by itself');
}
