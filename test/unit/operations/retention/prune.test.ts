import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeCheck } from '../../../../src/catalog/checks.ts';
import { verifyBackup } from '../../../../src/operations/full/verify.ts';
import { holdBackup } from '../../../../src/operations/hold_backup.ts';
import { applyRetention } from '../../../../src/operations/retention/apply_retention.ts';
import {
  type PruneOptions,
  type PruneResult,
  prune,
} from '../../../../src/operations/retention/prune.ts';
import { planPrune } from '../../../../src/operations/retention/prune_plan.ts';
import { failureOf } from '../../../contract/storage.ts';
import {
  dayMs,
  openRetentionScene,
  type RetentionScene,
} from '../../../support/retention_scene.ts';

const child = join(import.meta.dirname, '../../../support/lock_child.ts');
let scene: RetentionScene;
beforeEach(async () => {
  scene = await openRetentionScene();
});
afterEach(() => scene.close());

const options: PruneOptions = { filter: {}, force: false, agreed: null };
const labelsOf = (folders: readonly string[]) => folders.map((folder) => basename(folder));
const at = (key: string) => join(scene.repository.root, key);
const placeOf = (folder: string) => ({ label: basename(folder), folder });

async function pruned(more: Partial<PruneOptions> = {}, when?: Date): Promise<PruneResult> {
  return prune(scene.context(when), { ...options, ...more });
}

async function stored(): Promise<string[]> {
  const entries = await scene.context().catalog.listBackups();
  expect(entries.filter(({ problem }) => problem !== null)).toEqual([]);
  return entries.map(({ label }) => label).sort();
}

async function reasonOf(folder: string): Promise<string> {
  const { databases } = await planPrune(scene.context(), {});
  const decisions = databases.flatMap((database) => database.decisions);
  const found = decisions.find(({ backup }) => backup.place.folder === folder);
  return `${found?.action}: ${found?.reason}`;
}

