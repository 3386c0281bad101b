/** A server with a live database, another one whose SQL is restored, and what must hold afterwards. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { startTestCluster, type TestCluster } from './cluster.ts';
import type { Outcome, RunOptions } from './command.ts';
import { openWorkbench, programOutput, quoted, type Workbench } from './workbench.ts';

/** A name that nothing may cut or execute. */
export const oddName = 'odd "name" $(id) ünï';

const content = [
  "CREATE TABLE state AS SELECT 'dumped' AS state",
  'CREATE TABLE "Odd ""table""" (id int PRIMARY KEY, "te;xt" text)',
  String.raw`INSERT INTO "Odd ""table""" VALUES (1, E'\\! touch pwned\n\\.\n\\connect postgres'), ` +
    String.raw`(2, 'C:\'), (3, NULL), (4, '; DROP DATABASE shop; --')`,
  'CREATE FUNCTION add(a int, b int) RETURNS int LANGUAGE sql ' +
    'BEGIN ATOMIC SELECT CASE WHEN a > 0 THEN a ELSE 0 END + b; END',
  'CREATE FUNCTION text() RETURNS text LANGUAGE plpgsql AS ' +
    String.raw`$_$BEGIN RETURN '\!' || $$ ; \connect x $$; END$_$`,
  "COMMENT ON TABLE state IS E'a \\\\ backslash; and -- dashes'",
];

/** The databases `source` and {@link oddName} hold the same; `shop` is the live one. */
export interface SqlScene {
  readonly cluster: TestCluster;
  readonly bench: Workbench;
  /** What pg_dump writes of `source`. */
  readonly plain: Buffer;
  dump(args: readonly string[]): Promise<Buffer>;
  /** The databases but for `postgres` and those that are dumped. */
  databases(): Promise<string[]>;
  stateOf(database: string): Promise<string>;
  /** Writes a file. @returns its path */
  write(name: string, bytes: Buffer | string): Promise<string>;
  restore(argv: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Drops what was restored and makes the live database anew. */
  reset(): Promise<void>;
  expectRestored(outcome: Outcome, database?: string): Promise<void>;
  /** The restore has ended so, with the live database as it was and nothing beside it. */
  expectUntouched(outcome: Outcome, status: number, words: RegExp): Promise<void>;
  close(): Promise<void>;
}

async function fill(cluster: TestCluster): Promise<void> {
  await cluster.sql('CREATE ROLE keeper');
  for (const name of ['source', oddName]) {
    await cluster.sql(`CREATE DATABASE ${quoted(name)} TEMPLATE template0 LC_COLLATE 'C'`);
    await cluster.sql(content, name);
    await cluster.sql(`ALTER DATABASE ${quoted(name)} SET work_mem = '5MB'`);
  }
  await cluster.sql('ALTER TABLE state OWNER TO keeper', 'source');
}

/** Opens a scene on a fresh cluster. */
export async function openSqlScene(): Promise<SqlScene> {
  const cluster = await startTestCluster();
  const bench = await openWorkbench(cluster);
  await fill(cluster);
  const dump = (args: readonly string[]) => programOutput(cluster, 'pg_dump', args);

  async function databases(): Promise<string[]> {
    const sql = 'SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname';
    const found = (await cluster.sql(sql)).map(({ datname }) => String(datname));
    return found.filter((name) => !['postgres', 'source', oddName].includes(name));
  }

  const stateOf = async (database: string) =>
    (await cluster.sql('SELECT state FROM state', database)).map(({ state }) => state).join();

  return {
    cluster,
    bench,
    plain: await dump(['source']),
    dump,
    databases,
    stateOf,
    async write(name, bytes) {
      const path = join(bench.folder, name);
      await writeFile(path, bytes);
      return path;
    },
    restore: (argv, options) => bench.run('restore_backup', [...argv, '--force'], options),
    async reset() {
      for (const name of await databases()) {
        await cluster.sql(`DROP DATABASE ${quoted(name)} (FORCE)`);
      }
      await cluster.sql('CREATE DATABASE shop');
      await cluster.sql("CREATE TABLE state AS SELECT 'live' AS state", 'shop');
    },
    async expectRestored(outcome, database = 'shop') {
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(await stateOf(database)).toBe('dumped');
      const [row] = await cluster.sql(
        'SELECT (SELECT count(*) FROM "Odd ""table""")::int AS rows, add(2, 3), text()',
        database,
      );
      expect(row).toEqual({ rows: 4, add: 5, text: String.raw`\! ; \connect x ` });
    },
    async expectUntouched(outcome, status, words) {
      expect(outcome.stderr).toMatch(words);
      expect(outcome.status, outcome.stderr).toBe(status);
      expect(await databases()).toEqual(['shop']);
      expect(await stateOf('shop')).toBe('live');
    },
    async close() {
      await cluster.stop({ immediate: true });
      await bench.remove();
    },
  };
}
