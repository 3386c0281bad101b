import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  dumpArguments,
  globalsArguments,
  isPasswordPrivilegeError,
} from '../../src/postgres/dump.ts';
import { describeDumpFailure } from '../../src/postgres/dump_failure.ts';
import {
  exportSnapshot,
  listDatabases,
  readDatabaseFacts,
  readServerFacts,
} from '../../src/postgres/facts.ts';
import { findMissingReadPrivileges, requireReadPrivileges } from '../../src/postgres/privileges.ts';
import { startTestCluster, type TestCluster, testEnvironment } from '../support/cluster.ts';

let cluster: TestCluster;
const database = 'app "1"\nx';

beforeAll(async () => {
  cluster = await startTestCluster({
    settings: { max_prepared_transactions: '5', wal_level: 'logical' },
  });
  const name = '"app ""1""\nx"';
  await cluster.sql([
    'CREATE ROLE "own er" CREATEDB',
    'CREATE ROLE reader LOGIN',
    `CREATE DATABASE ${name} OWNER "own er" TEMPLATE template0 CONNECTION LIMIT 7`,
    `COMMENT ON DATABASE ${name} IS 'it''s\nlive'`,
    `REVOKE ALL ON DATABASE ${name} FROM PUBLIC`,
    `GRANT CONNECT ON DATABASE ${name} TO reader WITH GRANT OPTION`,
    `ALTER DATABASE ${name} SET work_mem = '8MB'`,
    `ALTER DATABASE ${name} SET search_path = evil, "$user", pg_catalog`,
    `ALTER ROLE reader IN DATABASE ${name} SET statement_timeout = '1min'`,
    'CREATE DATABASE closed ALLOW_CONNECTIONS false',
    'CREATE DATABASE mould IS_TEMPLATE true',
    'CREATE DATABASE "app__restoring_20261121T020000Z"',
    'CREATE DATABASE "app__before_20261121T020000Z"',
  ]);
  await cluster.sql(
    [
      'CREATE SCHEMA evil',
      "CREATE FUNCTION evil.current_database() RETURNS name LANGUAGE sql AS $$ SELECT 'gone'::name $$",
      'CREATE SCHEMA "my schema"',
      'CREATE TABLE "my schema"."t""1" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)',
      'CREATE VIEW public.v AS SELECT 1 AS one',
      'CREATE MATERIALIZED VIEW public.mv AS SELECT 1 AS one',
      'CREATE TYPE public.pair AS (a int, b int)',
      'CREATE TABLE public.parts (k int, v int) PARTITION BY RANGE (k)',
      'CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM (0) TO (10) PARTITION BY LIST (v)',
      'CREATE TABLE public.parts_1_a PARTITION OF public.parts_1 DEFAULT',
      'CREATE TABLE public.doubled (a int)',
      'INSERT INTO public.doubled VALUES (1), (1)',
      'CREATE TEMPORARY TABLE passing (a int)',
      'CREATE EXTENSION pg_stat_statements SCHEMA evil',
      "CREATE SUBSCRIPTION sub CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false, slot_name = 'far')",
      "SELECT pg_create_logical_replication_slot('held', 'pgoutput')",
    ],
    database,
  );
  const unique = 'CREATE UNIQUE INDEX CONCURRENTLY broken ON public.doubled (a)';
  await cluster.sql(unique, database).catch(() => undefined);
});
afterAll(async () => {
  await cluster.stop({ immediate: true });
});

