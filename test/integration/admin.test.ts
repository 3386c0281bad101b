import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createDatabase,
  databaseOid,
  dropDatabaseChecked,
  listDatabaseNames,
} from '../../src/postgres/admin.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';

let cluster: TestCluster;
let client: pg.Client;
const name = `it's "$(touch /tmp/x)"\nД`;
const quoted = `"${name.replaceAll('"', '""')}"`;

beforeAll(async () => {
  cluster = await startTestCluster();
  client = await cluster.connect();
});
afterAll(async () => {
  await cluster.stop({ immediate: true });
});

describe('a database with a wild name', () => {
  it('is created, found and dropped by its OID', async () => {
    expect(await databaseOid(client, name)).toBeNull();
    const oid = await createDatabase(client, name, `CREATE DATABASE ${quoted}`);
    expect(await databaseOid(client, name)).toBe(oid);
    expect(await listDatabaseNames(client)).toContainEqual({ name, oid });
    expect(await dropDatabaseChecked(client, name, oid)).toBe(true);
    expect(await dropDatabaseChecked(client, name, oid)).toBe(false);
  });

  it('is not dropped when the name belongs to another one by now', async () => {
    const oid = await createDatabase(client, name, `CREATE DATABASE ${quoted}`);
    await client.query(`ALTER DATABASE ${quoted} RENAME TO moved`);
    const other = await createDatabase(client, name, `CREATE DATABASE ${quoted}`);
    const error = await dropDatabaseChecked(client, name, oid).catch((thrown) => thrown);
    expect(error.code).toBe('DATABASE_REFUSED');
    expect(error.message).toContain(`OID ${other}, not ${oid}`);
    expect(await databaseOid(client, name)).toBe(other);
    expect(await databaseOid(client, 'moved')).toBe(oid);
    await dropDatabaseChecked(client, name, other);
  });

  it('is dropped under its sessions only by force', async () => {
    const oid = await createDatabase(client, name, `CREATE DATABASE ${quoted}`);
    const session = await cluster.connect(name);
    const error = await dropDatabaseChecked(client, name, oid).catch((thrown) => thrown);
    expect(error.message).toContain('being accessed by other users');
    expect(error.message).toContain('1 other session');
    expect(await dropDatabaseChecked(client, name, oid, { force: true })).toBe(true);
    await expect(session.query('SELECT 1')).rejects.toThrow();
  });

  it('cannot be created by a role without CREATEDB, and twice by nobody', async () => {
    await cluster.sql('CREATE ROLE guest LOGIN');
    const guest = await cluster.connect('postgres', 'guest');
    const denied = await createDatabase(guest, 'x', 'CREATE DATABASE x').catch((e) => e);
    expect(denied.code).toBe('DATABASE_PRIVILEGE');
    expect(denied.message).toContain('creating database "x": permission denied');
    const twice = await createDatabase(client, 'postgres', 'CREATE DATABASE postgres').catch(
      (e) => e,
    );
    expect(twice.code).toBe('DATABASE_REFUSED');
    expect(twice.message).toContain('already exists');
  });
});
