/** Databases beside a database, as restores leave them, and commands that work on them. */

import { expect } from 'vitest';
import { startTestCluster, type TestCluster } from './cluster.ts';
import type { Outcome, RunOptions } from './command.ts';
import { jsonOf, openWorkbench, quoted, type Workbench } from './workbench.ts';

/** Three nights, oldest first. */
export const nights = [19, 20, 21].map((day) => new Date(`2026-11-${day}T02:00:00Z`)) as [
  Date,
  Date,
  Date,
];

export interface LeftoverBench {
  readonly cluster: TestCluster;
  readonly bench: Workbench;
  /** The databases of users, in the order of their bytes. */
  databases(): Promise<string[]>;
  /** Makes a database that can be told from every other one by its state. */
  make(name: string, state: string): Promise<void>;
  stateOf(database: string): Promise<string>;
  restore(argv: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** A run that must succeed, without a question. @returns its JSON document */
  restored(...argv: string[]): Promise<Record<string, unknown>>;
  /** Nothing is renamed or dropped while this is done, and it ends so. */
  expectUnchanged(work: () => Promise<Outcome>, status: number, words: RegExp): Promise<Outcome>;
  /** Back to one database, `shop`, whose state is `live`. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

/** A server with a database `shop`, of which there is a backup with the state `backed up`. */
export async function openLeftoverBench(): Promise<LeftoverBench> {
  const cluster = await startTestCluster({
    settings: { max_prepared_transactions: '5', wal_level: 'logical' },
  });
  const bench = await openWorkbench(cluster);

  async function databases(): Promise<string[]> {
    const rows = await cluster.sql(
      `SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'
        ORDER BY datname COLLATE "C"`,
    );
    return rows.map(({ datname }) => String(datname));
  }

  async function make(name: string, state: string): Promise<void> {
    await cluster.sql(`CREATE DATABASE ${quoted(name)}`);
    await cluster.sql(`CREATE TABLE which AS SELECT '${state}' AS state`, name);
  }

  const restore: LeftoverBench['restore'] = (argv, options) =>
    bench.run('restore_backup', argv, options);

  await make('shop', 'backed up');
  await bench.backUp('shop');
  return {
    cluster,
    bench,
    databases,
    make,
    restore,
    async stateOf(database) {
      const rows = await cluster.sql('SELECT state FROM which', database);
      return rows.map(({ state }) => state).join();
    },
    async restored(...argv) {
      const outcome = await restore([...argv, '--force', '--json']);
      expect(outcome.status, outcome.stderr).toBe(0);
      return jsonOf(outcome);
    },
    async expectUnchanged(work, status, words) {
      const look = () => cluster.sql('SELECT oid, datname FROM pg_database ORDER BY oid');
      const before = await look();
      const outcome = await work();
      expect(outcome.stderr).toMatch(words);
      expect(outcome.status).toBe(status);
      expect(await look()).toEqual(before);
      return outcome;
    },
    async reset() {
      for (const name of await databases()) {
        await cluster.sql(`DROP DATABASE ${quoted(name)} (FORCE)`);
      }
      await make('shop', 'live');
    },
    async close() {
      await cluster.stop({ immediate: true });
      await bench.remove();
    },
  };
}
