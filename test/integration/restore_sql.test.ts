/** Restoring SQL that other tools wrote: pg_dump, pg_dumpall, people. */

import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { oddName, openSqlScene, type SqlScene } from '../support/sql_scene.ts';
import { jsonOf, programOutput } from '../support/workbench.ts';

let scene: SqlScene;
beforeAll(async () => {
  scene = await openSqlScene();
});
beforeEach(() => scene.reset());
afterAll(() => scene?.close());

describe('SQL of pg_dump', () => {
  it.each([
    ['plain', 'a.sql', (sql: Buffer) => sql],
    ['gzip', 'a.sql.gz', (sql: Buffer) => gzipSync(sql)],
    [
      'gzip in two members',
      'b.sql.gz',
      (sql: Buffer) => Buffer.concat([gzipSync(sql.subarray(0, 500)), gzipSync(sql.subarray(500))]),
    ],
    ['zstd', 'a.sql.zst', (sql: Buffer) => zstdCompressSync(sql)],
    ['under a name that says something else', 'a.dump', (sql: Buffer) => gzipSync(sql)],
    [
      'with a byte order mark',
      'bom.sql',
      (sql: Buffer) => Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), sql]),
    ],
  ] as const)('%s: takes the place of the old one, which stays', async (_what, name, pack) => {
    const outcome = await scene.restore([
      await scene.write(name, pack(scene.plain)),
      'shop',
      '--json',
    ]);
    await scene.expectRestored(outcome);
    const { before } = jsonOf<{ before: string }>(outcome);
    expect(await scene.stateOf(before)).toBe('live');
    const [owner] = await scene.cluster.sql(
      "SELECT tableowner FROM pg_tables WHERE tablename = 'state'",
      'shop',
    );
    expect(owner).toEqual({ tableowner: 'keeper' });
  });

  it.each([
    ['--inserts', ['--inserts']],
    ['--column-inserts --quote-all-identifiers', ['--column-inserts', '--quote-all-identifiers']],
    ['--clean --if-exists', ['--clean', '--if-exists']],
    ['--create', ['--create']],
    ['--create --clean', ['--create', '--clean']],
    ['--no-owner', ['--no-owner', '--no-acl']],
  ] as const)('pg_dump %s', async (_what, flags) => {
    for (const [name, target] of [
      ['source', 'shop'],
      [oddName, oddName],
    ] as const) {
      const sql = await scene.dump([...flags, `--dbname=${conninfo(name)}`]);
      const before = await settingsOf(name);
      const path = await scene.write('flags.sql', sql);
      const outcome = await scene.restore([path, '--target-database', `${target} new`]);
      await scene.expectRestored(outcome, `${target} new`);
      expect(await scene.stateOf('shop')).toBe('live');
      expect(await settingsOf(name)).toEqual(before);
    }
  });

  it('--create: collation is taken over, what is about the old database is told', async () => {
    const path = await scene.write('create.sql', await scene.dump(['--create', 'source']));
    const outcome = await scene.restore([path, 'shop']);
    await scene.expectRestored(outcome);
    expect(outcome.stderr).toMatch(/line \d+ is about the database itself.*SET work_mem/);
    const [row] = await scene.cluster.sql(
      "SELECT datcollate AS collate FROM pg_database WHERE datname = 'shop'",
    );
    expect(row).toEqual({ collate: 'C' });
  });

  it.each([
    ['SQL', async () => scene.plain],
    ['a dump in custom format', () => scene.dump(['--format=custom', 'source'])],
  ] as const)('%s: the database keeps its owner, privileges and settings', async (_what, dump) => {
    await scene.cluster.sql([
      'ALTER DATABASE shop OWNER TO keeper',
      'REVOKE CONNECT ON DATABASE shop FROM PUBLIC',
      "ALTER DATABASE shop SET work_mem = '7MB'",
      'ALTER DATABASE shop CONNECTION LIMIT 17',
      "COMMENT ON DATABASE shop IS 'the shop''s'",
    ]);
    const own = () =>
      scene.cluster.sql(
        `SELECT pg_get_userbyid(datdba) AS owner, datacl::text AS acl, datconnlimit AS most,
                shobj_description(d.oid, 'pg_database') AS comment, setconfig::text AS settings
           FROM pg_database AS d JOIN pg_db_role_setting ON setdatabase = d.oid
          WHERE datname = 'shop'`,
      );
    const before = await own();
    const path = await scene.write('keeps', await dump());
    await scene.expectRestored(await scene.restore([path, 'shop']));
    expect(await own()).toEqual(before);
    expect(before).toMatchObject([{ owner: 'keeper', most: 17, comment: "the shop's" }]);
  });

  it('leaves the server itself alone: roles, memberships, other databases', async () => {
    const server = () =>
      scene.cluster.sql(
        `SELECT to_jsonb(r) - 'oid' AS fact FROM pg_authid AS r UNION ALL
         SELECT to_jsonb(m) FROM pg_auth_members AS m UNION ALL
         SELECT to_jsonb(datname) FROM pg_database WHERE datname = 'source' ORDER BY 1`,
      );
    const before = await server();
    const path = await scene.write(
      'server.sql',
      'ALTER ROLE keeper SUPERUSER;\nCREATE ROLE another;\nGRANT pg_monitor TO keeper;\n' +
        `DROP DATABASE source;\nALTER SYSTEM SET work_mem = '1MB';\n${scene.plain}`,
    );
    const outcome = await scene.restore([path, 'shop']);
    await scene.expectRestored(outcome);
    expect(await server()).toEqual(before);
    expect(outcome.stderr).toContain(
      'line 1 is about the whole server, and was left out: ALTER ROLE keeper SUPERUSER;',
    );
    expect(outcome.stderr).toContain('left out: DROP DATABASE source;');
  });

  it('an odd name, with several jobs asked for', async () => {
    const path = await scene.write(`${oddName}.sql`, scene.plain);
    const outcome = await scene.restore([path, 'new "one" $(id)', '--jobs', '4']);
    await scene.expectRestored(outcome, 'new "one" $(id)');
    expect(outcome.stderr).toContain('one session');
    expect(outcome.stderr).toContain('makes 2 tables, with 5 rows');
  });

  it('with the file’s own restriction, or without one', async () => {
    const text = scene.plain.toString();
    expect(text).toMatch(/^\\restrict \w+$/m);
    const without = text.replaceAll(/^\\(?:un)?restrict \w+\n/gm, '');
    await scene.expectRestored(
      await scene.restore([await scene.write('old.sql', without), 'shop']),
    );
  });

  it('of a newer version: a setting that this server has not is left out', async () => {
    const text = scene.plain.toString();
    const newer = text.replace('SET lock_timeout = 0;', '$&\nSET transaction_timeout = 0;');
    expect(newer).not.toBe(text);
    await scene.expectRestored(
      await scene.restore([await scene.write('newer.sql', newer), 'shop']),
    );
  });

  it('--verify-only and --dry-run touch nothing', async () => {
    const path = await scene.write('look.sql.gz', gzipSync(scene.plain));
    for (const flag of ['--verify-only', '--dry-run']) {
      const outcome = await scene.restore([path, 'shop', flag]);
      expect(outcome.status, outcome.stderr).toBe(0);
      if (flag === '--verify-only') expect(outcome.stderr).toMatch(/is whole; no digests tell/);
      expect(outcome.stderr).not.toContain('verified');
    }
    expect(await scene.databases()).toEqual(['shop']);
    const production = { ENVIRONMENT: 'production' };
    const unasked = await scene.bench.run('restore_backup', [path, 'shop'], {
      environment: production,
    });
    await scene.expectUntouched(unasked, 2, /--force/);
  });
});

