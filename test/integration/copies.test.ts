/** Backups in several stores at once: folders here, since a bucket is above the same port. */

import { existsSync, readdirSync } from 'node:fs';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench } from '../support/archiving_bench.ts';
import type { TestCluster } from '../support/cluster.ts';
import type { Outcome } from '../support/command.ts';
import {
  digestsBelow,
  type StoreWish,
  type ToldBackup,
  type ToldStore,
  writeStores,
} from '../support/copies_scene.ts';
import { flipped, jsonOf } from '../support/workbench.ts';

let bench: ArchivingBench;
let cluster: TestCluster;
/** Where the test may write as whoever runs it; the server's user may read it. */
let top: string;
let round = 0;

beforeAll(async () => {
  bench = await openArchivingBench({ archive_timeout: '0' });
  ({ cluster, folder: top } = bench);
  await cluster.sql('CREATE DATABASE shop');
  const session = await cluster.connect('shop');
  await session.query(
    'CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) AS i',
  );
  await session.end();
});
afterAll(() => bench.close());

interface Scene {
  readonly local: string;
  /** The path of a store of that name. */
  path(name: string): string;
  /** Names the stores; those before are forgotten. */
  stores(stores: Readonly<Record<string, Partial<StoreWish>>>): Promise<void>;
  run(flags?: readonly string[], more?: Readonly<Record<string, string>>): Promise<Outcome>;
  /** Backs up, which must end with that status. */
  backUp(status: number, ...flags: string[]): Promise<ToldBackup>;
  /** Labels of the whole backups in a store, or in BACKUP_DIR. */
  labels(name?: string): string[];
}

/** A repository of its own. */
async function openScene(): Promise<Scene> {
  round += 1;
  const folder = join(top, `scene ${round}`);
  await mkdir(folder);
  const local = join(folder, 'local');
  const config = join(folder, 'holdfast.yaml');
  const path = (name: string) => join(folder, `stores/${name}`);
  const run: Scene['run'] = async (flags = [], more = {}) => {
    const { runCommand } = await import('../support/command.ts');
    const environment = { ...bench.environment, BACKUP_DIR: local, ...more };
    return runCommand('backup_full', ['shop', '--json', '--config', config, ...flags], {
      environment,
    });
  };
  return {
    local,
    path,
    run,
    async stores(stores) {
      const named = Object.entries(stores).map(([name, wish]) => {
        return [name, { path: path(name), ...wish }] as const;
      });
      await writeStores(config, Object.fromEntries(named));
    },
    async backUp(status, ...flags) {
      const outcome = await run(flags);
      expect(outcome.status, outcome.stderr).toBe(status);
      const [told] = jsonOf<{ databases: ToldBackup[] }>(outcome).databases;
      if (told === undefined) throw new Error('no database is told');
      return told;
    },
    labels(name) {
      const backups = join(name === undefined ? local : path(name), 'full/main%20cluster/shop');
      return existsSync(backups) ? readdirSync(backups).sort() : [];
    },
  };
}

/** A file where the folder of a store should be: it cannot be used by anybody. */
async function breakStore(path: string): Promise<() => Promise<void>> {
  const aside = `${path} aside`;
  if (existsSync(path)) await rename(path, aside);
  else await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, 'no folder');
  return async () => {
    await rm(path);
    if (existsSync(aside)) await rename(aside, path);
  };
}

const statuses = (stores: readonly ToldStore[]) =>
  Object.fromEntries(stores.map(({ name, status }) => [name, status]));

