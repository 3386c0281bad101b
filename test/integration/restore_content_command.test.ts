/** restore_backup.ts --compare content: a restore that proves every row before it swaps. */

import { chmod, cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/core/errors.ts';
import { serializeManifest } from '../../src/core/manifest_codec.ts';
import { sumsOf } from '../../src/core/sums.ts';
import { moneyOption } from '../../src/postgres/copy_text.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import type { Outcome } from '../support/command.ts';
import {
  jsonOf,
  openWorkbench,
  programOutput,
  quoted,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

const goods = `"odd ""s"""."goods\n"`;

let cluster: TestCluster;
let bench: Workbench;
let taken: TakenBackup;
/** While this file is not there, the last index of the database is not finished. */
let goOn: string;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  const folder = join(bench.folder, 'for the server');
  await mkdir(folder);
  await chmod(folder, 0o755);
  goOn = join(folder, 'go on');
  await writeFile(goOn, '');
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql(
    [
      'CREATE SCHEMA "odd ""s"""',
      `CREATE TABLE ${goods} AS
         SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 500) AS n`,
      'CREATE TABLE last AS SELECT 1 AS a',
      `CREATE FUNCTION wait(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $f$
         BEGIN
           WHILE pg_catalog.pg_stat_file('${goOn}', true) IS NULL LOOP
             PERFORM pg_catalog.pg_sleep(0.02);
           END LOOP;
           RETURN a;
         END $f$`,
      'CREATE INDEX ON last (wait(a))',
      "SELECT lo_from_bytea(42, 'large')",
    ],
    'shop',
  );
  taken = await bench.backUp('shop');
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

async function databases(): Promise<string[]> {
  const sql = 'SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname';
  return (await cluster.sql(sql)).map(({ datname }) => String(datname));
}

beforeEach(async () => {
  for (const name of await databases()) {
    if (name !== 'postgres') await cluster.sql(`DROP DATABASE ${quoted(name)} (FORCE)`);
  }
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql("CREATE TABLE which AS SELECT 'live' AS state", 'shop');
});

const restore = (argv: readonly string[]): Promise<Outcome> =>
  bench.run('restore_backup', [...argv, '--compare', 'content', '--force', '--json']);

async function expectUntouched(): Promise<void> {
  expect(await databases()).toEqual(['postgres', 'shop']);
  expect(await cluster.sql('SELECT state FROM which', 'shop')).toEqual([{ state: 'live' }]);
}

/** The database that a restore is building, once a query finds something in it. */
async function restoringWith(sql: string): Promise<string> {
  for (;;) {
    const name = (await databases()).find((each) => each.includes('__restoring_'));
    const rows = name === undefined ? [] : await cluster.sql(sql, name).catch(() => []);
    if (name !== undefined && rows.length > 0) return name;
    await sleep(20);
  }
}

describe('a restore that compares the content', () => {
  it.each(['1', '2'])('says so, and swaps what is equal (--jobs %s)', async (jobs) => {
    const plan = await restore(['--latest', 'shop', '--jobs', jobs, '--dry-run']);
    expect(jsonOf(plan)).toMatchObject({ dry_run: true, plan: { compare: 'content' } });
    expect(plan.stderr + plan.stdout).not.toContain('verified');
    const outcome = await restore(['--latest', 'shop', '--jobs', jobs]);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain('compare every row and large object with the backup');
    expect(outcome.stderr).toContain('compared: the content of 2 tables, 501 rows, all equal');
    expect(jsonOf(outcome)).toMatchObject({ tables: 2, rows: 501, warnings: [] });
    expect(await cluster.sql('SELECT a FROM last', 'shop')).toEqual([{ a: 1 }]);
  });

  it.each([
    [
      'a row',
      `SELECT FROM ${goods} LIMIT 1`,
      `UPDATE ${goods} SET name = md5('other') WHERE id = 250`,
      String.raw`"odd ""s""".U&"goods\\000a" has other values in its 500 rows`,
    ],
    [
      'a large object',
      'SELECT FROM pg_largeobject WHERE loid = 42',
      "SELECT lo_put(42, 0, 'L')",
      'the 1 large objects are not the same',
    ],
  ])(
    '%s that somebody changes meanwhile: status 4, nothing is swapped',
    async (_what, there, sql, words) => {
      await rm(goOn);
      const running = restore(['--latest', 'shop', '--jobs', '2']);
      try {
        await cluster.sql(sql, await restoringWith(there));
      } finally {
        await writeFile(goOn, '');
      }
      const outcome = await running;
      expect(outcome.status, outcome.stderr).toBe(4);
      const { error } = jsonOf<{ error: { code: string; message: string } }>(outcome);
      expect(error.code).toBe('DIFFERENT');
      expect(error.message).toContain(words.replaceAll('\\\\', '\\'));
      await expectUntouched();
    },
  );

  it('is interrupted while it compares: pg_dump ends, and nothing is left', async () => {
    await rm(goOn);
    const stop = new AbortController();
    const argv = ['--latest', 'shop', '--jobs', '2', '--compare', 'content', '--force'];
    const running = bench.run('restore_backup', argv, { signal: stop.signal });
    const name = await restoringWith(`SELECT FROM ${goods} LIMIT 1`);
    const holder = await cluster.connect(name);
    await holder.query(`BEGIN; LOCK TABLE ${goods} IN ACCESS EXCLUSIVE MODE`);
    await writeFile(goOn, '');
    const waiting = `SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ~ '^LOCK TABLE'`;
    while ((await cluster.sql(waiting, name)).length === 0) await sleep(20);
    stop.abort(new HoldfastError('INTERRUPTED', 'interrupted by SIGINT'));
    const outcome = await running;
    expect(outcome.status, outcome.stderr).toBe(130);
    await expectUntouched();
  });

  it('leaves what differs to be looked at, where it keeps going', async () => {
    await rm(goOn);
    const running = restore(['--latest', 'shop', '--jobs', '2', '--keep-going']);
    try {
      const name = await restoringWith(`SELECT FROM ${goods} LIMIT 1`);
      await cluster.sql(`UPDATE ${goods} SET name = '' WHERE id = 7`, name);
    } finally {
      await writeFile(goOn, '');
    }
    const outcome = await running;
    expect(outcome.status, outcome.stderr).toBe(4);
    const [left = ''] = (await databases()).filter((name) => name.includes('__restoring_'));
    const rows = await cluster.sql(`SELECT name FROM ${goods} WHERE id = 7`, left);
    expect(rows).toEqual([{ name: '' }]);
    expect(await cluster.sql('SELECT state FROM which', 'shop')).toEqual([{ state: 'live' }]);
  });
});

describe('what cannot be compared is refused before anything is touched', () => {
  it('a backup whose tables were not counted', async () => {
    const folder = join(bench.folder, 'uncounted');
    await cp(taken.folder, folder, { recursive: true });
    const text = await readFile(join(folder, 'manifest.json'), 'utf8');
    const manifest = { ...JSON.parse(text), tables: null };
    const bytes = serializeManifest(manifest);
    await writeFile(join(folder, 'manifest.json'), bytes);
    await writeFile(join(folder, 'SHA256SUMS'), sumsOf(manifest, bytes));
    for (const more of [[], ['--dry-run']]) {
      const outcome = await restore([folder, 'shop', ...more]);
      expect(outcome.stderr).toMatch(
        /cannot be compared: its manifest holds no digests of the tables/,
      );
      expect(outcome.stderr).not.toMatch(/verified|__restoring_/);
      expect(outcome.status).toBe(2);
    }
    await expectUntouched();
  });

  it('a dump that no manifest belongs to', async () => {
    const file = join(bench.folder, 'by hand.dump');
    await writeFile(file, await programOutput(cluster, 'pg_dump', ['--format=custom', 'shop']));
    const outcome = await restore([file, 'shop']);
    expect(outcome.stderr).toMatch(/cannot be compared: no manifest of Holdfast belongs to it/);
    expect(outcome.status).toBe(2);
    await expectUntouched();
  });
});

describe('money', () => {
  it('is read under the locale of the database that was backed up, if there is one', async () => {
    const client = await cluster.connect();
    const settings = ['work_mem=9MB', 'lc_monetary=C'];
    expect(await moneyOption(client, settings)).toBe('-c lc_monetary=C');
    expect(await moneyOption(client, ['lc_monetary=nowhere at all'])).toBeNull();
    expect(await moneyOption(client, ['work_mem=9MB'])).toBeNull();
    await client.end();
  });
});
