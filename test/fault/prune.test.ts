/**
 * Removing on the worst day: killed, twice at once, on a full or read-only disk, beside a backup
 * and a restore. Afterwards every backup is whole or gone, and the next prune ends what was begun.
 *
 * The full and the read-only disk are real ones, so this needs root.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { writeCheck } from '../../src/catalog/checks.ts';
import { makeLabel } from '../../src/core/label.ts';
import type { Manifest } from '../../src/core/manifest.ts';
import { serializeManifest } from '../../src/core/manifest_codec.ts';
import { sumsOf } from '../../src/core/sums.ts';
import { outcomeOf, runCommand, spawnCommand } from '../support/command.ts';
import {
  createChance,
  fillShop,
  fingerprint,
  type Listing,
  openScene,
  type Scene,
  send,
  until,
} from '../support/fault.ts';
import { dayMs, openRetentionScene, type RetentionScene } from '../support/retention_scene.ts';

const chance = createChance();
const labelsOf = (folders: readonly string[]) => folders.map((folder) => basename(folder));

/** What a command answers as JSON; it must end with 0. */
async function answer<T>(
  repository: string,
  name: 'list_backups' | 'prune_backups',
  argv: readonly string[] = [],
): Promise<T> {
  const environment = { BACKUP_DIR: repository };
  const outcome = await runCommand(name, [...argv, '--json'], { environment });
  expect(outcome.status, outcome.stderr).toBe(0);
  return JSON.parse(outcome.stdout);
}

const list = (repository: string) => answer<Listing>(repository, 'list_backups');
const pruneNow = (repository: string) =>
  answer<{ removed: { label: string }[]; skipped: unknown[] }>(repository, 'prune_backups', [
    '--yes',
    '--force',
  ]);

describe('kill -9 of a prune', () => {
  let scene: RetentionScene;
  let kept: string[];
  beforeEach(async () => {
    scene = await openRetentionScene();
    const folders = await scene.nightly(20);
    for (const folder of folders) {
      const check = { kind: 'verified', at: scene.now } as const;
      await writeCheck(scene.repository.storage, folder, check, {});
    }
    kept = labelsOf(folders.slice(-7));
  });
  afterEach(() => scene.close());

  /** How many backups are there under their own names. */
  function left(): number {
    const names = readdirSync(join(scene.repository.root, 'full/main/shop'));
    return names.filter((name) => !name.endsWith('.partial')).length;
  }

  it.each(Array.from({ length: 12 }, (_, round) => round + 1))('round %i', async () => {
    const { root, stateDir } = scene.repository;
    const victim = spawnCommand('prune_backups', ['--yes', '--force'], {
      environment: { BACKUP_DIR: root },
    });
    let ended = false;
    const outcome = outcomeOf(victim).finally(() => {
      ended = true;
    });
    const blowAt = Math.floor(chance.between(7, 20));
    await until('the removal', () => ended || left() <= blowAt, 60_000);
    const deadlineMs = performance.now() + chance.between(0, 6);
    while (performance.now() < deadlineMs);
    send(victim.pid, 'SIGKILL');
    await outcome;
    const told = `HOLDFAST_FAULT_SEED=${chance.seed}, at ${blowAt} backups`;

    const after = await list(root);
    expect(
      after.backups.filter(({ state }) => state !== 'complete'),
      told,
    ).toEqual([]);
    expect(
      after.backups.map(({ label }) => label),
      told,
    ).toEqual(expect.arrayContaining(kept));
    expect(after.unfinished.length, told).toBeLessThanOrEqual(1);
    const verified = await runCommand('verify_backups', ['--all', '--quick'], {
      environment: { BACKUP_DIR: root },
    });
    expect(verified.status, `${told}\n${verified.stderr}`).toBe(0);

    await pruneNow(root);
    const end = await list(root);
    expect(
      end.backups.map(({ label }) => label),
      told,
    ).toEqual(kept);
    expect(end.unfinished, told).toEqual([]);
    expect(readdirSync(join(root, 'full/main/shop')).sort(), told).toEqual(kept);
    // Where nothing else was left to remove, an empty folder stays until there is.
    const checks = join(root, 'checks/main/shop');
    const checked = readdirSync(checks).filter((name) => readdirSync(join(checks, name)).length);
    expect(checked.sort(), told).toEqual(kept);
    // A record that was never finished goes after a day.
    const records = readdirSync(join(stateDir, 'runs')).filter((name) => name.endsWith('.json'));
    // That of the last removal too, where nothing was left to do after it.
    expect(records.length, told).toBeLessThanOrEqual(1);
    expect((await pruneNow(root)).removed, told).toEqual([]);
  });

  it('not at all, while everything is verified: nothing looks damaged to anyone', async () => {
    const { root } = scene.repository;
    const environment = { BACKUP_DIR: root };
    const verifying = runCommand('verify_backups', ['--all'], { environment });
    await sleep(chance.between(0, 200));
    const [verified, { removed, skipped }] = await Promise.all([verifying, pruneNow(root)]);
    expect(verified.status, verified.stderr).toBe(0);
    expect(verified.stderr).not.toContain('DAMAGED');
    // What was verified at that moment stays until the next time.
    expect(removed.length + skipped.length).toBe(13);
    await pruneNow(root);
    const end = await list(root);
    expect(end.backups.map(({ label }) => label)).toEqual(kept);
    expect(readdirSync(join(root, 'checks/main/shop')).sort()).toEqual(kept);
  });

  it('two at once, of which one is killed: the other one ends it', async () => {
    const { root } = scene.repository;
    const start = () =>
      spawnCommand('prune_backups', ['--yes', '--force'], { environment: { BACKUP_DIR: root } });
    const [first, second] = [start(), start()];
    const outcomes = Promise.all([outcomeOf(first), outcomeOf(second)]);
    await until('the first removal', () => left() < 20, 60_000);
    send(first.pid, 'SIGKILL');
    const [, { status, stderr }] = await outcomes;
    expect(status, stderr).toBe(0);
    await pruneNow(root);
    expect((await list(root)).backups.map(({ label }) => label)).toEqual(kept);
    expect(readdirSync(join(root, 'full/main/shop')).sort()).toEqual(kept);
  });
});