describe('a backup in several stores', () => {
  it('is the same in each, byte for byte, and each is a store of this repository', async () => {
    const scene = await openScene();
    await scene.stores({ nas: {}, usb: { required: false, max_rate_mb: 50 } });
    const told = await scene.backUp(0);
    expect(statuses(told.stores)).toEqual({ local: 'stored', nas: 'stored', usb: 'stored' });
    const whole = digestsBelow(join(scene.local, told.folder));
    expect(Object.keys(whole)).toContain('manifest.json');
    const head = await readFile(join(scene.local, 'holdfast.json'), 'utf8');
    for (const name of ['nas', 'usb']) {
      expect(digestsBelow(join(scene.path(name), told.folder))).toEqual(whole);
      expect(await readFile(join(scene.path(name), 'holdfast.json'), 'utf8')).toBe(head);
      expect(readdirSync(scene.path(name)).sort()).toEqual(['full', 'holdfast.json']);
    }
    const [database] = JSON.parse(
      await readFile(join(scene.local, 'status.json'), 'utf8'),
    ).databases;
    expect(database.last_run).toMatchObject({ status: 'ok', stores: told.stores });
    expect(new Set(told.stores.map(({ bytes }) => bytes)).size).toBe(1);
    expect(readdirSync(join(scene.local, 'state/runs'))).toEqual([]);
  });

  it('stays whole in the others when a required one fails, and the next run brings it there', async () => {
    const scene = await openScene();
    await scene.stores({ nas: {}, usb: { required: false } });
    const first = await scene.backUp(0);
    const mend = await breakStore(scene.path('nas'));
    const missed = await scene.backUp(7);
    expect(missed).toMatchObject({ status: 'failed', retention: null });
    expect(missed.error?.message).toContain(`${missed.label} is whole in "local", "usb", but not`);
    expect(statuses(missed.stores)).toEqual({ local: 'stored', nas: 'missing', usb: 'stored' });
    expect(scene.labels()).toEqual([first.label, missed.label]);
    const [database] = JSON.parse(
      await readFile(join(scene.local, 'status.json'), 'utf8'),
    ).databases;
    expect(database.last_run).toMatchObject({ status: 'failed', exit_status: 7 });
    expect(database.last_success.label).toBe(missed.label);
    await mend();
    expect(scene.labels('nas')).toEqual([first.label]);
    const next = await scene.backUp(0);
    expect(next.older_copies).toMatchObject({
      copied: [{ store: 'nas', label: missed.label }],
      lacking: [],
      warnings: [],
    });
    for (const name of ['nas', 'usb']) {
      expect(scene.labels(name)).toEqual([first.label, missed.label, next.label]);
      for (const { folder } of [first, missed, next]) {
        const whole = digestsBelow(join(scene.local, folder));
        expect(digestsBelow(join(scene.path(name), folder))).toEqual(whole);
      }
    }
  });

  it('is a warning where an optional store fails; BACKUP_DIR may be the one that fails', async () => {
    const scene = await openScene();
    await scene.stores({ nas: { required: false } });
    const mend = await breakStore(scene.path('nas'));
    const told = await scene.backUp(0);
    expect(told.status).toBe('ok');
    expect(told.warnings.join('\n')).toContain('the store "nas" does not have this backup yet');
    // Nothing of it is in the manifest, whose bytes are the same in every store.
    const manifest = await readFile(join(scene.local, told.folder, 'manifest.json'), 'utf8');
    expect(JSON.parse(manifest).warnings).toEqual([]);
    await mend();
    const breakLocal = await breakStore(join(scene.local, 'full'));
    const elsewhere = await scene.backUp(7);
    expect(elsewhere.error?.message).toContain('is whole in "nas", but not in the store "local"');
    await breakLocal();
    // It had the first one too: the stores give each other what they have.
    const last = await scene.backUp(0);
    const labels = [told, elsewhere, last].map(({ label }) => label).sort();
    expect(scene.labels()).toEqual(labels);
    expect(scene.labels('nas')).toEqual(labels);
  });

  it('with --no-upload goes into BACKUP_DIR alone, and a store that comes later gets what it would keep', async () => {
    const scene = await openScene();
    await scene.stores({ nas: {} });
    const alone = await scene.backUp(0, '--no-upload');
    expect(statuses(alone.stores)).toEqual({ local: 'stored' });
    expect(existsSync(scene.path('nas'))).toBe(false);
    const next = await scene.backUp(0);
    expect(scene.labels('nas')).toEqual([alone.label, next.label]);
    expect(next.older_copies.copied).toMatchObject([{ store: 'nas', label: alone.label }]);
  });

  it('is copied from the store that has it whole, and from none that has not', async () => {
    const scene = await openScene();
    await scene.stores({ nas: {}, usb: {} });
    const first = await scene.backUp(0);
    const [dump] = readdirSync(join(scene.local, first.folder)).filter((name) =>
      name.startsWith('database.dump'),
    );
    const path = join(scene.local, first.folder, dump ?? '');
    await writeFile(path, flipped(await readFile(path)));
    await rm(join(scene.path('nas'), first.folder), { recursive: true });
    const next = await scene.backUp(0);
    expect(next.older_copies.copied).toMatchObject([{ store: 'nas', label: first.label }]);
    expect(next.older_copies.warnings.join('\n')).toContain(`in the store "local" is damaged`);
    const whole = digestsBelow(join(scene.path('usb'), first.folder));
    expect(digestsBelow(join(scene.path('nas'), first.folder))).toEqual(whole);
    for (const name of ['nas', 'usb']) {
      await rm(join(scene.path(name), first.folder), { recursive: true });
    }
    const last = await scene.backUp(0);
    expect(last.older_copies.copied).toEqual([]);
    expect(last.older_copies.lacking).toHaveLength(2);
    expect(scene.labels('nas')).toEqual([next.label, last.label]);
  });

  it('is kept from another repository: nothing is written into what is not ours', async () => {
    const scene = await openScene();
    await mkdir(scene.path('nas'), { recursive: true });
    await writeFile(join(scene.path('nas'), 'photos'), 'of a holiday');
    await scene.stores({ nas: {} });
    const told = await scene.backUp(7);
    expect(told.stores[1]?.error).toMatchObject({ code: 'STORE_REFUSED' });
    expect(readdirSync(scene.path('nas'))).toEqual(['photos']);
  });
});

