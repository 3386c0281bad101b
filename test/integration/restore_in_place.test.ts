/** restore_backup.ts --in-place: nothing is dropped before it is saved, and the way back is told. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { acquireDatabaseLock, backupLockKey } from '../../src/postgres/advisory_lock.ts';
import { formatLockHolder } from '../../src/postgres/lock_holder.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Outcome, type RunOptions, typeCommand } from '../support/command.ts';
import { until } from '../support/fault.ts';
import { tamperedBackup } from '../support/tampered_backup.ts';
import {
  jsonOf,
  openWorkbench,
  quoted,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

const database = `sh"op's $(x)`;
let cluster: TestCluster;
let bench: Workbench;
let backedUp: TakenBackup;

beforeAll(async () => {
  cluster = await startTestCluster({
    settings: { max_prepared_transactions: '5', wal_level: 'logical' },
  });
  bench = await openWorkbench(cluster);
  await cluster.sql(`CREATE DATABASE ${quoted(database)}`);
  await cluster.sql(
    [
      'CREATE TABLE goods AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 500) n',
      "CREATE TABLE which AS SELECT 'backed up' AS state",
    ],
    database,
  );
  backedUp = await bench.backUp(database);
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

async function databases(): Promise<string[]> {
  const sql = "SELECT datname FROM pg_database WHERE datname !~ '^template[01]$' ORDER BY datname";
  return (await cluster.sql(sql)).map(({ datname }) => String(datname));
}

async function drop(name: string): Promise<void> {
  await cluster.sql(`ALTER DATABASE ${quoted(name)} IS_TEMPLATE false`);
  await cluster.sql(`DROP DATABASE ${quoted(name)} (FORCE)`);
}

beforeEach(async () => {
  for (const name of await databases()) if (name !== 'postgres') await drop(name);
  await cluster.sql(`CREATE DATABASE ${quoted(database)}`);
  await cluster.sql("CREATE TABLE which AS SELECT 'live' AS state", database);
});

const stateOf = async (name = database) =>
  (await cluster.sql('SELECT state FROM which', name)).map(({ state }) => state).join();

const flags = ['--in-place', '--force', '--json'];
const inPlace = (argv: readonly string[] = [], options?: RunOptions): Promise<Outcome> =>
  bench.run('restore_backup', [backedUp.label, ...flags, ...argv], options);

interface Safety {
  readonly label: string;
  readonly command: string;
}

async function labels(): Promise<string[]> {
  const outcome = await bench.run('list_backups', [database, '--json']);
  const { backups } = jsonOf<{ backups: { label: string; state: string }[] }>(outcome);
  expect(backups.every(({ state }) => state === 'complete')).toBe(true);
  return backups.map(({ label }) => label);
}

async function expectUntouched(outcome: Outcome, status: number, words: RegExp): Promise<void> {
  expect(outcome.stderr).toMatch(words);
  expect(outcome.status, outcome.stderr).toBe(status);
  expect(await databases()).toEqual(['postgres', database]);
  expect(await stateOf()).toBe('live');
}

/** Types the command that was printed, and answers its question by a flag. */
const type = (command: string) => typeCommand(`${command} --force`);

