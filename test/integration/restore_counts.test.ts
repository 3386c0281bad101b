/** What counting cannot see: rows that are hidden from a role, names that cannot be told. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

describe('row security that is forced on the owner', () => {
  it('hides rows from the role that restores: the table is told as not counted', async () => {
    await cluster.sql(['CREATE ROLE clerk LOGIN CREATEDB', 'CREATE DATABASE secret OWNER clerk']);
    await cluster.sql(
      [
        'SET ROLE clerk',
        'CREATE TABLE open AS SELECT n AS id FROM generate_series(1, 7) AS n',
        'CREATE TABLE hidden AS SELECT n AS id FROM generate_series(1, 9) AS n',
        'ALTER TABLE hidden ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY',
        'CREATE POLICY few ON hidden USING (id < 3)',
      ],
      'secret',
    );
    await bench.backUp('secret');
    const restore = (user: string) =>
      bench.run('restore_backup', ['--latest', 'secret', '--force', '--json'], {
        environment: { PGUSER: user },
      });
    const outcome = await restore('clerk');
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(jsonOf(outcome)).toMatchObject({
      tables: 1,
      rows: 7,
      warnings: ['"public"."hidden" was not counted: its row security hides rows from this role'],
    });
    expect(await cluster.sql('SELECT count(*)::int AS n FROM hidden', 'secret')).toEqual([
      { n: 9 },
    ]);
    expect(jsonOf(await restore('postgres'))).toMatchObject({ tables: 2, rows: 16, warnings: [] });
  });
});

describe('a database in SQL_ASCII', () => {
  /** A table whose name is in LATIN1: the server sends it to nobody who wants UTF-8. */
  const oddName = "pg_catalog.convert_from('\\x63616665e9', 'SQL_ASCII')";

  it('is restored though it has names that are no UTF-8', async () => {
    await cluster.sql(
      "CREATE DATABASE raw ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    );
    await cluster.sql(
      [
        'CREATE TABLE plain AS SELECT n AS id FROM generate_series(1, 7) AS n',
        `DO $$ BEGIN
           EXECUTE pg_catalog.format('CREATE TABLE %I AS SELECT 1 AS a', ${oddName});
         END $$`,
      ],
      'raw',
    );
    await bench.backUp('raw');
    const outcome = await bench.run('restore_backup', ['--latest', 'raw', '--force', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(jsonOf(outcome)).toMatchObject({
      tables: 1,
      rows: 7,
      warnings: ['1 table not counted: the name is not ASCII'],
    });
    const analyzed = await cluster.sql(
      `SELECT count(*)::int AS n FROM pg_class
        WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND reltuples > 0`,
      'raw',
    );
    expect(analyzed).toEqual([{ n: 2 }]);
    const all = ['--latest', 'raw', '--force', '--compare', 'content', '--json'];
    const content = await bench.run('restore_backup', all);
    expect(content.status, content.stderr).toBe(0);
    expect(jsonOf(content)).toMatchObject({ tables: 2, rows: 8, warnings: [] });
  });
});
