/** What a role lacks for a backup or a restore, and that what the doctor says to type mends it. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { shownIdentifier } from '../../src/core/quote.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { examine, mend, of } from '../support/doctor.ts';
import { openWorkbench, quoted, type Workbench } from '../support/workbench.ts';

/** A name with everything that hurts: quotes, a backslash, a line break, an escape, a command. */
const oddRole = 'odd "role"\\\n$(touch x) \u001b[31m';
const oddTable = 'odd \'table"\n\u009b\\';

let cluster: TestCluster;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  await cluster.sql([
    'CREATE DATABASE app',
    `CREATE ROLE ${quoted(oddRole)} LOGIN`,
    'CREATE ROLE reader LOGIN',
    'CREATE ROLE owner NOLOGIN',
  ]);
  await cluster.sql(
    [
      'CREATE TABLE public.trades AS SELECT generate_series(1, 100) AS id',
      'CREATE SCHEMA "closed schema"',
      'CREATE TABLE "closed schema".inner_table (id serial)',
      `CREATE TABLE public.${quoted(oddTable)} (id int)`,
      'CREATE TABLE public.owned (id int)',
      'ALTER TABLE public.owned OWNER TO owner',
      "SELECT lo_from_bytea(0, 'large')",
      "SELECT lo_from_bytea(0, 'large, too')",
    ],
    'app',
  );
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

describe('what a role may not read', () => {
  it.each(['reader', oddRole])('is told with the GRANT that mends it (%j)', async (role) => {
    const environment = { PGUSER: role };
    const before = await examine(bench, ['app'], environment);
    expect(before.exit_status).toBe(8);
    const problems = of(before, 'read', 'problem');
    const messages = problems.map(({ message }) => message).join('\n');
    for (const what of [
      'table "public"."trades"',
      'schema "closed schema"',
      'sequence "closed schema"."inner_table_id_seq"',
      `table "public".${shownIdentifier(oddTable)}`,
      'large objects (2 of them)',
    ]) {
      expect(messages).toContain(what);
    }
    await mend(cluster, problems);
    const after = await examine(bench, ['app'], environment);
    expect(of(after, 'read', 'problem')).toEqual([]);
    expect(after.exit_status).toBe(0);
  });

  it('is row security too', async () => {
    await cluster.sql('ALTER TABLE public.trades ENABLE ROW LEVEL SECURITY', 'app');
    const environment = { PGUSER: 'reader' };
    const problems = of(await examine(bench, ['app'], environment), 'read', 'problem');
    expect(problems).toMatchObject([{ mend: 'ALTER ROLE "reader" BYPASSRLS;' }]);
    await mend(cluster, problems);
    expect(of(await examine(bench, ['app'], environment), 'read', 'problem')).toEqual([]);
    await cluster.sql('ALTER TABLE public.trades DISABLE ROW LEVEL SECURITY', 'app');
  });

  it('of many objects is one GRANT for the rest, and one loop for all large objects', async () => {
    await cluster.sql('CREATE ROLE newcomer LOGIN');
    await cluster.sql('CREATE DATABASE many');
    await cluster.sql(
      `DO $$ BEGIN FOR i IN 1..30 LOOP
         EXECUTE format('CREATE TABLE t%s ()', i);
         PERFORM lo_from_bytea(0, 'large'); END LOOP; END $$`,
      'many',
    );
    const environment = { PGUSER: 'newcomer' };
    const problems = of(await examine(bench, ['many'], environment), 'read', 'problem');
    expect(problems.length).toBeLessThan(15);
    const mends = problems.map((each) => each.mend);
    expect(mends).toContain('GRANT pg_read_all_data TO "newcomer";');
    for (const statement of mends) await cluster.sql(statement ?? '', 'many');
    expect(of(await examine(bench, ['many'], environment), 'read', 'problem')).toEqual([]);
  });

  it('may be the passwords of roles: a warning, and a backup has them once it is granted', async () => {
    const environment = { PGUSER: 'reader' };
    const warnings = of(await examine(bench, ['app'], environment), 'read', 'warning');
    expect(warnings).toMatchObject([{ message: expect.stringContaining('no passwords of roles') }]);
    const without = await bench.backUp('app', [], environment);
    expect(without.outcome.stderr).toContain('without their passwords');
    await mend(cluster, warnings);
    expect(of(await examine(bench, ['app'], environment), 'read', 'warning')).toEqual([]);
    const complete = await bench.backUp('app', [], environment);
    expect(complete.outcome.stderr).not.toContain('without their passwords');
  });

  it('counts for nothing where the role may not even connect: the GRANT for that', async () => {
    await cluster.sql('REVOKE CONNECT ON DATABASE many FROM PUBLIC');
    const environment = { PGUSER: 'reader' };
    const problems = of(await examine(bench, ['many'], environment), 'connection', 'problem');
    expect(problems[0]?.mend).toContain('GRANT CONNECT ON DATABASE "many" TO "reader";');
    await cluster.sql('GRANT CONNECT ON DATABASE many TO PUBLIC');
  });
});

describe('what a role may not do in a restore', () => {
  it('is a warning each, and gone once it is granted', async () => {
    await cluster.sql('ALTER DATABASE app OWNER TO owner');
    const environment = { PGUSER: 'reader' };
    const before = await examine(bench, ['app'], environment);
    expect(before.exit_status).toBe(0);
    const warnings = of(before, 'restore', 'warning');
    const mends = warnings.map((each) => each.mend);
    expect(mends).toContain('ALTER ROLE "reader" CREATEDB;');
    expect(mends).toContain('ALTER ROLE "reader" CREATEROLE;');
    expect(mends).toContain('GRANT pg_signal_backend TO "reader";');
    expect(mends.filter((each) => each === 'GRANT "owner" TO "reader";')).toHaveLength(1);
    await mend(
      cluster,
      warnings.filter((each) => /^(?:GRANT|ALTER)/.test(each.mend ?? '')),
    );
    const after = of(await examine(bench, ['app'], environment), 'restore', 'warning');
    // The superuser's own tables are left: no GRANT makes a role a superuser.
    expect(after).toHaveLength(1);
    expect(after[0]?.mend).toMatch(/^Restore as a superuser: "postgres"/);
    await cluster.sql('ALTER DATABASE app OWNER TO postgres');
  });
});