describe('--in-place', () => {
  it('saves the old database, drops it, and restores; the way back is told and works', async () => {
    const client = await cluster.connect(database);
    const before = await labels();
    const outcome = await inPlace();
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await databases()).toEqual(['postgres', database]);
    expect(await stateOf()).toBe('backed up');
    await expect(client.query('SELECT 1')).rejects.toThrow();
    const result = jsonOf<{ before: null; safety_backup: Safety }>(outcome);
    expect(result.before).toBeNull();
    const { label, command } = result.safety_backup;
    expect(label).toMatch(/-manual-/);
    expect(await labels()).toEqual([...before, label]);
    const status = JSON.parse(await readFile(join(bench.repository, 'status.json'), 'utf8'));
    expect(status.databases).toEqual([
      expect.objectContaining({
        database,
        last_run: expect.objectContaining({ status: 'ok', label }),
      }),
    ]);
    await type(command);
    expect(await stateOf()).toBe('live');
  });

  it('typed again with --latest restores the same backup, never the safety backup', async () => {
    expect((await inPlace()).status).toBe(0);
    await cluster.sql("UPDATE which SET state = 'live'", database);
    const again = await bench.run('restore_backup', ['--latest', database, ...flags]);
    expect(again.stderr).toMatch(/-manual-.* is younger, but the safety backup/);
    expect(await stateOf()).toBe('backed up');
  });

  it('of a database that is not there is an ordinary restore', async () => {
    const outcome = await inPlace(['--target-database', 'new']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(jsonOf(outcome)).toMatchObject({ safety_backup: null, before: null });
    expect(await stateOf('new')).toBe('backed up');
  });

  it('--dry-run tells the safety backup and the drop, and touches nothing', async () => {
    const before = await labels();
    const outcome = await inPlace(['--dry-run']);
    await expectUntouched(outcome, 0, /^$/);
    expect(jsonOf(outcome)).toMatchObject({
      plan: { in_place: true, before_name: null, safety_backup: { bytes: expect.any(Number) } },
    });
    expect(await labels()).toEqual(before);
  });

  it.each([
    [undefined, 'yes', 0],
    [undefined, 'no', 2],
    ['production', 'yes', 2],
    ['production', database, 0],
  ])('with ENVIRONMENT=%s, %j typed ends with %d', async (kind, typed, status) => {
    const environment: Record<string, string> = kind === undefined ? {} : { ENVIRONMENT: kind };
    const argv = [backedUp.label, '--in-place'];
    const outcome = await bench.run('restore_backup', argv, { typed, environment });
    expect(outcome.stderr).toContain('and restore in its place?');
    if (status !== 0) await expectUntouched(outcome, status, /stopped\nhint: Nothing was changed/);
    expect(outcome.status, outcome.stderr).toBe(status);
    expect(await stateOf()).toBe(status === 0 ? 'backed up' : 'live');
  });

  it('without a terminal wants --force', async () => {
    const outcome = await bench.run('restore_backup', [backedUp.label, '--in-place']);
    await expectUntouched(outcome, 2, /no terminal.*\n.*--force/);
  });

  it('and --keep-going exclude each other', async () => {
    await expectUntouched(await inPlace(['--keep-going']), 2, /--in-place .*--keep-going/);
  });

  it('without a repository is refused', async () => {
    const environment = { BACKUP_DIR: join(bench.folder, 'none') };
    const argv = [backedUp.folder, ...flags];
    const outcome = await bench.run('restore_backup', argv, { environment });
    await expectUntouched(outcome, 3, /no repository for the safety backup[\s\S]*BACKUP_DIR/);
  });
});

