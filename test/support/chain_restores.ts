/** Restores of a chain scene: as the server's user, looked into, and taken away again. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DataChild, startChild } from '../../src/process/stream.ts';
import { asServerUser } from './base_backup.ts';
import { testEnvironment } from './cluster.ts';
import type { Outcome } from './command.ts';
import type { WalScene } from './wal_scene.ts';
import { jsonOf } from './workbench.ts';

const scripts = join(import.meta.dirname, '../../scripts');
const script = join(scripts, 'restore_pitr.ts');
const port = 5443;

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

export interface ChainRestores {
  /** Runs a command on the repository as the server's user. */
  run(name: 'list_backups' | 'verify_backups', argv: readonly string[]): Promise<Outcome>;
  /** A new path for a data directory. */
  newFolder(): string;
  restore(pgdata: string, ...flags: string[]): Promise<Outcome>;
  /** With more in the environment of the command. */
  restoreWith(more: Readonly<Record<string, string>>, pgdata: string): Promise<Outcome>;
  /** Starts a restore, to be killed. */
  spawnRestore(pgdata: string): DataChild;
  /** Restores, starts, looks, and takes it away again. */
  recover(...flags: string[]): Promise<Found>;
  /** Looks into a cluster. */
  look(query: (sql: string) => Promise<string>): Promise<Pick<Found, 'marker' | 'tablespaces'>>;
}

/** What both tables hold; a marker has kept it. */
export const sums =
  '(SELECT sum(hashtext(text)) FROM kept) AS kept, ' +
  '(SELECT sum(hashtext(text)) FROM elsewhere) AS elsewhere';

/** Where the tablespace of a restored cluster goes: the flag ends a name at the last `=`. */
export const spaceOf = (pgdata: string) => `${pgdata.replaceAll('=', '-')} space`;

const look: ChainRestores['look'] = async (query) => {
  const ids = (await query('SELECT id FROM marker ORDER BY id')).split('\n').map(Number);
  const holes = ids.filter((id, at) => id !== at + 1);
  if (holes.length > 0) throw new Error(`markers are missing before ${holes[0]}`);
  const now = await query(`SELECT ${sums}`);
  const then = await query('SELECT kept, elsewhere FROM marker ORDER BY id DESC LIMIT 1');
  if (now !== then) throw new Error(`the tables hold ${now}, and held ${then}`);
  const places = 'SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 16383';
  return { marker: ids.length, tablespaces: (await query(places)).split('\n') };
};

/** Looks into the server that restore_pitr.ts has started, and takes it away. */
async function lookAndRemove({ cluster }: WalScene, pgdata: string) {
  try {
    return await look(async (sql) => {
      const args = ['-XqAt', '-h', pgdata, '-p', String(port), '-U', 'postgres', '-c', sql];
      const psql = join(cluster.binDirectory, 'psql');
      const answer = await asServerUser(cluster, psql, [...args, 'postgres']);
      if (answer.status !== 0) throw new Error(answer.stderr);
      return answer.stdout.trim();
    });
  } finally {
    const pgCtl = join(cluster.binDirectory, 'pg_ctl');
    await asServerUser(cluster, pgCtl, ['-D', pgdata, '-m', 'immediate', 'stop']);
    await rm(pgdata, { recursive: true, force: true });
    await rm(spaceOf(pgdata), { recursive: true, force: true });
  }
}

/** @param folder where the restores go: the server's user owns it */
export function chainRestores(wal: WalScene, folder: string, tablespace: string): ChainRestores {
  const { cluster, bench } = wal;
  const repository = ['--backup-dir', bench.repository];
  let folders = 0;
  const newFolder = () => {
    folders += 1;
    return join(folder, `pgdata ${folders} 'x' = é`);
  };
  const argumentsFor = (pgdata: string, flags: readonly string[] = []) => {
    const mapping = `--tablespace-mapping=${tablespace}=${spaceOf(pgdata)}`;
    return ['--pgdata', pgdata, mapping, ...flags, ...repository, '--json'];
  };
  const restore = (pgdata: string, ...flags: string[]) =>
    asServerUser(cluster, script, argumentsFor(pgdata, flags));

  return {
    run: (name, argv) =>
      asServerUser(cluster, join(scripts, `${name}.ts`), [...argv, ...repository]),
    newFolder,
    restore,
    restoreWith: (more, pgdata) => {
      const words = Object.entries(more).map(([name, value]) => `${name}=${value}`);
      return asServerUser(cluster, 'env', [...words, script, ...argumentsFor(pgdata)]);
    },
    spawnRestore(pgdata) {
      const { osUser } = cluster;
      const child = startChild(script, argumentsFor(pgdata), {
        environment: testEnvironment,
        cwd: '/',
        ...(osUser === null ? {} : { user: osUser }),
      });
      child.stdin.end();
      child.stdout.resume();
      return child;
    },
    async recover(...flags) {
      const pgdata = newFolder();
      const outcome = await restore(pgdata, ...flags, '--start', '--port', String(port));
      if (outcome.status !== 0) throw new Error(`status ${outcome.status}: ${outcome.stderr}`);
      const { plan } = jsonOf<{ plan: ChainPlan }>(outcome);
      return { ...(await lookAndRemove(wal, pgdata)), plan, stderr: outcome.stderr };
    },
    look,
  };
}
