/** Whatever way a restore goes: roles that exist, and all that is theirs, stay as they are. */

import { mkdtemp, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { misdigestedBackup } from '../support/tampered_backup.ts';
import { jsonOf, openWorkbench, type TakenBackup, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
let backup: TakenBackup;
let label: string;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  await cluster.sql([
    "CREATE ROLE app LOGIN PASSWORD 'of the backup' VALID UNTIL '2030-01-01'",
    'CREATE ROLE readers',
    'CREATE ROLE admins',
    'CREATE ROLE gone LOGIN',
    'GRANT readers TO app',
    'GRANT admins TO app WITH ADMIN OPTION',
    'GRANT gone TO app',
    'GRANT readers TO gone',
    "ALTER ROLE app SET work_mem = '5MB'",
    "ALTER ROLE gone SET work_mem = '6MB'",
    "COMMENT ON ROLE app IS 'of the backup'",
    'CREATE DATABASE shop OWNER app',
  ]);
  await cluster.sql('CREATE TABLE goods AS SELECT 1 AS one', 'shop');
  backup = await bench.backUp('shop');
  label = backup.label;
  // Since then a password was rotated, and rights were taken and given.
  await cluster.sql([
    "ALTER ROLE app PASSWORD 'rotated' VALID UNTIL 'infinity' NOINHERIT CONNECTION LIMIT 7",
    'REVOKE admins FROM app',
    'GRANT pg_monitor TO readers',
    'ALTER ROLE app RESET work_mem',
    "ALTER ROLE app SET statement_timeout = '9s'",
    "COMMENT ON ROLE app IS 'of today'",
  ]);
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

/** All that belongs to the roles and tablespaces of the server, but for those of one role. */
async function globals(): Promise<Record<string, unknown>[]> {
  const queries = [
    `SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
            rolconnlimit, rolpassword, rolvaliduntil::text, rolbypassrls,
            shobj_description(oid, 'pg_authid') AS comment
       FROM pg_authid WHERE rolname <> 'gone' ORDER BY 1`,
    `SELECT roleid::regrole::text, member::regrole::text, grantor::regrole::text, admin_option
       FROM pg_auth_members WHERE member::regrole::text <> 'gone'
        AND roleid::regrole::text <> 'gone' ORDER BY 1, 2`,
    `SELECT setrole::regrole::text, setconfig FROM pg_db_role_setting
      WHERE setdatabase = 0 AND setrole::regrole::text <> 'gone' ORDER BY 1`,
    'SELECT spcname, spcowner::regrole::text, spcacl::text, spcoptions FROM pg_tablespace ORDER BY 1',
  ];
  const rows = await Promise.all(queries.map((sql) => cluster.sql(sql)));
  return rows.flat();
}

describe.each([[[]], [['--in-place']], [['--keep-going']]])('restored with %j', (way) => {
  it('existing roles keep password, attributes, memberships, settings and comment', async () => {
    const before = await globals();
    const outcome = await bench.run('restore_backup', [label, '--force', '--json', ...way]);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(jsonOf(outcome)).toMatchObject({ roles_created: [], warnings: [] });
    expect(await globals()).toEqual(before);
  });

  it('a role that is missing is told before and comes back; nobody else becomes its member', async () => {
    await cluster.sql('DROP ROLE gone');
    const before = await globals();
    const plan = await bench.run('restore_backup', [label, '--dry-run', '--json', ...way]);
    expect(jsonOf(plan)).toMatchObject({ plan: { roles_to_create: ['gone'] } });
    expect(await cluster.sql("SELECT FROM pg_roles WHERE rolname = 'gone'")).toEqual([]);
    const outcome = await bench.run('restore_backup', [label, '--force', '--json', ...way]);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(jsonOf(outcome)).toMatchObject({ roles_created: ['gone'] });
    expect(await globals()).toEqual(before);
    const members = await cluster.sql(
      `SELECT roleid::regrole::text AS role, member::regrole::text AS member FROM pg_auth_members
        WHERE roleid = 'gone'::regrole OR member = 'gone'::regrole`,
    );
    expect(members).toEqual([{ role: 'readers', member: 'gone' }]);
  });
});

describe('a dump whose plain bytes turn out to be others, which several jobs learn late', () => {
  const databases = () => cluster.sql('SELECT oid, datname FROM pg_database ORDER BY oid');

  it.each([
    ['with a role to create', [], false],
    ['while it is restored already', [], true],
    ['in place', ['--in-place'], true],
  ])('%s: nothing is swapped, dropped or created, and nothing is left', async (_, way, hasRole) => {
    await cluster.sql(['DROP ROLE IF EXISTS gone', ...(hasRole ? ['CREATE ROLE gone'] : [])]);
    const folder = await misdigestedBackup(backup, join(bench.folder, 'misdigested'));
    const temporary = await mkdtemp(join(bench.folder, 'temporary-'));
    const [before, roles] = [await databases(), await globals()];
    const argv = [folder, 'shop', '--force', '--jobs', '2', ...way];
    const outcome = await bench.run('restore_backup', argv, { environment: { TMPDIR: temporary } });
    expect(outcome.status, outcome.stderr).toBe(4);
    expect(outcome.stderr).toMatch(/error: .*database\.dump\S* differs .* when decompressed/);
    expect(outcome.stderr).not.toContain('verified: every byte');
    expect(await databases()).toEqual(before);
    expect(await globals()).toEqual(roles);
    const found = await cluster.sql("SELECT FROM pg_roles WHERE rolname = 'gone'");
    expect(found).toHaveLength(hasRole ? 1 : 0);
    expect(await readdir(temporary)).toEqual([]);
  });
});

describe('a role that may create no database', () => {
  it.each(['1', '2'])('learns it at once, and nothing is left (--jobs %s)', async (jobs) => {
    await cluster.sql(['DROP ROLE IF EXISTS newcomer', 'CREATE ROLE newcomer LOGIN']);
    const temporary = await mkdtemp(join(bench.folder, 'temporary-'));
    const argv = [label, '--target-database', 'copy', '--force', '--jobs', jobs];
    const outcome = await bench.run('restore_backup', [...argv, '--username', 'newcomer'], {
      environment: { TMPDIR: temporary },
    });
    expect(outcome.status, outcome.stderr).toBe(8);
    expect(outcome.stderr).toMatch(/error: .*creating database "copy__restoring_\w+"/);
    expect(await readdir(temporary)).toEqual([]);
  });
});