describe('what blocks the drop is found before anything is done', () => {
  it.each([
    [
      'an active replication slot',
      "SELECT pg_create_logical_replication_slot('s', 'test_decoding')",
      /restored in place and is untouched: the replication slot "s" .*in use/,
    ],
    [
      'a subscription',
      `CREATE SUBSCRIPTION "s b" CONNECTION 'host=/nowhere dbname=x' PUBLICATION p
         WITH (connect = false, slot_name = 'far')`,
      /the subscription "s b" .*publisher[\s\S]*DROP SUBSCRIPTION "s b";/,
    ],
    [
      'a prepared transaction',
      "BEGIN; UPDATE which SET state = 'x'; PREPARE TRANSACTION 'it''s'",
      /the prepared transaction "it's"[\s\S]*ROLLBACK PREPARED 'it''s';/,
    ],
    [
      'a template',
      `ALTER DATABASE ${quoted(database)} IS_TEMPLATE true`,
      /is a template[\s\S]*IS_TEMPLATE false;/,
    ],
  ])('%s', async (kind, sql, words) => {
    await cluster.sql(sql, database);
    const isSlot = kind.includes('slot');
    const reader = isSlot ? await startReader() : null;
    try {
      const before = await labels();
      const outcome = await inPlace();
      expect(outcome.stderr).toMatch(words);
      expect(outcome.status).toBe(3);
      expect(await stateOf()).toBe('live');
      expect(await labels()).toEqual(before);
    } finally {
      await reader?.();
      await clearUp();
    }
  });

  /** A replication connection that reads the slot, as a consumer does. */
  async function startReader(): Promise<() => Promise<void>> {
    const { default: pg } = await import('pg');
    const { socketDirectory: host, port } = cluster;
    const client = new pg.Client({
      host,
      port,
      user: 'postgres',
      database,
      replication: 'database',
    } as ConstructorParameters<typeof pg.Client>[0]);
    client.on('error', () => undefined);
    await client.connect();
    client.query('START_REPLICATION SLOT s LOGICAL 0/0').catch(() => undefined);
    const sql = "SELECT FROM pg_replication_slots WHERE slot_name = 's' AND active";
    await until('the slot is in use', async () => (await cluster.sql(sql)).length === 1 || null);
    return async () => {
      await cluster.sql('SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots');
      const idle = "SELECT FROM pg_replication_slots WHERE slot_name = 's' AND NOT active";
      await until('the slot is free', async () => (await cluster.sql(idle)).length === 1 || null);
    };
  }

  async function clearUp(): Promise<void> {
    await cluster.sql('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
    for (const { gid } of await cluster.sql('SELECT gid FROM pg_prepared_xacts')) {
      await cluster.sql(`ROLLBACK PREPARED '${String(gid).replaceAll("'", "''")}'`, database);
    }
    for (const { subname } of await cluster.sql('SELECT subname FROM pg_subscription')) {
      const name = quoted(String(subname));
      await cluster.sql(
        [
          `ALTER SUBSCRIPTION ${name} DISABLE`,
          `ALTER SUBSCRIPTION ${name} SET (slot_name = NONE)`,
          `DROP SUBSCRIPTION ${name}`,
        ],
        database,
      );
    }
  }

  it('an idle slot goes with the database, as the plan has said', async () => {
    await cluster.sql("SELECT pg_create_logical_replication_slot('s', 'test_decoding')", database);
    const plan = await inPlace(['--dry-run']);
    expect(jsonOf(plan)).toMatchObject({
      plan: {
        obstacles: [
          {
            kind: 'slot',
            name: 's',
            active: false,
            retained_bytes: expect.any(Number),
            blocks: { drop: false },
            sql: ["SELECT pg_drop_replication_slot('s');"],
          },
        ],
      },
    });
    const outcome = await inPlace();
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await cluster.sql('SELECT FROM pg_replication_slots')).toEqual([]);
  });

  it('a role that owns nothing here', async () => {
    await cluster.sql(['CREATE ROLE weak LOGIN CREATEDB', 'GRANT pg_read_all_data TO weak']);
    try {
      const outcome = await inPlace(['--username', 'weak']);
      await expectUntouched(outcome, 8, /may not drop database/);
      await cluster.sql(`ALTER DATABASE ${quoted(database)} OWNER TO weak`);
      await cluster.sql('ALTER ROLE weak NOCREATEDB');
      await expectUntouched(await inPlace(['--username', 'weak']), 8, /may not create databases/);
    } finally {
      await drop(database);
      await cluster.sql('DROP ROLE weak');
    }
  });
});