describe('without a local copy', () => {
  it('nothing but the state lies in BACKUP_DIR, and all backups in the other store', async () => {
    const scene = await openScene();
    await scene.stores({ nas: {} });
    const away = { LOCAL_COPY: 'false' };
    const outcome = await scene.run([], away);
    expect(outcome.status, outcome.stderr).toBe(0);
    const [told] = jsonOf<{ databases: ToldBackup[] }>(outcome).databases;
    expect(statuses(told?.stores ?? [])).toEqual({ nas: 'stored' });
    expect(readdirSync(scene.local).sort()).toEqual([
      'holdfast.json',
      'logs',
      'state',
      'status.json',
    ]);
    expect(scene.labels('nas')).toEqual([told?.label]);
    const refused = await scene.run(['--no-upload'], away);
    expect(refused.status).toBe(2);
    const mend = await breakStore(scene.path('nas'));
    const failed = await scene.run([], away);
    expect(failed.status, failed.stderr).toBe(7);
    await mend();
    expect(scene.labels('nas')).toEqual([told?.label]);
  });
});

describe('--test', () => {
  it('tells every store and its room, and fails where a required one is not there', async () => {
    const scene = await openScene();
    await scene.stores({ nas: {}, usb: { required: false } });
    const good = await scene.run(['--test']);
    expect(good.status, good.stderr).toBe(0);
    const [told] = jsonOf<{ databases: { stores: ToldStore[] }[] }>(good).databases;
    expect(told?.stores).toMatchObject([
      { name: 'local', status: 'ready', is_required: true, free_bytes: expect.any(Number) },
      { name: 'nas', status: 'ready', is_required: true, free_bytes: expect.any(Number) },
      { name: 'usb', status: 'ready', is_required: false },
    ]);
    await breakStore(scene.path('usb'));
    const warned = await scene.run(['--test']);
    expect(warned.status, warned.stderr).toBe(0);
    expect(warned.stderr).toContain('the store "usb"');
    await breakStore(scene.path('nas'));
    expect((await scene.run(['--test'])).status).toBe(7);
  });
});

describe('base backups', () => {
  it('go into every store, and a store gets what it lacks', async () => {
    const config = join(top, 'base.yaml');
    const nas = join(bench.repository, 'nas');
    await writeStores(config, { nas: { path: nas } });
    const set = await bench.setup(['install', '--yes']);
    if (set.json.restart_needed !== undefined) await cluster.restart();
    const move = async (base: string) => {
      const argv = ['--config', config, '--base', base, '--json'];
      const outcome = await bench.run('backup_incremental', argv);
      expect(outcome.status, outcome.stderr).toBe(0);
      return jsonOf<{ base: { label: string; stores: ToldStore[] } } & ToldBackup>(outcome);
    };
    const { base } = await move('now');
    expect(statuses(base.stores)).toEqual({ local: 'stored', nas: 'stored' });
    const folder = `incremental/main%20cluster/base/${base.label}`;
    const whole = digestsBelow(join(bench.repository, folder));
    expect(Object.keys(whole)).toContain('backup_manifest');
    expect(digestsBelow(join(nas, folder))).toEqual(whole);
    await rm(join(nas, folder), { recursive: true });
    const { older_copies } = await move('none');
    expect(older_copies.copied).toMatchObject([{ store: 'nas', label: base.label }]);
    expect(digestsBelow(join(nas, folder))).toEqual(whole);
  });
});