async function withClient<T>(
  work: (client: pg.Client) => Promise<T>,
  name = database,
  role = 'postgres',
): Promise<T> {
  const client = await cluster.connect(name, role);
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Runs a program of the cluster's version as a role, as an operation would. */
async function run(program: string, args: string[], role: string) {
  const environment = { ...cluster.environment(database), PGUSER: role };
  return promisify(execFile)(`${cluster.binDirectory}/${program}`, args, {
    env: { ...testEnvironment, ...environment },
    maxBuffer: 1e8,
  }).then(
    () => ({ status: 0, stderr: '' }),
    (error: { code: number; stderr: string }) => ({ status: error.code, stderr: error.stderr }),
  );
}

describe('the facts of a server', () => {
  it('are readable for any role', async () => {
    await cluster.sql(`GRANT CONNECT ON DATABASE postgres TO reader`);
    const facts = await withClient(readServerFacts, 'postgres', 'reader');
    expect(facts.major).toBe(cluster.major);
    expect(facts.version).toMatch(new RegExp(`^${cluster.major}`));
    expect(facts.system_identifier).toMatch(/^\d{18,20}$/);
    expect(facts.wal_segment_bytes).toBe(16 * 1024 * 1024);
    expect(facts.timeline).toBe(1);
    expect(facts.lsn).toMatch(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/);
    expect(facts.in_recovery).toBe(false);
  });

  it('list what --all backs up: no leftovers of a restore, nothing closed', async () => {
    const listed = await withClient(listDatabases, 'postgres', 'reader');
    expect(listed.map(({ name }) => name)).toEqual([database, 'mould', 'postgres']);
    expect(listed[0]).toMatchObject({ mayConnect: true, isTemplate: false });
    expect(listed[1]).toMatchObject({ isTemplate: true });
  });
});

describe('the facts of a database', () => {
  it('tell what it carries itself, also when its search_path is hostile', async () => {
    const facts = await withClient(readDatabaseFacts);
    expect(facts.name).toBe(database);
    expect(facts.bytes).toBeGreaterThan(1_000_000);
    expect(facts.properties).toEqual({
      owner: 'own er',
      acl: expect.arrayContaining([
        { grantee: 'reader', grantor: 'own er', privilege: 'CONNECT', grantable: true },
      ]),
      connection_limit: 7,
      tablespace: 'pg_default',
      comment: "it's\nlive",
      is_template: false,
      encoding: 'UTF8',
      locale_provider: 'libc',
      collate: process.platform === 'darwin' ? 'C' : 'C.UTF-8',
      ctype: process.platform === 'darwin' ? 'C' : 'C.UTF-8',
      locale: null,
      icu_rules: null,
      settings: ['work_mem=8MB', 'search_path=evil, "$user", pg_catalog'],
      role_settings: [{ role: 'reader', settings: ['statement_timeout=1min'] }],
      security_labels: [],
    });
    expect(facts.properties.acl?.some(({ grantee }) => grantee === null)).toBe(false);
  });

  it('tell a default ACL from an empty one', async () => {
    const facts = await withClient(readDatabaseFacts, 'mould');
    expect(facts.properties.acl).toBeNull();
    expect(facts.properties.is_template).toBe(true);
  });

  it('tell the locale provider of each version', async () => {
    const icu = cluster.major >= 16 ? "LOCALE_PROVIDER icu ICU_LOCALE 'de' ICU_RULES '&a < b'" : '';
    const builtin = cluster.major >= 17 ? "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'" : '';
    const old = cluster.major >= 15 ? "LOCALE_PROVIDER icu ICU_LOCALE 'de'" : '';
    await cluster.sql([
      `CREATE DATABASE german TEMPLATE template0 ${icu || old}`,
      `CREATE DATABASE built TEMPLATE template0 ${builtin}`,
    ]);
    const german = await withClient(readDatabaseFacts, 'german');
    expect(german.properties).toMatchObject(
      cluster.major >= 15
        ? {
            locale_provider: 'icu',
            locale: 'de',
            icu_rules: cluster.major >= 16 ? '&a < b' : null,
          }
        : { locale_provider: 'libc', locale: null },
    );
    const built = await withClient(readDatabaseFacts, 'built');
    expect(built.properties).toMatchObject(
      cluster.major >= 17
        ? { locale_provider: 'builtin', locale: 'C.UTF-8' }
        : { locale_provider: 'libc', locale: null },
    );
    await cluster.sql(['DROP DATABASE german', 'DROP DATABASE built']);
  });

  it('count what a dump carries: nothing temporary, invalid, or of an extension', async () => {
    const { relations } = await withClient(readDatabaseFacts);
    // Tables: t"1, parts_1_a, doubled; of the indexes only the primary key is valid.
    expect(relations).toEqual({ S: 1, c: 1, i: 1, m: 1, p: 2, r: 3, v: 1 });
  });

  it('name the topmost table of each partition', async () => {
    const { partitionRoots } = await withClient(readDatabaseFacts);
    expect([...partitionRoots.values()]).toEqual([
      { schema: 'public', name: 'parts' },
      { schema: 'public', name: 'parts' },
    ]);
  });

  it('list what would hold WAL or block a drop', async () => {
    await cluster.sql(
      ['BEGIN', 'INSERT INTO public.doubled VALUES (2)', "PREPARE TRANSACTION 'gid 1'"],
      database,
    );
    const facts = await withClient(readDatabaseFacts, database, 'postgres');
    expect(facts.subscriptions).toEqual([{ name: 'sub', enabled: false, slot: 'far' }]);
    expect(facts.logicalSlots).toEqual([{ name: 'held', plugin: 'pgoutput', active: false }]);
    expect(facts.preparedTransactions).toMatchObject([{ gid: 'gid 1', owner: 'postgres' }]);
    expect(facts.extensions.map(({ name }) => name)).toEqual(['pg_stat_statements', 'plpgsql']);
    await cluster.sql("ROLLBACK PREPARED 'gid 1'", database);
  });

  it('are readable for a role without any privilege on the tables', async () => {
    const facts = await withClient(readDatabaseFacts, database, 'reader');
    expect(facts.subscriptions).toHaveLength(1);
    expect(facts.relations.r).toBe(3);
  });
});

describe('the snapshot of a backup', () => {
  it('shows pg_dump and us the same state, whatever happens meanwhile', async () => {
    await withClient(async (client) => {
      await client.query("SET idle_in_transaction_session_timeout = '200ms'");
      const snapshot = await exportSnapshot(client);
      await cluster.sql('CREATE TABLE public.later (a int)', database);
      await new Promise((resolve) => setTimeout(resolve, 400));
      const facts = await readDatabaseFacts(client);
      expect(facts.relations.r).toBe(3);
      const dumped = await run('pg_dump', dumpArguments({ snapshot: snapshot.id }), 'postgres');
      expect(dumped).toEqual({ status: 0, stderr: '' });
      await snapshot.release();
      const late = await run('pg_dump', dumpArguments({ snapshot: snapshot.id }), 'postgres');
      const error = describeDumpFailure({ program: 'pg_dump', ...late, database });
      expect(error.code).toBe('DATABASE_UNREACHABLE');
      expect(error.message).toContain(snapshot.id);
    });
    await cluster.sql('DROP TABLE public.later', database);
  });
});

describe('what a role may not read', () => {
  it('is the passwords, for pg_dumpall of an ordinary role: then it goes without them', async () => {
    const refused = await run('pg_dumpall', globalsArguments({ database }), 'reader');
    expect(refused.status).toBe(1);
    expect(isPasswordPrivilegeError(refused.stderr)).toBe(true);
    const without = globalsArguments({ database, noRolePasswords: true });
    expect((await run('pg_dumpall', without, 'reader')).status).toBe(0);
  });

  it('is found before the dump, object by object, with the GRANT that mends it', async () => {
    const { missing } = await withClient(findMissingReadPrivileges, database, 'reader');
    const found = missing.map(({ kind, object }) => `${kind} ${object}`);
    expect(found).toContain('schema "my schema"');
    expect(found).toContain('table "my schema"."t""1"');
    expect(found).toContain('table "public"."parts"');
    expect(found.filter((each) => each.startsWith('sequence'))).toHaveLength(1);
    expect(found.join()).not.toContain('pg_stat');
    const error = await withClient(requireReadPrivileges, database, 'reader').catch((e) => e);
    expect(error.code).toBe('DATABASE_PRIVILEGE');
    expect(error.hint).toBe('As a superuser: GRANT pg_read_all_data TO "reader";');

    const dump = await run('pg_dump', dumpArguments(), 'reader');
    const failure = describeDumpFailure({ program: 'pg_dump', ...dump, database, role: 'reader' });
    expect(failure.code).toBe('DATABASE_PRIVILEGE');
    expect(failure.message).toContain('permission denied for');
    expect(failure.hint).toContain('GRANT ');
    expect(failure.hint).toContain('TO "reader"');
  });

  it('is nothing more once the hint was followed; row security and large objects are told apart', async () => {
    await cluster.sql('GRANT pg_read_all_data TO reader', database);
    await withClient(requireReadPrivileges, database, 'reader');
    const dumped = await run('pg_dump', dumpArguments(), 'reader');
    expect(dumped.status).toBe(0);

    await cluster.sql(
      ['ALTER TABLE public.doubled ENABLE ROW LEVEL SECURITY', "SELECT lo_from_bytea(0, 'large')"],
      database,
    );
    const { missing } = await withClient(findMissingReadPrivileges, database, 'reader');
    const kinds = missing.map(({ kind }) => kind);
    expect(kinds).toContain('row security');
    const hidden = await run('pg_dump', [...dumpArguments(), '--no-blobs'], 'reader');
    const failure = describeDumpFailure({
      program: 'pg_dump',
      ...hidden,
      database,
      role: 'reader',
    });
    expect(failure.code).toBe('DATABASE_PRIVILEGE');
    expect(failure.hint).toContain('ALTER ROLE "reader" BYPASSRLS');

    await cluster.sql('ALTER TABLE public.doubled DISABLE ROW LEVEL SECURITY', database);
    // What we say about large objects is what pg_dump finds.
    const dump = await run('pg_dump', dumpArguments(), 'reader');
    expect(kinds.includes('large objects')).toBe(dump.status !== 0);
  });

  it('counts what a superuser may read as everything', async () => {
    const { missing } = await withClient(findMissingReadPrivileges);
    expect(missing).toEqual([]);
  });
});