describe('a disk', () => {
  let scene: RetentionScene;
  let folder: string;
  beforeEach(async () => {
    scene = await openRetentionScene();
    folder = join(scene.repository.root, '..', 'small');
    mkdirSync(folder);
    const options = 'size=8m,mode=0700';
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'holdfast-test', folder]);
  });
  afterEach(async () => {
    execFileSync('umount', ['--lazy', folder]);
    await scene.close();
  });

  it('that is full: removing needs no space', async () => {
    const small = await openRetentionScene(folder);
    const folders = await small.nightly(12);
    mkdirSync(join(folder, 'lost+found'));
    const { bavail, bsize } = statfsSync(folder);
    writeFileSync(join(folder, 'lost+found', 'ballast'), Buffer.alloc(bavail * bsize));
    expect(statfsSync(folder).bavail).toBe(0);
    const { removed } = await pruneNow(folder);
    expect(removed.map(({ label }) => label)).toEqual(labelsOf(folders.slice(0, 5)));
    expect((await list(folder)).backups.map(({ label }) => label)).toEqual(
      labelsOf(folders.slice(5)),
    );
    expect(statfsSync(folder).bavail).toBeGreaterThan(0);
  });

  it('that is read-only: status 7, and every backup is there', async () => {
    const small = await openRetentionScene(folder);
    const folders = await small.nightly(9);
    execFileSync('mount', ['-o', 'remount,ro', folder]);
    const environment = { BACKUP_DIR: folder };
    const refused = await runCommand('prune_backups', ['--yes', '--json'], { environment });
    expect(refused.status, refused.stderr).toBe(7);
    expect(JSON.parse(refused.stdout)).toMatchObject({ error: { code: 'STORE_REFUSED' } });
    expect((await list(folder)).backups.map(({ label }) => label)).toEqual(labelsOf(folders));
    const plan = await runCommand('prune_backups', ['--dry-run'], { environment });
    expect(plan.status, plan.stderr).toBe(0);
    // Reading wants no lock where none can be had.
    const verified = await runCommand('verify_backups', ['--all'], { environment });
    expect(verified.status, verified.stderr).toBe(0);
  });
});