describe('SQL of pg_dumpall', () => {
  it('the one database that is named, and nothing else on the server', async () => {
    const all = await scene.write(
      'all.sql.zst',
      zstdCompressSync(await programOutput(scene.cluster, 'pg_dumpall', [])),
    );
    const roles = await scene.cluster.sql('SELECT * FROM pg_authid ORDER BY oid');
    await scene.expectRestored(
      await scene.restore([all, 'source', '--target-database', 'one']),
      'one',
    );
    await scene.expectRestored(
      await scene.restore([all, oddName, '--target-database', 'two']),
      'two',
    );
    expect(await scene.stateOf('shop')).toBe('live');
    const none = await scene.restore([all, 'missing']);
    expect(none.stderr).toMatch(/holds no database "missing", but .*"source"/);
    expect(none.status).toBe(5);
    expect(await scene.cluster.sql('SELECT * FROM pg_authid ORDER BY oid')).toEqual(roles);
  });
});

function conninfo(name: string): string {
  return `dbname='${name.replaceAll(/[\\']/g, '\\$&')}'`;
}

async function settingsOf(name: string) {
  return scene.cluster.sql(
    `SELECT d.*, s.setconfig FROM pg_database d LEFT JOIN pg_db_role_setting s ON setdatabase = oid
      WHERE datname = '${name.replaceAll("'", "''")}'`,
  );
}

describe('errors of the server', () => {
  it('the line, its words, and the new database is gone', async () => {
    const path = await scene.write(
      'wrong.sql',
      'CREATE TABLE t (a int);\n\nINSERT INTO u VALUES (1);\n',
    );
    await scene.expectUntouched(
      await scene.restore([path, 'shop']),
      3,
      /psql of database .*: line 3: ERROR: {2}relation "u" does not exist/,
    );
  });

  it('a row that does not fit: the table and the line of the row', async () => {
    const path = await scene.write(
      'row.sql',
      'CREATE TABLE t (a int);\nCOPY t FROM stdin;\n1\nx\n\\.\n',
    );
    await scene.expectUntouched(
      await scene.restore([path, 'shop']),
      3,
      /integer: "x"; CONTEXT: {2}COPY t, line 2/,
    );
  });

  it('missing roles are named before anything is made, with what to type', async () => {
    const text = scene.plain.toString().replaceAll('OWNER TO keeper', 'OWNER TO "No ""one"""');
    const outcome = await scene.restore([await scene.write('roles.sql', text), 'shop']);
    await scene.expectUntouched(
      outcome,
      3,
      /line \d+ needs the role "No \\"one\\""[\s\S]*CREATE ROLE "No ""one""";/,
    );
    const hidden = await scene.write(
      'hidden.sql',
      'CREATE TABLE t (a int);\nSET ROLE nobody_there;\n',
    );
    await scene.expectUntouched(
      await scene.restore([hidden, 'shop']),
      3,
      /line 2: ERROR: .*nobody_there/,
    );
  });
});
