/**
 * Incremental base backups where something is in their way: a whole one is taken, with the reason.
 * On servers before PostgreSQL 17 the reason is always the same one.
 */

import { readdirSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whileRemoving } from '../../src/catalog/in_use.ts';
import {
  asServerUser,
  copyBackup,
  makeServerFolder,
  runTakeBase,
  spawnTakeBase,
  startRestored,
  type TakenBase,
} from '../support/base_backup.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { send, until } from '../support/fault.ts';
import { flipped, jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
let place: string;
let isIncremental: boolean;

beforeAll(async () => {
  cluster = await startTestCluster({ settings: { wal_level: 'replica' } });
  bench = await openWorkbench(cluster);
  place = await makeServerFolder(cluster);
  isIncremental = cluster.major >= 17;
  if (isIncremental) await set('summarize_wal = on');
  await cluster.sql(
    'CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 50000) AS i',
  );
});
afterAll(async () => {
  await cluster.stop({ immediate: true });
  await bench.remove();
  await rm(place, { recursive: true, force: true });
});

async function set(...assignments: string[]): Promise<void> {
  await cluster.sql(assignments.map((each) => `ALTER SYSTEM SET ${each}`));
  await cluster.sql('SELECT pg_reload_conf()');
}

/** With nothing in the way; the one that is taken next builds upon it. */
const whole = () => take('full');

async function take(
  mode: 'full' | 'incremental' = 'incremental',
  more: Readonly<Record<string, string>> = {},
): Promise<TakenBase> {
  await cluster.sql("UPDATE t SET text = md5(text || 'x') WHERE i % 100 = 0");
  const outcome = await runTakeBase({ ...bench.environment, ...more }, mode);
  expect(outcome.status, outcome.stderr).toBe(0);
  const taken = jsonOf<TakenBase>(outcome);
  if (taken.fullInstead !== null) expect(outcome.stderr).toContain(taken.fullInstead);
  return taken;
}

/** It is a whole one in place of an incremental one, for that reason. */
function expectWhole({ manifest, fullInstead }: TakenBase, reason: RegExp): void {
  expect([manifest.kind, manifest.parent]).toEqual(['base', null]);
  expect(fullInstead).toMatch(isIncremental ? reason : /has no incremental base backups/);
}

/** It builds upon that one, where the server can. */
function expectUpon({ manifest, fullInstead }: TakenBase, parent: TakenBase): void {
  expect(manifest.parent).toBe(isIncremental ? parent.manifest.label : null);
  expect(fullInstead === null).toBe(isIncremental);
}

const pathOf = ({ folder }: TakenBase, file: string) => join(bench.repository, folder, file);

describe('a whole base backup is taken in place of an incremental one', () => {
  it('where there is none yet', async () => {
    expectWhole(await take(), /there is no good base backup yet/);
    expect((await whole()).fullInstead).toBeNull();
  });

  it('where the server does not summarize its WAL', async () => {
    if (isIncremental) await set('summarize_wal = off');
    expectWhole(await take(), /summarize_wal is off/);
    if (isIncremental) await set('summarize_wal = on');
  });

  it('where its summaries do not reach back, in the words of the server', async () => {
    await whole();
    const summaries = join(cluster.dataDirectory, 'pg_wal/summaries');
    await cluster.sql(['SELECT pg_switch_wal()', 'CHECKPOINT']);
    const found = await until('a summary', async () => {
      const names = await readdir(summaries).catch(() => (isIncremental ? [] : ['none']));
      return names.length > 0 ? names : null;
    });
    if (isIncremental) for (const name of found) await rm(join(summaries, name));
    expectWhole(await take(), /WAL summaries are required on timeline 1 from/);
  });

  it('where WAL without what it needs was written since (wal_level = minimal)', async () => {
    const before = await whole();
    await set('wal_level = minimal', 'max_wal_senders = 0');
    if (isIncremental) await set('summarize_wal = off');
    await cluster.restart();
    await cluster.sql('CREATE TABLE unlogged_load AS SELECT i FROM generate_series(1, 9000) AS i');
    await set('wal_level = replica', 'max_wal_senders = 10');
    if (isIncremental) await set('summarize_wal = on');
    await cluster.restart();
    const taken = await take();
    expectWhole(taken, /WAL summaries are required|WAL summarization is not progressing/);
    expect(taken.manifest.start_timeline).toBe(before.manifest.start_timeline);
  });

  it('where a file of the one before is gone or cut', async () => {
    const first = await whole();
    await rename(pathOf(first, 'backup_manifest'), join(place, 'kept'));
    const taken = await take();
    expectWhole(taken, new RegExp(`${first.manifest.label}/backup_manifest is missing`));
    await truncate(pathOf(taken, 'base.tar.zst'), 1000);
    expectWhole(await take(), /base\.tar\.zst has 1000 bytes instead of \d+/);
    await rename(join(place, 'kept'), pathOf(first, 'backup_manifest'));
  });

  it('where the list of its files was changed', async () => {
    const first = await whole();
    const path = pathOf(first, 'backup_manifest');
    await writeFile(path, flipped(await readFile(path)));
    expectWhole(await take(), /cannot be built upon: .*backup_manifest differs/);
  });

  it('where page checksums were switched on or off since', async () => {
    await whole();
    const [row] = await cluster.sql('SHOW data_checksums');
    const flag = row?.data_checksums === 'on' ? '--disable' : '--enable';
    const run = async (program: string, ...args: string[]) => {
      const pgdata = ['--pgdata', cluster.dataDirectory];
      const path = join(cluster.binDirectory, program);
      const { status, stderr } = await asServerUser(cluster, path, [...pgdata, ...args]);
      expect(status, stderr).toBe(0);
    };
    await run('pg_ctl', '--mode=fast', '--wait', 'stop');
    await run('pg_checksums', flag, '--no-sync');
    await cluster.restart();
    expectWhole(await take(), /page checksums were switched on or off since/);
  });

  it('where the server knows nothing of the timeline of the one before', async () => {
    const copy = join(place, 'older state');
    const program = join(cluster.binDirectory, 'pg_basebackup');
    const from = [`--host=${cluster.socketDirectory}`, `--port=${cluster.port}`];
    const flags = ['--username=postgres', '--checkpoint=fast', '--no-sync', `--pgdata=${copy}`];
    const made = await asServerUser(cluster, program, [...from, ...flags]);
    expect(made.status, made.stderr).toBe(0);
    const signal = join(cluster.dataDirectory, 'standby.signal');
    await asServerUser(cluster, 'touch', [signal]);
    await cluster.restart();
    await cluster.sql(['SELECT pg_promote()', 'CHECKPOINT']);
    const onSecond = await whole();
    expect(onSecond.manifest.stop_timeline).toBe(2);
    const older = await startRestored(cluster, copy, place);
    try {
      const there = { PGHOST: place, PGPORT: '5439' };
      expectWhole(await take('incremental', there), /timeline 2 found in manifest, but not in/);
    } finally {
      await older.stop();
    }
  });
});

describe('an incremental base backup', () => {
  it('builds upon the youngest that nobody found damaged', async () => {
    const first = await whole();
    const second = await take();
    expectUpon(second, first);
    const path = pathOf(second, 'base.tar.zst');
    await writeFile(path, flipped(await readFile(path)));
    const found = await bench.run('verify_backups', [second.manifest.label]);
    expect(found.status, found.stderr).toBe(4);
    expectUpon(await take(), first);
  });

  it('goes on over a promotion', async () => {
    const first = await whole();
    const before = first.manifest.stop_timeline;
    await asServerUser(cluster, 'touch', [join(cluster.dataDirectory, 'standby.signal')]);
    await cluster.restart();
    await cluster.sql(['SELECT pg_promote()', 'CHECKPOINT']);
    const second = await take();
    expectUpon(second, first);
    expect(second.manifest.stop_timeline).toBe(before + 1);
  });

  it('without tablespaces is streamed, and restored by its restore.sh', async () => {
    const first = await whole();
    const temporary = join(place, 'temporary');
    await mkdir(temporary);
    const second = await take('incremental', { TMPDIR: temporary });
    expectUpon(second, first);
    expect(await readdir(temporary)).toEqual([]);
    const copies = join(place, 'streamed');
    await copyBackup(join(bench.repository, first.folder), copies);
    const copy = await copyBackup(join(bench.repository, second.folder), copies);
    const pgdata = join(place, "it's streamed");
    const restored = await asServerUser(cluster, 'sh', [join(copy, 'restore.sh'), pgdata]);
    expect(restored.status, restored.stderr).toBe(0);
    const [now] = await cluster.sql('SELECT sum(hashtext(text))::text AS sum FROM t');
    const server = await startRestored(cluster, pgdata, place);
    try {
      expect(await server.query('SELECT sum(hashtext(text)) FROM t')).toBe(now?.sum);
    } finally {
      await server.stop();
    }
    const deep = await bench.run('verify_backups', [second.manifest.label, '--deep']);
    expect(deep.status, deep.stderr).toBe(0);
  });

  it('killed, leaves nothing that looks like one, and the next one builds upon the same', async () => {
    const first = await whole();
    await cluster.sql('CREATE TABLE more AS SELECT i, md5(i::text) FROM generate_series(1, 2e5) i');
    const temporary = join(place, 'of the killed');
    await mkdir(temporary);
    const slow = { ...bench.environment, BASE_BACKUP_MAX_RATE_MB: '4', TMPDIR: temporary };
    const victim = spawnTakeBase(slow, 'incremental');
    victim.stdout.resume();
    const streaming = async (count: number) => {
      const [row] = await cluster.sql(
        'SELECT count(*)::int AS count FROM pg_stat_progress_basebackup WHERE backup_streamed > 0',
      );
      return row?.count === count ? true : null;
    };
    await until('its bytes', () => streaming(1));
    // Nothing but a lock says yet that the first one is needed: no prune may remove it.
    const removal = whileRemoving(
      join(bench.repository, 'state'),
      first.manifest.label,
      async () => 'removed',
    );
    if (isIncremental) await expect(removal).rejects.toMatchObject({ code: 'LOCKED' });
    else await expect(removal).resolves.toBe('removed');
    send(victim.pid, 'SIGKILL');
    await victim.exited;
    await until('the end of pg_basebackup', () => streaming(0));
    const listed = await bench.run('list_backups', ['--json']);
    const list = jsonOf<{ base_backups: { label: string }[] }>(listed);
    expect(list.base_backups.at(-1)?.label).toBe(first.manifest.label);
    const next = await take('incremental', { TMPDIR: temporary });
    expectUpon(next, first);
    const left = readdirSync(join(bench.repository, next.folder, '..'));
    expect(left.filter((name) => name.endsWith('.partial'))).toEqual([]);
    expect(await readdir(temporary)).toEqual([]);
  });
});
