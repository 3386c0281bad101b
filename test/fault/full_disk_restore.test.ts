/**
 * The disk of the server, or that of the repository, is full while a database is restored. The
 * tablespace of the database lies on a small file system: this needs root, to mount it.
 */

import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Outcome, typeCommand } from '../support/command.ts';
import { fillShop, fingerprint, openScene, type Scene } from '../support/fault.ts';
import { fillUp, mountSmall, unmountAll } from '../support/small_disk.ts';
import { tamperedBackup } from '../support/tampered_backup.ts';

const timeoutMs = 120_000;
const rows = 120_000;
let scene: Scene;
let disk: string;
/** The backup, and a copy of it whose manifest claims that the database is tiny. */
let label: string;
let understated: string;
let backedUp: string;
let live: string;
let letGo: (() => void) | null = null;

beforeAll(async () => {
  scene = await openScene();
  disk = join(scene.folder, 'small');
  // Holds one database of the shop and not two.
  mountSmall(disk, 56e6, scene.cluster.osUser);
  await scene.cluster.sql(`CREATE TABLESPACE small LOCATION '${disk}'`);
  await fillSmall(rows);
  const outcome = await scene.run('backup_full', ['shop', '--json']);
  expect(outcome.status, outcome.stderr).toBe(0);
  const [taken] = JSON.parse(outcome.stdout).databases;
  label = taken.label;
  const folder = join(scene.repository, taken.folder);
  const manifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
  understated = await tamperedBackup(
    { label, folder, manifest, outcome },
    join(scene.folder, 'understated'),
    (dump) => dump,
    { database_bytes: 1000 },
  );
  backedUp = await fingerprint(scene.cluster);
}, timeoutMs);
afterEach(() => {
  letGo?.();
  letGo = null;
});
afterAll(async () => {
  await scene.cluster.stop({ immediate: true });
  unmountAll();
  await scene.close();
});

async function databases(): Promise<string[]> {
  const sql = "SELECT datname AS name FROM pg_database WHERE datname LIKE 'shop%'";
  return (await scene.cluster.sql(sql)).map(({ name }) => String(name));
}

/** A new shop on the small disk, written there to the last page. */
async function fillSmall(count: number): Promise<void> {
  for (const name of await databases()) await scene.cluster.sql(`DROP DATABASE "${name}"`);
  await scene.cluster.sql('CREATE DATABASE shop TABLESPACE small');
  await fillShop(scene.cluster, count, { exists: true });
  await scene.cluster.sql('CHECKPOINT');
}

/** Life has gone on since the backup. */
async function workOn(): Promise<void> {
  await scene.cluster.sql(["UPDATE state SET state = 'live'", 'CHECKPOINT'], 'shop');
  live = await fingerprint(scene.cluster);
  expect(live).not.toBe(backedUp);
}

const restore = (...argv: string[]) => scene.run('restore_backup', [...argv, '--force', '--json']);

async function expectNoSpace(outcome: Outcome): Promise<{ safety_backup?: { command: string } }> {
  expect(outcome.status, outcome.stderr).toBe(3);
  const { error } = JSON.parse(outcome.stdout);
  expect(error.code, outcome.stderr).toBe('NO_SPACE');
  return error;
}

async function expectUntouched(outcome: Outcome): Promise<void> {
  await expectNoSpace(outcome);
  expect(await databases()).toEqual(['shop']);
  expect(await fingerprint(scene.cluster)).toBe(live);
}

describe('the disk of the server does not hold two databases', () => {
  it(
    'and it is seen before anything is done, on the disk of the tablespace',
    async () => {
      await workOn();
      const outcome = await restore(label);
      await expectUntouched(outcome);
      expect(outcome.stderr).toMatch(/needs about .* beside the old one[\s\S]*--in-place/);
    },
    timeoutMs,
  );

  it(
    'and it is full in the middle: the old one is whole, and nothing is left',
    async () => {
      await workOn();
      const outcome = await restore(understated);
      expect(outcome.stderr).toContain('"shop" is untouched');
      await expectUntouched(outcome);
    },
    timeoutMs,
  );

  it(
    'but one: --in-place restores',
    async () => {
      await workOn();
      const outcome = await restore(label, '--in-place');
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(await databases()).toEqual(['shop']);
      expect(await fingerprint(scene.cluster)).toBe(backedUp);
    },
    timeoutMs,
  );
});

describe('the disk of the server does not hold the new database, even in place', () => {
  it(
    'and it is seen before anything is done',
    async () => {
      await fillSmall(2_000);
      await workOn();
      letGo = fillUp(disk, 12e6);
      const outcome = await restore(label, '--in-place');
      await expectUntouched(outcome);
      expect(outcome.stderr).toMatch(/once .* of the old one are dropped/);
    },
    timeoutMs,
  );

  it(
    'and it is full after the drop: the command that is told brings the old one back',
    async () => {
      await fillSmall(2_000);
      await workOn();
      letGo = fillUp(disk, 12e6);
      const outcome = await restore(understated, '--in-place');
      const { safety_backup: safety } = await expectNoSpace(outcome);
      expect(await databases()).toEqual([]);
      await typeCommand(`${safety?.command} --force`);
      expect(await fingerprint(scene.cluster)).toBe(live);
    },
    timeoutMs,
  );
});

describe('the disk of the repository', () => {
  it(
    'that does not hold the safety backup: nothing is dropped',
    async () => {
      await fillSmall(rows);
      await workOn();
      const repository = join(scene.folder, 'full');
      await mkdir(repository);
      mountSmall(repository, 12e6);
      const environment = { BACKUP_DIR: repository };
      const first = await scene.run('backup_full', ['shop'], { environment });
      expect(first.status, first.stderr).toBe(0);
      const argv = [understated, '--in-place', '--force', '--json'];
      for (const leave of [0, 300_000, 1_000_000]) {
        const free = fillUp(repository, leave);
        const outcome = await scene.run('restore_backup', argv, { environment });
        free();
        await expectUntouched(outcome);
      }
    },
    timeoutMs,
  );
});
