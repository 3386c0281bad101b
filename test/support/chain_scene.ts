/**
 * A server whose base backups build upon each other where it can (PostgreSQL 17+), and are whole
 * ones elsewhere: with tablespaces, archived WAL, and work between any two backups.
 */

import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { quoteIdentifier } from '../../src/core/quote.ts';
import { makeServerFolder, runTakeBase, spawnTakeBase, type TakenBase } from './base_backup.ts';
import { type ChainRestores, chainRestores, sums } from './chain_restores.ts';
import type { TestCluster } from './cluster.ts';
import { outcomeOf } from './command.ts';
import { openWalScene, type WalScene } from './wal_scene.ts';
import { jsonOf } from './workbench.ts';

/** The first version with incremental base backups. */
const incrementalMajor = 17;
/** Between two transactions: enough of them, and not all of the processor. */
const pauseMs = 20;

export interface ChainScene extends ChainRestores {
  readonly wal: WalScene;
  /** Whether the server can do it; where not, every backup is a whole one that says why. */
  readonly isIncremental: boolean;
  /** For what the server's user writes. */
  readonly folder: string;
  /** Some work, and a marker that knows what the tables hold. @returns its transaction */
  work(): Promise<string>;
  /** Works until it is ended; the rest goes on meanwhile. */
  workOn(): { stop(): Promise<void> };
  /** How many markers there are. */
  markers(): number;
  /** Takes a base backup, which must succeed. */
  take(mode: 'full' | 'incremental'): Promise<TakenBase>;
  close(): Promise<void>;
}

/** The tables, of which half lies in the tablespace; a marker holds the sums of both. */
const tables = (tablespace: string) => [
  `CREATE TABLE kept AS SELECT i, md5(i::text) AS text FROM generate_series(1, 6000) AS i`,
  `CREATE TABLE elsewhere TABLESPACE ${tablespace} AS SELECT * FROM kept`,
  `CREATE TABLE marker (id int PRIMARY KEY, kept bigint, elsewhere bigint)`,
];

/** Work in the tables, one transaction at a time. */
function workOf(cluster: TestCluster): Pick<ChainScene, 'work' | 'workOn' | 'markers'> {
  let count = 0;
  const change = (table: string, id: number) =>
    `UPDATE ${table} SET text = md5(text || '${id}') WHERE i % 50 = ${id % 50}`;

  async function work(): Promise<string> {
    const id = count + 1;
    const client = await cluster.connect();
    try {
      await client.query(`BEGIN; ${change('kept', id)}; ${change('elsewhere', id)}`);
      const { rows } = await client.query(
        `INSERT INTO marker SELECT ${id}, ${sums} RETURNING pg_current_xact_id()::text AS xid`,
      );
      await client.query('COMMIT');
      count = id;
      return rows[0].xid;
    } finally {
      await client.end();
    }
  }

  return {
    work,
    workOn() {
      let isOver = false;
      const loop = (async () => {
        while (!isOver) {
          await work();
          await sleep(pauseMs);
        }
      })();
      loop.catch(() => undefined);
      return {
        async stop() {
          isOver = true;
          await loop;
        },
      };
    },
    markers: () => count,
  };
}

/** Opens one. */
export async function openChainScene(): Promise<ChainScene> {
  const wal = await openWalScene();
  const { cluster, bench } = wal;
  const isIncremental = cluster.major >= incrementalMajor;
  if (isIncremental) {
    await cluster.sql(['ALTER SYSTEM SET summarize_wal = on', 'SELECT pg_reload_conf()']);
  }
  const folder = await makeServerFolder(cluster);
  const tablespaceFolder = await makeServerFolder(cluster);
  const tablespace = `it's "odd" = $(id) é`;
  await cluster.sql([
    `CREATE TABLESPACE ${quoteIdentifier(tablespace)} LOCATION '${tablespaceFolder}'`,
    ...tables(quoteIdentifier(tablespace)),
  ]);
  const environment = { ...bench.environment, CLUSTER: wal.name };

  /** The repository belongs to the server's user, as on a real machine. */
  async function handOver(): Promise<void> {
    const { osUser } = cluster;
    if (osUser === null) return;
    const owner = `${osUser.uid}:${osUser.gid}`;
    await promisify(execFile)('chown', ['-R', owner, bench.repository]);
  }

  return {
    wal,
    isIncremental,
    folder,
    ...workOf(cluster),
    ...chainRestores(wal, folder, tablespace),
    async take(mode) {
      // Where root runs this, a program of its own becomes the owner of the repository.
      const outcome =
        cluster.osUser === null
          ? await runTakeBase(environment, mode)
          : await outcomeOf(spawnTakeBase(environment, mode));
      await handOver();
      if (outcome.status !== 0) throw new Error(`the backup failed:\n${outcome.stderr}`);
      return jsonOf<TakenBase>(outcome);
    },
    async close() {
      await wal.close();
      for (const each of [folder, tablespaceFolder]) {
        await rm(each, { recursive: true, force: true });
      }
    },
  };
}
