/**
 * A server whose base backups build upon each other where it can (PostgreSQL 17+), and are whole
 * ones elsewhere: with tablespaces, archived WAL, and work between any two backups.
 */

import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { quoteIdentifier } from '../../src/core/quote.ts';
import { startChild } from '../../src/process/stream.ts';
import {
  asServerUser,
  makeServerFolder,
  runTakeBase,
  spawnTakeBase,
  type TakenBase,
} from './base_backup.ts';
import { testEnvironment } from './cluster.ts';
import { type Outcome, outcomeOf } from './command.ts';
import { openWalScene, type WalScene } from './wal_scene.ts';
import { jsonOf } from './workbench.ts';

const scripts = join(import.meta.dirname, '../../scripts');
const script = join(scripts, 'restore_pitr.ts');
const port = 5443;

/** The first version with incremental base backups. */
const incrementalMajor = 17;

/** What restore_pitr.ts tells of its plan. */
export interface ChainPlan {
  readonly label: string;
  readonly chain: readonly string[];
  readonly needed_bytes: number;
  readonly passed_over: readonly { readonly label: string; readonly why: string }[];
}

/** What is found in a cluster that was restored. */
export interface Found {
  readonly plan: ChainPlan;
  readonly stderr: string;
  /** The last marker; none is missing before it. */
  readonly marker: number;
  readonly tablespaces: readonly string[];
}

export interface ChainScene {
  readonly wal: WalScene;
  /** Whether the server can do it; where not, every backup is a whole one that says why. */
  readonly isIncremental: boolean;
  /** For what the server's user writes. */
  readonly folder: string;
  readonly tablespace: string;
  /** For commands that run as the server's user. */
  readonly environment: Readonly<Record<string, string>>;
  /** Some work, and a marker that knows what the tables hold. @returns its transaction */
  work(): Promise<string>;
  /** Works until it is ended; the rest goes on meanwhile. */
  workOn(): { stop(): Promise<void> };
  /** How many markers there are. */
  markers(): number;
  /** Takes a base backup; nothing about the outcome is expected. */
  attempt(mode: 'full' | 'incremental', more?: Record<string, string>): Promise<Outcome>;
  /** Takes one, which must succeed. */
  take(mode: 'full' | 'incremental', more?: Record<string, string>): Promise<TakenBase>;
  /** Runs a command on the repository as the server's user. */
  run(name: 'list_backups' | 'verify_backups', argv: readonly string[]): Promise<Outcome>;
  /** A new path for a data directory. */
  newFolder(): string;
  /** The arguments of restore_pitr.ts for it. */
  restoreArguments(pgdata: string, flags: readonly string[]): string[];
  restore(pgdata: string, ...flags: string[]): Promise<Outcome>;
  /** With more in the environment of the command. */
  restoreWith(more: Readonly<Record<string, string>>, pgdata: string): Promise<Outcome>;
  /** Restores, starts, looks, and takes it away again. */
  recover(...flags: string[]): Promise<Found>;
  /** Asks a cluster that runs on a port of its own socket folder. */
  look(query: (sql: string) => Promise<string>): Promise<Pick<Found, 'marker' | 'tablespaces'>>;
  close(): Promise<void>;
}

/** The tables, of which half lies in the tablespace; a marker holds the sums of both. */
const tables = (tablespace: string) => [
  `CREATE TABLE kept AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) AS i`,
  `CREATE TABLE elsewhere TABLESPACE ${tablespace} AS SELECT * FROM kept`,
  `CREATE TABLE marker (id int PRIMARY KEY, kept bigint, elsewhere bigint)`,
];
const sums =
  '(SELECT sum(hashtext(text)) FROM kept) AS kept, ' +
  '(SELECT sum(hashtext(text)) FROM elsewhere) AS elsewhere';

