/**
 * A restore and a backup of the same database at the same time: the backup is of the old database
 * or of the new one, or it fails; there is never one of half a database.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createChance,
  fillShop,
  fingerprint,
  openScene,
  type Scene,
  send,
} from '../support/fault.ts';

const timeoutMs = 180_000;
const chance = createChance();
const rows = 30_000;
const ways = [[], ['--in-place']] as const;
let scene: Scene;
let label: string;
let backedUp: string;
let current: string;
let restoreMs: number;

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, rows);
  backedUp = await fingerprint(scene.cluster);
  const outcome = await scene.run('backup_full', ['shop', '--json', '--type', 'weekly']);
  expect(outcome.status, outcome.stderr).toBe(0);
  label = JSON.parse(outcome.stdout).databases[0].label;
  const started = performance.now();
  const first = await scene.start('restore_backup', [label, '--force']).outcome;
  expect(first.status, first.stderr).toBe(0);
  restoreMs = performance.now() - started;
  await workOn();
}, timeoutMs);
afterAll(async () => {
  await scene.close();
});

/** Life goes on: the database has fewer rows than the one that was backed up. */
async function workOn(): Promise<void> {
  const names = await scene.cluster.sql(
    "SELECT datname AS name FROM pg_database WHERE datname LIKE 'shop\\_\\_before%'",
  );
  for (const { name } of names) await scene.cluster.sql(`DROP DATABASE "${name}"`);
  await scene.cluster.sql(
    ["UPDATE state SET state = 'live'", 'DELETE FROM orders WHERE id <= 10'],
    'shop',
  );
  current = await fingerprint(scene.cluster);
}

/** How many rows of orders each backup holds; every one is whole and complete. */
async function rowsOfBackups(): Promise<Map<string, number>> {
  const counted = new Map<string, number>();
  for (const backup of (await scene.list()).backups) {
    expect(backup.state).toBe('complete');
    const path = join(scene.repository, backup.folder, 'manifest.json');
    const { tables } = JSON.parse(await readFile(path, 'utf8'));
    expect(tables.map(({ name }: { name: string }) => name)).toEqual(['orders', 'state']);
    counted.set(backup.label, tables[0].rows);
  }
  return counted;
}

describe('a backup while a restore swaps', () => {
  it.each(Array.from({ length: 10 }, (_, index) => index))(
    'round %i',
    async (index) => {
      const way = ways[index % 2] ?? [];
      const before = await rowsOfBackups();
      const restore = scene.start('restore_backup', [label, '--force', ...way]);
      const ms = chance.between(0.2, 1) * restoreMs * (way.length === 0 ? 1 : 1.5);
      await sleep(ms);
      const backup = scene.start('backup_full', ['shop']);
      const [restored, taken] = [await restore.outcome, await backup.outcome];
      const told =
        `${way.join()} ${Math.round(ms)} ms (HOLDFAST_FAULT_SEED=${chance.seed})\n` +
        `restore ${restored.status}: ${restored.stderr}\nbackup ${taken.status}: ${taken.stderr}`;
      // A restore in place stops where a backup runs: it could not take its own.
      expect(way.length === 0 ? [0] : [0, 6], told).toContain(restored.status);
      // In place there may be no database of that name for a while.
      expect([0, 3, 6, 8], told).toContain(taken.status);
      expect(await fingerprint(scene.cluster), told).toBe(
        restored.status === 0 ? backedUp : current,
      );
      const fresh = [...(await rowsOfBackups())].filter(([each]) => !before.has(each));
      for (const [, found] of fresh) expect([rows, rows - 10], told).toContain(found);
      const safety = restored.status === 0 && way.length > 0 ? 1 : 0;
      expect(fresh.length, told).toBe(safety + (taken.status === 0 ? 1 : 0));
      await workOn();
    },
    timeoutMs,
  );

  it(
    'every backup of all this is good, and nothing unfinished is left by the next one',
    async () => {
      const last = await scene.run('backup_full', ['shop']);
      expect(last.status, last.stderr).toBe(0);
      expect((await scene.list()).unfinished).toEqual([]);
      const verified = await scene.run('verify_backups', ['--all']);
      expect(verified.status, verified.stderr).toBe(0);
    },
    timeoutMs,
  );
});

describe('two restores in place of one database', () => {
  it(
    'at once: one ends with 6 and has touched nothing',
    async () => {
      const first = scene.start('restore_backup', [label, '--force', '--in-place']);
      await first.child('pg_dump');
      send(first.pid, 'SIGSTOP');
      const before = (await scene.list()).backups.length;
      const argv = [label, '--force', '--in-place', '--json'];
      const second = await scene.run('restore_backup', argv);
      send(first.pid, 'SIGCONT');
      expect(second.status, second.stderr).toBe(6);
      expect(JSON.parse(second.stdout).error.code).toBe('LOCKED');
      const { status, stderr } = await first.outcome;
      expect(status, stderr).toBe(0);
      expect(await fingerprint(scene.cluster)).toBe(backedUp);
      expect((await scene.list()).backups.length).toBeLessThanOrEqual(before + 1);
    },
    timeoutMs,
  );
});