describe('a prune', () => {
  it('removes what the retention does not keep, with its checks, and a second one nothing', async () => {
    const folders = await scene.nightly(9);
    const { storage } = scene.repository;
    for (const folder of folders) {
      await writeCheck(storage, folder, { kind: 'verified', at: scene.now }, {});
    }
    const { removed, freedBytes, skipped } = await pruned();
    expect(removed.map(({ label }) => label)).toEqual(labelsOf(folders.slice(0, 2)));
    expect(freedBytes).toBeGreaterThan(1000);
    expect(skipped).toEqual([]);
    expect(await stored()).toEqual(labelsOf(folders.slice(2)));
    const left = await scene.paths();
    expect(left.filter((path) => labelsOf(folders.slice(0, 2)).includes(basename(path)))).toEqual(
      [],
    );
    expect(await pruned()).toMatchObject({ removed: [], skipped: [], litter: [], freedBytes: 0 });
    expect(await scene.paths()).toEqual(left);
  });

  it('looks at every database and cluster for itself, whatever their names are', async () => {
    const odd = 'quote\'"; $(touch pwned)\nünï';
    const shop = await scene.nightly(8);
    const other = await scene.nightly(8, { cluster: 'other' });
    const named = await scene.nightly(8, { database: odd });
    const few = await scene.nightly(3, { database: 'few' });
    const { removed } = await pruned({ filter: { database: odd } });
    expect(removed.map(({ label }) => label)).toEqual(labelsOf(named.slice(0, 1)));
    expect(removed[0]?.database).toBe(odd);
    const rest = await pruned();
    expect(rest.removed.map(({ label }) => label).sort()).toEqual(
      labelsOf([shop[0] ?? '', other[0] ?? '']).sort(),
    );
    expect(await stored()).toEqual(expect.arrayContaining(labelsOf(few)));
  });

  it('does not count a backup that lacks a file, and one that a check found damaged', async () => {
    const folders = await scene.nightly(9);
    const [, , third = '', fourth = ''] = folders;
    await truncate(at(`${third}/database.dump.zst`), 3);
    const damaged = { kind: 'damaged', at: scene.now } as const;
    await writeCheck(scene.repository.storage, fourth, damaged, {});
    const { removed } = await pruned();
    // Seven good ones stay; the two damaged ones are younger than their days.
    expect(removed).toEqual([]);
    expect(await reasonOf(third)).toMatch(/^keep: damaged; /);
  });

  it('does not count a backup that was never read back, before it is verified', async () => {
    const [oldest = ''] = await scene.nightly(7);
    const old = await scene.backUp(20);
    const unread = await scene.backUp(0.2, { unread: true });
    await rm(at(oldest), { recursive: true });
    expect((await pruned()).removed).toEqual([]);
    expect(await reasonOf(old)).toBe('keep: one of the last 7 daily');
    await writeCheck(scene.repository.storage, unread, { kind: 'verified', at: scene.now }, {});
    expect(await reasonOf(old)).toMatch(/^remove: .*7 younger good daily ones stay$/);
  });

  it('keeps what it does not know: a manifest it cannot read, a folder with more in it', async () => {
    const folders = await scene.nightly(12);
    const [invalid = '', more = '', lost = '', plain = ''] = folders;
    await writeFile(at(`${invalid}/manifest.json`), '{"format": 2}');
    await writeFile(at(`${more}/notes.txt`), 'the one before the migration');
    await rm(at(`${lost}/manifest.json`));
    expect(await reasonOf(invalid)).toMatch(/^keep: nobody knows what it is: .*format 2/);
    expect(await reasonOf(more)).toMatch(/^keep: its folder holds .*"notes.txt"$/);
    const { removed } = await pruned();
    const gone = [lost, plain, folders[4] ?? ''];
    expect(removed.map(({ label }) => label)).toEqual(labelsOf(gone));
    expect(await scene.paths()).toEqual(expect.arrayContaining([`${more}/notes.txt`, invalid]));
  });

  it('removes what is left of nothing, and names what is not of Holdfast without touching it', async () => {
    const [folder = ''] = await scene.nightly(1);
    const { storage } = scene.repository;
    const gone = 'full/main/shop/20260101T000000Z-daily-gone';
    await writeCheck(storage, gone, { kind: 'verified', at: scene.now }, {});
    await storage.createFolder('full/main/dead/20260101T000000Z-daily-part');
    const long = new Date(scene.now.getTime() - 2 * dayMs);
    await utimes(at('full/main/dead/20260101T000000Z-daily-part.partial'), long, long);
    const temporary = at(`checks/main/shop/${basename(folder)}/00ff.partial`);
    await mkdir(at('checks/main/shop'), { recursive: true });
    await mkdir(join(temporary, '..'));
    await writeFile(temporary, '');
    await utimes(temporary, long, long);
    const foreign = [
      'notes.txt',
      'full/x',
      'full/main/y',
      'full/main/shop/z',
      'checks/main/shop/q',
    ];
    for (const key of foreign) await writeFile(at(key), 'mine');
    const plan = await planPrune(scene.context(), {});
    expect([...plan.foreign].sort()).toEqual([...foreign].sort());
    const { litter } = await pruned();
    expect(litter.map(({ kind }) => kind).sort()).toEqual([
      'check',
      'unfinished backup',
      'unfinished file',
    ]);
    const paths = await scene.paths();
    expect(paths).toEqual(expect.arrayContaining(foreign.slice(1)));
    for (const path of paths) expect(path).not.toMatch(/gone|dead|partial/);
    expect((await planPrune(scene.context(), {})).litter).toEqual([]);
  });

  it('keeps the checks when there is not one backup: a disk is not mounted', async () => {
    const [folder = ''] = await scene.nightly(1);
    const { storage } = scene.repository;
    await writeCheck(storage, folder, { kind: 'verified', at: scene.now }, {});
    await rm(at('full'), { recursive: true });
    expect((await planPrune(scene.context(), {})).litter).toEqual([]);
  });

  it('removes only what was agreed to, and nothing that has changed since', async () => {
    const folders = await scene.nightly(9);
    const plan = await planPrune(scene.context(), {});
    const later = new Date(scene.now.getTime() + 3 * dayMs);
    await scene.backUp(0);
    await scene.backUp(-0.01);
    const { removed } = await pruned({ agreed: plan }, later);
    expect(removed.map(({ label }) => label)).toEqual(labelsOf(folders.slice(0, 2)));
  });
});