/** Where the tablespace of a restored cluster goes: the flag ends a name at the last `=`. */
export const spaceOf = (pgdata: string) => `${pgdata.replaceAll('=', '-')} space`;

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
  let [folders, count] = [0, 0];

  /** The repository belongs to the server's user, as on a real machine. */
  async function handOver(): Promise<void> {
    const { osUser } = cluster;
    if (osUser === null) return;
    const owner = `${osUser.uid}:${osUser.gid}`;
    await promisify(execFile)('chown', ['-R', owner, bench.repository]);
  }

  async function work(): Promise<string> {
    const id = count + 1;
    const change = (table: string) =>
      `UPDATE ${table} SET text = md5(text || '${id}') WHERE i % 50 = ${id % 50}`;
    const client = await cluster.connect();
    try {
      await client.query(`BEGIN; ${change('kept')}; ${change('elsewhere')}`);
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

  async function attempt(mode: 'full' | 'incremental', more = {}): Promise<Outcome> {
    const all = { ...environment, ...more };
    // Where root runs this, a program of its own becomes the owner of the repository.
    const outcome =
      cluster.osUser === null
        ? await runTakeBase(all, mode)
        : await outcomeOf(spawnTakeBase(all, mode));
    await handOver();
    return outcome;
  }

  async function look(query: (sql: string) => Promise<string>) {
    const ids = (await query('SELECT id FROM marker ORDER BY id')).split('\n').map(Number);
    const holes = ids.filter((id, at) => id !== at + 1);
    if (holes.length > 0) throw new Error(`markers are missing before ${holes[0]}`);
    const now = await query(`SELECT ${sums}`);
    const then = await query('SELECT kept, elsewhere FROM marker ORDER BY id DESC LIMIT 1');
    if (now !== then) throw new Error(`the tables hold ${now}, and held ${then}`);
    const places = await query(
      'SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 16383',
    );
    return { marker: ids.length, tablespaces: places.split('\n') };
  }

  const newFolder = () => {
    folders += 1;
    return join(folder, `pgdata ${folders} 'x' = é`);
  };
  const restoreArguments = (pgdata: string, flags: readonly string[]) => {
    const mapping = `--tablespace-mapping=${tablespace}=${spaceOf(pgdata)}`;
    return ['--pgdata', pgdata, mapping, ...flags, '--backup-dir', bench.repository, '--json'];
  };
  const restore = (pgdata: string, ...flags: string[]) =>
    asServerUser(cluster, script, restoreArguments(pgdata, flags));

  return {
    wal,
    isIncremental,
    folder,
    tablespace,
    environment,
    work,
    workOn() {
      let isOver = false;
      const loop = (async () => {
        while (!isOver) await work();
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
    attempt,
    async take(mode, more) {
      const outcome = await attempt(mode, more);
      if (outcome.status !== 0) throw new Error(`the backup failed:\n${outcome.stderr}`);
      return jsonOf<TakenBase>(outcome);
    },
    run: (name, argv) =>
      asServerUser(cluster, join(scripts, `${name}.ts`), [
        ...argv,
        '--backup-dir',
        bench.repository,
      ]),
    newFolder,
    restoreArguments,
    restore,
    restoreWith: (more, pgdata) => {
      const words = Object.entries(more).map(([name, value]) => `${name}=${value}`);
      return asServerUser(cluster, 'env', [...words, script, ...restoreArguments(pgdata, [])]);
    },
    async recover(...flags) {
      const pgdata = newFolder();
      const outcome = await restore(pgdata, ...flags, '--start', '--port', String(port));
      if (outcome.status !== 0) throw new Error(`status ${outcome.status}: ${outcome.stderr}`);
      try {
        const found = await look(async (sql) => {
          const args = ['-XqAt', '-h', pgdata, '-p', String(port), '-U', 'postgres', '-c', sql];
          const psql = join(cluster.binDirectory, 'psql');
          const answer = await asServerUser(cluster, psql, [...args, 'postgres']);
          if (answer.status !== 0) throw new Error(answer.stderr);
          return answer.stdout.trim();
        });
        const { plan } = jsonOf<{ plan: ChainPlan }>(outcome);
        return { ...found, plan, stderr: outcome.stderr };
      } finally {
        const pgCtl = join(cluster.binDirectory, 'pg_ctl');
        await asServerUser(cluster, pgCtl, ['-D', pgdata, '-m', 'immediate', 'stop']);
        await rm(pgdata, { recursive: true, force: true });
        await rm(spaceOf(pgdata), { recursive: true, force: true });
      }
    },
    look,
    async close() {
      await wal.close();
      for (const each of [folder, tablespaceFolder]) {
        await rm(each, { recursive: true, force: true });
      }
    },
  };
}

/** Starts restore_pitr.ts as the server's user, to be killed. */
export function spawnRestore({ wal, restoreArguments }: ChainScene, pgdata: string) {
  const { osUser } = wal.cluster;
  const child = startChild(script, restoreArguments(pgdata, []), {
    environment: testEnvironment,
    cwd: '/',
    ...(osUser === null ? {} : { user: osUser }),
  });
  child.stdin.end();
  child.stdout.resume();
  return child;
}
