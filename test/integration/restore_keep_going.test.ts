/** restore_backup.ts --keep-going: what can be saved of a dump with errors, or of a damaged one. */

import { cp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import type { Outcome, RunOptions } from '../support/command.ts';
import { tamperedBackup } from '../support/tampered_backup.ts';
import {
  flipped,
  jsonOf,
  openWorkbench,
  quoted,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

const database = `sh"op's $(x)`;
const rows = 60_000;
let cluster: TestCluster;
let bench: Workbench;
let backedUp: TakenBackup;
let uncompressed: TakenBackup;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  await cluster.sql(`CREATE DATABASE ${quoted(database)}`);
  await cluster.sql(
    [
      'CREATE EXTENSION pg_trgm',
      "CREATE TABLE a_first AS SELECT 'backed up' AS state",
      `CREATE TABLE goods AS SELECT n AS id, sha512(n::text::bytea)::text AS name
         FROM generate_series(1, ${rows}) n`,
      'CREATE INDEX ON goods (id)',
      `ALTER DATABASE ${quoted(database)} SET work_mem = 5432`,
    ],
    database,
  );
  backedUp = await bench.backUp(database);
  uncompressed = await bench.backUp(database, ['--compression', 'none', '--type', 'manual']);
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

async function databases(): Promise<string[]> {
  const sql = 'SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY oid';
  return (await cluster.sql(sql)).map(({ datname }) => String(datname));
}

beforeEach(async () => {
  for (const name of await databases()) {
    if (name !== 'postgres') await cluster.sql(`DROP DATABASE ${quoted(name)} (FORCE)`);
  }
  await cluster.sql(`CREATE DATABASE ${quoted(database)}`);
  await cluster.sql("CREATE TABLE a_first AS SELECT 'live' AS state", database);
});

const stateOf = async (name = database) =>
  (await cluster.sql('SELECT state FROM a_first', name)).map(({ state }) => state).join();
const countOf = async (name: string) =>
  Number((await cluster.sql('SELECT count(*) AS count FROM goods', name))[0]?.count);

interface Left {
  readonly code: string;
  readonly left: string;
  readonly damaged: boolean;
  readonly errors: number;
  readonly first_errors: readonly { command: string | null; message: string }[];
  readonly next: Record<'look_into_it' | 'take_it_as_it_is' | 'drop_it', string>;
}

const keepGoing = (argv: readonly string[], options?: RunOptions): Promise<Outcome> =>
  bench.run('restore_backup', [...argv, '--keep-going', '--force', '--json'], options);

/** Nothing was swapped, and the new database lies beside the old one. */
async function expectLeft(outcome: Outcome, status: number, code: string): Promise<Left> {
  expect(outcome.status, outcome.stderr).toBe(status);
  const { error } = jsonOf<{ error: Left }>(outcome);
  expect(error.code).toBe(code);
  expect(await databases()).toEqual(['postgres', database, error.left]);
  expect(await stateOf()).toBe('live');
  expect(outcome.stderr).toContain('is untouched');
  for (const command of Object.values(error.next)) expect(outcome.stderr).toContain(command);
  return error;
}

/** Statements as somebody types them who copies a line. */
async function type(sql: string): Promise<void> {
  await cluster.sql(sql.split(/(?<=;) /));
}

const inDump = (from: string, to: string) => (stored: Buffer) => {
  const text = zstdDecompressSync(stored).toString('latin1');
  expect(text).toContain(from);
  return zstdCompressSync(Buffer.from(text.replaceAll(from, to), 'latin1'));
};
const broken = () =>
  tamperedBackup(backedUp, join(bench.folder, 'broken'), inDump('pg_trgm', 'pg_nope'));

describe('a dump with errors', () => {
  it.each(['1', '2'])('is restored but for them, and left (--jobs %s)', async (jobs) => {
    const outcome = await keepGoing([await broken(), '--jobs', jobs]);
    const error = await expectLeft(outcome, 3, 'RESTORE_FAILED');
    expect(error).toMatchObject({ damaged: false, errors: 2 });
    const [first] = error.first_errors;
    expect(first?.command).toMatch(/^CREATE EXTENSION IF NOT EXISTS pg_nope/);
    expect(outcome.stderr).toMatch(/warning: CREATE EXTENSION.*pg_nope.*: .*not available/);
    expect(outcome.stderr).toContain('2 errors of pg_restore; what could be restored is in');
    expect([await stateOf(error.left), await countOf(error.left)]).toEqual(['backed up', rows]);
  });

  it('all of them are in the log', async () => {
    await keepGoing([await broken()]);
    const logs = await readdir(join(bench.repository, 'logs'));
    const texts = await Promise.all(
      logs.map((name) => readFile(join(bench.repository, 'logs', name), 'utf8')),
    );
    const told = texts.join('').match(/"msg":"pg_restore: could not execute query: [^\n]*pg_nope/g);
    expect(told?.length).toBeGreaterThanOrEqual(2);
  });

  it('no later restore drops what was left, and none of --all backs it up', async () => {
    const { left } = await expectLeft(await keepGoing([await broken()]), 3, 'RESTORE_FAILED');
    const next = await bench.run('restore_backup', [backedUp.label, '--force']);
    expect(next.status, next.stderr).toBe(0);
    expect(await databases()).toContain(left);
    expect(await countOf(left)).toBe(rows);
  });

  it('is taken as it is, with what the database itself carries, by what is printed', async () => {
    const { left, next } = await expectLeft(await keepGoing([await broken()]), 3, 'RESTORE_FAILED');
    expect(next.look_into_it).toBe(`psql --dbname='${left.replaceAll("'", "'\\''")}'`);
    await type(next.take_it_as_it_is);
    expect(await stateOf()).toBe('backed up');
    const [setting] = await cluster.sql("SELECT current_setting('work_mem') AS mem", database);
    expect(setting).toEqual({ mem: '5432kB' });
    const [before = ''] = (await databases()).filter((name) => name.includes('__before_'));
    expect(await stateOf(before)).toBe('live');
  });

  it('is dropped by what is printed', async () => {
    const { next } = await expectLeft(await keepGoing([await broken()]), 3, 'RESTORE_FAILED');
    await type(next.drop_it);
    expect(await databases()).toEqual(['postgres', database]);
  });

  it('where nothing is replaced, one rename takes it', async () => {
    const outcome = await keepGoing([await broken(), '--target-database', 'new']);
    expect(outcome.status).toBe(3);
    await type(jsonOf<{ error: Left }>(outcome).error.next.take_it_as_it_is);
    expect(await databases()).toEqual(['postgres', database, 'new']);
    expect(await stateOf('new')).toBe('backed up');
  });

  it('that brings other rows than were backed up is left too', async () => {
    const tables = backedUp.manifest.tables?.map((table) => ({ ...table, rows: table.rows + 1 }));
    const folder = join(bench.folder, 'other rows');
    const other = await tamperedBackup(backedUp, folder, (dump) => dump, { tables: tables ?? [] });
    const error = await expectLeft(await keepGoing([other]), 4, 'DIFFERENT');
    expect(error).toMatchObject({ damaged: false, errors: 0 });
  });
});

describe('a dump without errors', () => {
  it('is swapped in as ever', async () => {
    const outcome = await keepGoing([backedUp.label]);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(await stateOf()).toBe('backed up');
    expect(jsonOf(outcome)).toMatchObject({ before: expect.stringContaining('__before_') });
  });

  it.each([
    ['no', 2, 'live'],
    ['yes', 2, 'live'],
    [database, 0, 'backed up'],
  ])('in production wants the name typed: %j ends with %d', async (typed, status, state) => {
    const argv = [backedUp.label, '--keep-going'];
    const environment = { ENVIRONMENT: 'production' };
    const outcome = await bench.run('restore_backup', argv, { typed, environment });
    expect(outcome.status, outcome.stderr).toBe(status);
    expect(await stateOf()).toBe(state);
  });
});

describe('a damaged backup', () => {
  /** A copy whose dump is changed, and nothing else. */
  async function damaged(backup: TakenBackup, change: (bytes: Buffer) => Buffer): Promise<string> {
    const folder = join(bench.folder, 'damaged');
    await rm(folder, { recursive: true, force: true });
    await cp(backup.folder, folder, { recursive: true });
    const dump = backup.manifest.files.find(({ role }) => role === 'dump');
    const path = join(folder, dump?.name ?? '');
    await writeFile(path, change(await readFile(path)));
    return folder;
  }

  it('is refused without --keep-going', async () => {
    const folder = await damaged(backedUp, flipped);
    const outcome = await bench.run('restore_backup', [folder, '--force']);
    expect(outcome.status).toBe(4);
    expect(await databases()).toEqual(['postgres', database]);
  });

  it.each([
    ['a bit is flipped in it', flipped],
    ['its end is missing', (bytes: Buffer) => bytes.subarray(0, bytes.length * 0.7)],
  ])('is saved as far as it can be read: %s', async (_what, change) => {
    const folder = await damaged(backedUp, change);
    const outcome = await keepGoing([folder, '--jobs', '2']);
    const error = await expectLeft(outcome, 4, 'DAMAGED');
    expect(error.damaged).toBe(true);
    expect(outcome.stderr).toMatch(/error: .*database\.dump\.zst[^\n]*nothing was swapped/);
    expect(await stateOf(error.left)).toBe('backed up');
  });

  it('that can be read to its end is never swapped in: a row of it may be wrong', async () => {
    const folder = await damaged(uncompressed, (bytes) => {
      const copy = Buffer.from(bytes);
      const at = copy.indexOf('\\\\x', Math.floor(copy.length / 2)) + 10;
      copy[at] = copy[at] === 0x61 ? 0x62 : 0x61;
      return copy;
    });
    const error = await expectLeft(await keepGoing([folder]), 4, 'DAMAGED');
    expect(error.errors).toBe(0);
    expect(await countOf(error.left)).toBe(rows);
  });

  it('without its roles is restored without them', async () => {
    const folder = await damaged(backedUp, (bytes) => bytes);
    const globals = backedUp.manifest.files.find(({ role }) => role === 'globals')?.name ?? '';
    await writeFile(join(folder, globals), 'nothing of the kind');
    const outcome = await keepGoing([folder]);
    const error = await expectLeft(outcome, 4, 'DAMAGED');
    expect(outcome.stderr).toContain('warning: no roles were created');
    expect(await countOf(error.left)).toBe(rows);
  });

  it('that does not even begin leaves nothing that could be taken for something', async () => {
    const folder = await damaged(backedUp, () => Buffer.alloc(0));
    const error = await expectLeft(await keepGoing([folder]), 4, 'DAMAGED');
    const tables = await cluster.sql(
      "SELECT FROM pg_tables WHERE schemaname = 'public'",
      error.left,
    );
    expect(tables).toEqual([]);
  });
});
