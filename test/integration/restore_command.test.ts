/** scripts/restore_backup.ts on a real server: what it takes, what it asks, what it replaces. */

import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { serializeManifest } from '../../src/core/manifest_codec.ts';
import { sha256Of, sumsOf } from '../../src/core/sums.ts';
import { acquireDatabaseLock, restoreLockKey } from '../../src/postgres/advisory_lock.ts';
import { formatLockHolder } from '../../src/postgres/lock_holder.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import type { Outcome, RunOptions } from '../support/command.ts';
import {
  flipped,
  jsonOf,
  openWorkbench,
  programOutput,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
let daily: TakenBackup;
let weekly: TakenBackup;

const setState = (state: string) => [
  `DROP TABLE IF EXISTS which`,
  `CREATE TABLE which AS SELECT '${state}' AS state`,
];

beforeAll(async () => {
  cluster = await startTestCluster({ settings: { max_prepared_transactions: '5' } });
  bench = await openWorkbench(cluster);
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql(
    [
      'CREATE EXTENSION pg_trgm',
      'CREATE TABLE goods AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 500) n',
      ...setState('weekly'),
    ],
    'shop',
  );
  weekly = await bench.backUp('shop', ['--type', 'weekly']);
  await cluster.sql(setState('daily'), 'shop');
  daily = await bench.backUp('shop');
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

async function databases(): Promise<string[]> {
  const sql = 'SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY datname';
  return (await cluster.sql(sql)).map(({ datname }) => String(datname));
}

/** The live database is there with a state of its own, and nothing else. */
beforeEach(async () => {
  for (const name of await databases()) {
    if (name !== 'postgres') await cluster.sql(`DROP DATABASE "${name}" (FORCE)`);
  }
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql(setState('live'), 'shop');
});

const stateOf = async (database: string) =>
  (await cluster.sql('SELECT state FROM which', database)).map(({ state }) => state).join();

const restore = (argv: readonly string[], options?: RunOptions): Promise<Outcome> =>
  bench.run('restore_backup', argv, options);

/** The restore must have ended so, with the live database as it was and nothing beside it. */
async function expectUntouched(outcome: Outcome, status: number, words: RegExp): Promise<void> {
  expect(outcome.stderr).toMatch(words);
  expect(outcome.status).toBe(status);
  expect(await databases()).toEqual(['postgres', 'shop']);
  expect(await stateOf('shop')).toBe('live');
}

describe('which backup', () => {
  it('--latest: the youngest, in the place of the old database, which stays', async () => {
    const outcome = await restore(['--latest', 'shop', '--force', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    const result = jsonOf<{ before: string }>(outcome);
    expect(result).toMatchObject({ database: 'shop', tables: 2, rows: 501, roles_created: [] });
    expect(result.before).toMatch(/^shop__before_\d{8}T\d{6}Z$/);
    expect(outcome.stderr).toContain(`the old database stays as "${result.before}"`);
    expect(await databases()).toEqual(['postgres', 'shop', result.before]);
    expect([await stateOf('shop'), await stateOf(result.before)]).toEqual(['daily', 'live']);
  });

  it.each([
    ['--latest and --type', () => ['--latest', 'shop', '--type', 'weekly'], 'weekly'],
    ['a label', () => [weekly.label], 'weekly'],
    ['a label and its database', () => [daily.label, 'shop'], 'daily'],
  ] as const)('%s', async (_way, argv, expected) => {
    const outcome = await restore([...argv(), '--target-database', 'copy', '--force']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect([await stateOf('copy'), await stateOf('shop')]).toEqual([expected, 'live']);
  });

  it('a folder, and a dump in it, that were copied elsewhere', async () => {
    const copied = join(bench.folder, 'copied "here"');
    await cp(weekly.folder, copied, { recursive: true });
    const environment = { BACKUP_DIR: join(bench.folder, 'no repository') };
    for (const path of [copied, join(copied, 'database.dump.zst')]) {
      const argv = [path, '--target-database', 'copy', '--force', '--json'];
      const outcome = await restore(argv, { environment });
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(jsonOf(outcome)).toMatchObject({ database: 'copy', tables: 2, rows: 501 });
    }
    expect(await stateOf('copy')).toBe('weekly');
  });

  it('a dump that pg_dump made by hand, whatever compressed it, by a relative path', async () => {
    const args = ['--format=custom', 'shop'];
    const inside = await programOutput(cluster, 'pg_dump', args);
    const plain = await programOutput(cluster, 'pg_dump', ['--compress=0', ...args]);
    const files = {
      'by hand.dump': inside,
      'plain.dump': plain,
      'b.dump.gz': gzipSync(plain),
      'c.dump.zst': zstdCompressSync(plain),
    };
    for (const [name, bytes] of Object.entries(files)) {
      await writeFile(join(bench.folder, name), bytes);
      const outcome = await restore([name, 'by hand', '--force'], { cwd: bench.folder });
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(await stateOf('by hand')).toBe('live');
    }
  });

  it('a cluster must be said where several have a database of that name', async () => {
    const place = join(bench.repository, 'full/elsewhere/shop');
    await mkdir(place, { recursive: true });
    await cp(daily.folder, join(place, daily.label), { recursive: true });
    try {
      const argv = ['--latest', 'shop', '--force'];
      const [server] = await cluster.sql(
        'SELECT system_identifier::text AS id FROM pg_control_system()',
      );
      await expectUntouched(
        await restore(argv),
        2,
        new RegExp(`several clusters: .*${server?.id}.*\n.*--cluster`),
      );
      const label = await restore([daily.label, '--force']);
      await expectUntouched(label, 2, /several clusters.*\n.*--cluster/);
      const chosen = await restore([...argv, '--cluster', String(server?.id)]);
      expect(chosen.status, chosen.stderr).toBe(0);
    } finally {
      await rm(join(bench.repository, 'full/elsewhere'), { recursive: true });
    }
  });

  it('--list tells them all, or those of a tier', async () => {
    const all = await restore(['--list']);
    expect([all.status, all.stdout]).toEqual([0, expect.stringMatching(/weekly[\s\S]*daily/)]);
    const some = await restore(['--list', 'shop', '--type', 'weekly', '--json']);
    expect(jsonOf<{ backups: { label: string }[] }>(some).backups).toEqual([
      expect.objectContaining({ label: weekly.label, state: 'complete' }),
    ]);
  });
});

describe('before it begins', () => {
  it('--dry-run tells the plan and changes nothing', async () => {
    const outcome = await restore(['--latest', 'shop', '--dry-run', '--jobs', '2']);
    await expectUntouched(outcome, 0, /^$/);
    expect(outcome.stdout).toContain(`backup:  ${daily.label}, of "shop"`);
    expect(outcome.stdout).toMatch(/4\. swap: "shop" \(.*\) becomes "shop__before_/);
    const json = await restore(['--latest', 'shop', '--dry-run', '--json']);
    expect(jsonOf(json)).toMatchObject({
      dry_run: true,
      plan: { target_database: 'shop', tables: 2, rows: 501, compare: 'counts' },
    });
  });

  it('--verify-only reads the backup whole and changes nothing', async () => {
    const outcome = await restore(['--latest', 'shop', '--verify-only', '--json']);
    await expectUntouched(outcome, 0, /verified: every byte/);
    expect(jsonOf(outcome)).toMatchObject({ backup: daily.label, ok: true, tables: 2 });
  });

  it('without a terminal it wants --force', async () => {
    await expectUntouched(await restore(['--latest', 'shop']), 2, /no terminal.*\n.*--force/);
  });

  it.each([
    [undefined, 'yes', 0],
    [undefined, 'no', 2],
    [undefined, '', 2],
    [undefined, 'shop', 2],
    ['production', 'yes', 2],
    ['production', 'shop', 0],
    ['staging', 'yes', 0],
  ])('with ENVIRONMENT=%s, %j typed ends with %d', async (kind, typed, status) => {
    const environment: Record<string, string> = kind === undefined ? {} : { ENVIRONMENT: kind };
    const outcome = await restore(['--latest', 'shop'], { typed, environment });
    expect(outcome.stderr).toContain('Replace "shop"?');
    if (status !== 0) await expectUntouched(outcome, status, /stopped\nhint: Nothing was changed/);
    expect(outcome.status, outcome.stderr).toBe(status);
    expect(await stateOf('shop')).toBe(status === 0 ? 'daily' : 'live');
  });
});

describe('clients of the old database', () => {
  it('work on until the swap, are ended, and find the new one when they come back', async () => {
    const client = await cluster.connect('shop');
    await client.query("BEGIN; UPDATE which SET state = 'of a busy client'");
    const running = restore(['--latest', 'shop', '--force', '--json']);
    let answers = 0;
    const ended = await (async () => {
      for (;;) {
        try {
          await client.query('SELECT state FROM which');
          answers += 1;
          await sleep(5);
        } catch (error) {
          return error;
        }
      }
    })();
    const outcome = await running;
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(ended).toBeInstanceOf(Error);
    expect(answers).toBeGreaterThan(5);
    expect(jsonOf(outcome)).toMatchObject({ sessions_ended: 1 });
    expect(await stateOf('shop')).toBe('daily');
    expect(await stateOf(jsonOf<{ before: string }>(outcome).before)).toBe('live');
  });

  it('a prepared transaction stands in the way: nothing is swapped', async () => {
    await cluster.sql(
      ["BEGIN; UPDATE which SET state = 'x'", "PREPARE TRANSACTION 'it''s'"],
      'shop',
    );
    try {
      const outcome = await restore(['--latest', 'shop', '--force']);
      const words =
        /note: .*prepared transaction "it's"[\s\S]*error: .*untouched.*\nhint: .*ROLLBACK PREPARED 'it''s'/;
      await expectUntouched(outcome, 3, words);
    } finally {
      await cluster.sql("ROLLBACK PREPARED 'it''s'", 'shop');
    }
  });
});

describe('whatever fails, the old database is untouched', () => {
  /** A copy of a backup with other bytes in its dump and whatever else, digests and all correct. */
  async function tampered(
    change: (dump: Buffer) => Buffer,
    manifest: Partial<TakenBackup['manifest']> = {},
  ): Promise<string> {
    const folder = join(bench.folder, 'tampered');
    await cp(daily.folder, folder, { recursive: true });
    const path = join(folder, 'database.dump.zst');
    const plain = change(zstdDecompressSync(await readFile(path)));
    const stored = zstdCompressSync(plain);
    const measure = (bytes: Buffer) => ({ bytes: bytes.length, sha256: sha256Of(bytes) });
    const files = daily.manifest.files.map((file) =>
      file.role === 'dump' ? { ...file, plain: measure(plain), stored: measure(stored) } : file,
    );
    const changed = { ...daily.manifest, ...manifest, files };
    const bytes = serializeManifest(changed);
    await writeFile(path, stored);
    await writeFile(join(folder, 'manifest.json'), bytes);
    await writeFile(join(folder, 'SHA256SUMS'), sumsOf(changed, bytes));
    return folder;
  }

  it.each(['1', '2'])('a backup is damaged (--jobs %s)', async (jobs) => {
    const folder = join(bench.folder, 'damaged');
    await cp(daily.folder, folder, { recursive: true });
    const path = join(folder, 'database.dump.zst');
    await writeFile(path, flipped(await readFile(path)));
    const outcome = await restore([folder, '--force', '--jobs', jobs]);
    await expectUntouched(outcome, 4, /error: .*database\.dump\.zst/);
  });

  it.each(['1', '2'])('pg_restore fails in the middle (--jobs %s)', async (jobs) => {
    const folder = await tampered((dump) =>
      Buffer.from(dump.toString('latin1').replaceAll('pg_trgm', 'pg_nope'), 'latin1'),
    );
    const outcome = await restore([folder, '--force', '--jobs', jobs, '--json']);
    await expectUntouched(outcome, 3, /error: .*pg_nope/);
    expect(outcome.stderr).toContain('database "shop" is untouched');
    expect(jsonOf(outcome)).toMatchObject({ error: { code: 'RESTORE_FAILED' } });
  });

  it('what came back differs from the manifest', async () => {
    const tables = daily.manifest.tables?.map((table) => ({ ...table, rows: table.rows + 1 }));
    const folder = await tampered((dump) => dump, { tables: tables ?? [] });
    const outcome = await restore([folder, '--force', '--json']);
    await expectUntouched(outcome, 4, /differs: "public"\."goods" has 500 of 501 rows/);
    expect(jsonOf(outcome)).toMatchObject({ error: { code: 'DIFFERENT', exit_status: 4 } });
    const unasked = await restore([folder, '--force', '--compare', 'none']);
    expect(unasked.status, unasked.stderr).toBe(0);
  });

  it('another restore of the same database is running', async () => {
    const client = await cluster.connect();
    const startedAt = new Date('2026-11-21T02:00:00Z');
    const holder = formatLockHolder({ operation: 'restore', startedAt, host: 'db1', pid: 4711 });
    const key = restoreLockKey('shop');
    const lock = await acquireDatabaseLock({ client, key, holder, waitMs: 0 });
    const second = await restore(['--latest', 'shop', '--force']);
    const words =
      /a restore of database "shop" is locked by restore on db1 \(process 4711\), since 2026-11-21T02:00:00Z/;
    await expectUntouched(second, 6, words);
    const beside = await restore(['--latest', 'shop', '--force', '--target-database', 'beside']);
    expect(beside.status, beside.stderr).toBe(0);
    await lock.release();
    expect((await restore(['--latest', 'shop', '--force'])).status).toBe(0);
  });
});

describe('what dead restores have left', () => {
  const left = 'shop__restoring_20260101T000000Z';

  it('is dropped by the next restore of the same target, and only that', async () => {
    const others = [
      'other__restoring_20260101T000000Z',
      'shop__restoring_20260102T000000Z',
      'shop__before_20260101T000000Z',
    ];
    for (const name of [left, ...others]) await cluster.sql(`CREATE DATABASE "${name}"`);
    await cluster.sql([
      `COMMENT ON DATABASE "${left}" IS 'holdfast: being restored as "shop"'`,
      `COMMENT ON DATABASE "${others[0]}" IS 'holdfast: being restored as "other"'`,
    ]);
    await cluster.sql('CREATE TABLE of_somebody ()', others[1]);
    const outcome = await restore(['--latest', 'shop', '--force']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain(`dropped ${left}, which a restore that never ended has left`);
    const names = await databases();
    expect(names).toEqual(expect.arrayContaining(others));
    expect(names).not.toContain(left);
  });
});

describe('subscriptions', () => {
  it('come back disabled and without a slot, also of an enabled one that has a slot', async () => {
    await cluster.sql(
      [
        "CREATE SUBSCRIPTION sub CONNECTION 'host=/nowhere dbname=x' PUBLICATION p WITH (connect = false, slot_name = 'far')",
        'ALTER SUBSCRIPTION sub ENABLE',
      ],
      'shop',
    );
    const { label } = await bench.backUp('shop', ['--type', 'manual']);
    const outcome = await restore([label, '--force', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain('note:    the subscription "sub" stays with the old database');
    const all = await cluster.sql(
      'SELECT datname, subenabled, subslotname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid ORDER BY 1',
    );
    const { before } = jsonOf<{ before: string }>(outcome);
    expect(all).toEqual([
      { datname: 'shop', subenabled: false, subslotname: null },
      { datname: before, subenabled: true, subslotname: 'far' },
    ]);
    for (const name of ['shop', before]) {
      const detach = ['DISABLE', 'SET (slot_name = NONE)'].map(
        (what) => `ALTER SUBSCRIPTION sub ${what}`,
      );
      await cluster.sql([...(name === before ? detach : []), 'DROP SUBSCRIPTION sub'], name);
    }
  });
});