describe('the safety backup', () => {
  it('that cannot be taken, since another backup runs, leaves all as it is', async () => {
    const client = await cluster.connect(database);
    const startedAt = new Date('2026-11-21T02:00:00Z');
    const holder = formatLockHolder({ operation: 'full', startedAt, host: 'db1', pid: 4711 });
    const key = backupLockKey(database);
    const lock = await acquireDatabaseLock({ client, key, holder, waitMs: 0 });
    await expectUntouched(await inPlace(), 6, /is locked by full on db1/);
    await lock.release();
  });

  it('holds every row that was ever confirmed: writers wait from its beginning on', async () => {
    await cluster.sql('CREATE TABLE notes (id serial, big text)', database);
    const confirmed: number[] = [];
    let isOver = false;
    const write = async () => {
      const client = await cluster.connect(database);
      try {
        while (!isOver) {
          const { rows } = await client.query(
            "INSERT INTO notes (big) SELECT repeat('x', 1000) RETURNING id",
          );
          confirmed.push(rows[0].id);
        }
      } catch {
        // The drop has ended it.
      }
    };
    const writers = [write(), write(), write()];
    await until('some rows', () => confirmed.length > 50 || null);
    const outcome = await inPlace();
    isOver = true;
    await Promise.all(writers);
    expect(outcome.status, outcome.stderr).toBe(0);
    await type(jsonOf<{ safety_backup: Safety }>(outcome).safety_backup.command);
    const rows = await cluster.sql('SELECT id FROM notes', database);
    const saved = new Set(rows.map(({ id }) => id));
    expect(confirmed.filter((id) => !saved.has(id))).toEqual([]);
  });

  it('is not held up by transactions that are left open, or that want a table alone', async () => {
    const idle = await cluster.connect(database);
    await idle.query("BEGIN; UPDATE which SET state = 'of an idle client'");
    const greedy = await cluster.connect(database);
    const truncated = greedy.query('TRUNCATE which').catch((error: unknown) => error);
    const outcome = await inPlace();
    expect(outcome.status, outcome.stderr).toBe(0);
    await type(jsonOf<{ safety_backup: Safety }>(outcome).safety_backup.command);
    // It is ended after the one that it waits for. On a busy machine it may get through in between:
    // that is before the safety backup.
    expect(await stateOf()).toBe((await truncated) instanceof Error ? 'live' : '');
  });
});

describe('when it fails after the drop', () => {
  const broken = () =>
    tamperedBackup(backedUp, join(bench.folder, 'broken'), (stored) => {
      const text = zstdDecompressSync(stored).toString('latin1');
      const changed = text.replaceAll('CREATE TABLE public.which', 'CREATE TABEL public.which');
      expect(changed).not.toBe(text);
      return zstdCompressSync(Buffer.from(changed, 'latin1'));
    });

  it('says which safety backup brings it back, and how; that works', async () => {
    const outcome = await bench.run('restore_backup', [await broken(), ...flags]);
    expect(outcome.status, outcome.stderr).toBe(3);
    const { error } = jsonOf<{ error: { message: string; safety_backup: Safety } }>(outcome);
    const { label, command } = error.safety_backup;
    expect(error.message).toContain(`was dropped before, its safety backup is ${label}`);
    expect(outcome.stderr).toContain(`hint: To bring the old database back: ${command}`);
    expect(outcome.stderr).not.toContain('is untouched');
    expect(await databases()).toEqual(['postgres']);
    await type(command);
    expect(await stateOf()).toBe('live');
  });

  it('the next restore, in place or not, works from what is left', async () => {
    for (const argv of [[], ['--in-place']]) {
      const failed = await bench.run('restore_backup', [await broken(), ...flags]);
      expect(failed.status).toBe(3);
      const next = await bench.run('restore_backup', [backedUp.label, '--force', ...argv]);
      expect(next.status, next.stderr).toBe(0);
      expect(await databases()).toEqual(['postgres', database]);
      expect(await stateOf()).toBe('backed up');
    }
  });

  it.each([[['--in-place']], [[]]])(
    'a database that a broken DROP has left is no hindrance (%j)',
    async (argv) => {
      // How DROP DATABASE marks a database before it removes its files (PostgreSQL 15.4).
      await cluster.sql(
        `UPDATE pg_database SET datconnlimit = -2 WHERE datname = '${database.replaceAll("'", "''")}'`,
      );
      const before = await labels();
      const outcome = await bench.run('restore_backup', [
        backedUp.label,
        '--force',
        '--json',
        ...argv,
      ]);
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(jsonOf(outcome)).toMatchObject({ before: null, safety_backup: null });
      expect(await databases()).toEqual(['postgres', database]);
      expect(await stateOf()).toBe('backed up');
      expect(await labels()).toEqual(before);
    },
  );
});