describe('beside a server', () => {
  let scene: Scene;
  let old: RetentionScene;
  let whole: string;
  beforeAll(async () => {
    scene = await openScene();
    await fillShop(scene.cluster, 60_000);
    whole = await fingerprint(scene.cluster);
  });
  afterAll(async () => {
    await scene.close();
  });

  const environment = { CLUSTER: 'main' };
  const run = (name: Parameters<Scene['run']>[0], argv: readonly string[], more = {}) =>
    scene.run(name, argv, { environment: { ...environment, ...more } });

  async function labels(): Promise<string[]> {
    const { status, stdout, stderr } = await run('list_backups', ['shop', '--json']);
    expect(status, stderr).toBe(0);
    const { backups, unfinished }: Listing = JSON.parse(stdout);
    expect(unfinished).toEqual([]);
    for (const { state } of backups) expect(state).toBe('complete');
    return backups.map(({ label }) => label);
  }

  it('a good backup applies the retention, a failed one does not, and a guard is a warning', async () => {
    old = await openRetentionScene(scene.repository);
    const folders = await old.nightly(9);
    const failed = await run('backup_full', ['shop'], { PG_BIN_DIR: '/nonexistent' });
    expect(failed.status).not.toBe(0);
    expect(await labels()).toHaveLength(9);
    const kept = await run('backup_full', ['shop', '--no-retention', '--json']);
    expect(kept.status, kept.stderr).toBe(0);
    expect(JSON.parse(kept.stdout)).toMatchObject({ databases: [{ retention: null }] });
    expect(await labels()).toHaveLength(10);
    const applied = await run('backup_full', ['shop', '--json']);
    expect(applied.status, applied.stderr).toBe(0);
    expect(JSON.parse(applied.stdout)).toMatchObject({
      databases: [{ retention: { removed: labelsOf(folders.slice(0, 2)), warnings: [] } }],
    });
    expect(await labels()).toHaveLength(9);
    for (let age = 10; age < 40; age += 1) await old.backUp(age);
    const guarded = await run('backup_full', ['shop']);
    expect(guarded.status, guarded.stderr).toBe(0);
    expect(guarded.stderr).toMatch(/retention of shop is held back: 30 of 40 .*--dry-run.*--force/);
    expect(await labels()).toHaveLength(40);
  });

  it('a backup and a prune at once do not meet', async () => {
    for (let round = 0; round < 3; round += 1) {
      for (let age = 50; age < 60; age += 1) await old.backUp(age);
      const before = await labels();
      const backup = scene.start('backup_full', ['shop', '--no-retention'], environment);
      await sleep(chance.between(0, 900));
      const prunes = await Promise.all([
        run('prune_backups', ['--yes', '--force']),
        run('prune_backups', ['--yes', '--force', 'shop']),
      ]);
      for (const { status, stderr } of prunes) expect(status, stderr).toBe(0);
      const { status, stderr } = await backup.outcome;
      expect(status, `HOLDFAST_FAULT_SEED=${chance.seed}: ${stderr}`).toBe(0);
      const added = (await labels()).filter((label) => !before.includes(label));
      expect(added).toHaveLength(1);
      const verified = await run('verify_backups', added);
      expect(verified.status, verified.stderr).toBe(0);
    }
  });

  /** The latest backup once more, as if it had been taken long ago. */
  async function ageLatest(days: number): Promise<string> {
    const latest = (await labels()).at(-1) ?? '';
    const from = join(scene.repository, 'full/main/shop', latest);
    const manifest: Manifest = JSON.parse(readFileSync(join(from, 'manifest.json'), 'utf8'));
    const startedAt = new Date(Date.now() - days * dayMs);
    const label = makeLabel(startedAt, 'daily', Buffer.from('aged'));
    const aged = { ...manifest, label, started_at: startedAt.toISOString() };
    const to = join(dirname(from), label);
    await cp(from, to, { recursive: true });
    const bytes = serializeManifest(aged);
    writeFileSync(join(to, 'manifest.json'), bytes);
    writeFileSync(join(to, 'SHA256SUMS'), sumsOf(aged, bytes));
    return label;
  }

  it('a restore keeps the backup that it reads until it has ended', async () => {
    const aged = await ageLatest(200);
    const argv = [aged, 'shop', '--target-database', 'copy', '--force'];
    const restore = scene.start('restore_backup', argv, environment);
    const child = await restore.child('pg_restore');
    expect(child).not.toBeNull();
    expect(send(child?.pid, 'SIGSTOP')).toBe(true);
    try {
      const pruned = await run('prune_backups', ['--yes', '--force', '--json']);
      expect(pruned.status, pruned.stderr).toBe(0);
      expect(JSON.parse(pruned.stdout).skipped).toEqual([
        { store: 'local', label: aged, reason: expect.stringMatching(/^in use: process \d+ on /) },
      ]);
      expect(await labels()).toContain(aged);
    } finally {
      send(child?.pid, 'SIGCONT');
    }
    const { status, stderr } = await restore.outcome;
    expect(status, stderr).toBe(0);
    expect(await fingerprint(scene.cluster, 'copy')).toBe(whole);
    expect((await run('prune_backups', ['--yes', '--force'])).status).toBe(0);
    expect(await labels()).not.toContain(aged);
  });

  it('a restore that is killed does not keep its backup', async () => {
    const aged = await ageLatest(201);
    const restore = scene.start('restore_backup', [aged, 'shop', '--force'], environment);
    await restore.child('pg_restore');
    send(restore.pid, 'SIGKILL');
    await restore.expectGone();
    const pruned = await run('prune_backups', ['--yes', '--force', '--json']);
    expect(JSON.parse(pruned.stdout)).toMatchObject({ removed: [{ label: aged }], skipped: [] });
    expect(await fingerprint(scene.cluster)).toBe(whole);
  });
});