describe('a backup that is read', () => {
  it('is left for the next time', async () => {
    const [oldest = ''] = await scene.nightly(8);
    await holdBackup(scene.repository, placeOf(oldest), async () => {
      const { removed, skipped } = await pruned();
      expect(removed).toEqual([]);
      expect(skipped).toMatchObject([{ label: basename(oldest) }]);
      expect(skipped[0]?.reason).toMatch(/^in use: process \d+ on /);
      expect(await stored()).toHaveLength(8);
    });
    expect((await pruned()).removed.map(({ label }) => label)).toEqual([basename(oldest)]);
  });

  it('by a process that was killed is not in use any more', async () => {
    const [oldest = ''] = await scene.nightly(8);
    const lock = join(scene.repository.stateDir, 'in_use', basename(oldest));
    const reader = spawn(process.execPath, [child, lock, 'hold'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(reader.stdout, 'data');
    expect((await pruned()).skipped).toHaveLength(1);
    reader.kill('SIGKILL');
    await once(reader, 'exit');
    expect((await pruned()).removed).toHaveLength(1);
  });

  it('was removed just before: it says so, and no damage is recorded', async () => {
    const [oldest = ''] = await scene.nightly(8);
    const context = scene.context();
    const entry = await context.catalog.findBackup(basename(oldest));
    await pruned();
    const error = await failureOf(verifyBackup(context, entry, { depth: 'stored' }));
    expect(error).toMatchObject({ code: 'BACKUP_NOT_FOUND', status: 5 });
    expect((await planPrune(scene.context(), {})).litter).toEqual([]);
  });
});

describe('two prunes at once', () => {
  it('remove the same together, once', async () => {
    const folders = await scene.nightly(12);
    const results = await Promise.all([pruned(), pruned(), pruned()]);
    const removed = results.flatMap((result) => result.removed.map(({ label }) => label));
    expect(removed.sort()).toEqual(labelsOf(folders.slice(0, 5)));
    expect(await stored()).toEqual(labelsOf(folders.slice(5)));
  });
});

describe('a clock that jumps a year', () => {
  const year = 366 * dayMs;

  it('backward: every backup is in the future, and nothing goes without a word', async () => {
    await scene.nightly(12);
    await scene.backUp(400);
    await scene.backUp(380, { tier: 'manual' });
    await scene.backUp(420, { tier: 'manual' });
    const past = new Date(scene.now.getTime() - year);
    const plan = await planPrune(scene.context(past), {});
    expect(plan.databases[0]?.guards).toEqual([expect.stringMatching(/dated in the future/)]);
    expect((await pruned({}, past)).removed).toEqual([]);
    const told = await applyRetention(scene.context(past), { cluster: 'main', database: 'shop' });
    expect(told.removed).toEqual([]);
    expect(told.warnings[0]).toMatch(/held back: .*in the future.*--dry-run.*--force/);
    expect(await stored()).toHaveLength(15);
    expect((await pruned({ force: true }, past)).removed).toHaveLength(1);
  });

  it('forward: the number of every tier stays, however old it has become', async () => {
    await scene.nightly(9);
    for (let week = 1; week <= 5; week += 1) await scene.backUp(week * 7, { tier: 'weekly' });
    const future = new Date(scene.now.getTime() + year);
    const { removed } = await pruned({}, future);
    expect(removed).toHaveLength(3);
    expect(await stored()).toHaveLength(11);
    expect((await pruned({}, future)).removed).toEqual([]);
  });
});

describe('the retention after a backup', () => {
  it('touches its own database only', async () => {
    const folders = await scene.nightly(8);
    await scene.nightly(8, { database: 'other' });
    const names = { cluster: 'main', database: 'shop' };
    const applied = await applyRetention(scene.context(), names);
    expect(applied).toMatchObject({ removed: labelsOf(folders.slice(0, 1)), warnings: [] });
    expect(applied.freed_bytes).toBeGreaterThan(1000);
    expect(await stored()).toHaveLength(15);
  });

  it('is a warning when it fails, never an error', async () => {
    await scene.nightly(8);
    const broken = new Proxy(scene.repository.storage, {
      get(storage, name) {
        if (name === 'removeFolder') return () => Promise.reject(new Error('the disk is gone'));
        const value: unknown = Reflect.get(storage, name);
        return typeof value === 'function' ? value.bind(storage) : value;
      },
    });
    const context = { ...scene.context(), repository: { ...scene.repository, storage: broken } };
    const applied = await applyRetention(context, { cluster: 'main', database: 'shop' });
    expect(applied).toMatchObject({ removed: [], freed_bytes: 0 });
    expect(applied.warnings).toEqual([
      'the retention of shop was not applied: removing ' +
        `${(await stored())[0]}: the disk is gone`,
    ]);
  });
});
