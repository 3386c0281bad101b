/**
 * A store that is full, and kill -9 at whatever moment of a backup into two stores or of a copy
 * from one to the other: both hold whole backups only, and after the next run the same ones.
 *
 * A real full disk, so this needs root: it mounts a small tmpfs.
 */

import { existsSync, readdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runTakeBase } from '../support/base_backup.ts';
import { digestsBelow, type ToldBackup, writeStores } from '../support/copies_scene.ts';
import {
  createChance,
  fillShop,
  openScene,
  rounds,
  type Scene,
  send,
  until,
} from '../support/fault.ts';
import { fillUp, mountSmall, unmountAll } from '../support/small_disk.ts';
import { jsonOf } from '../support/workbench.ts';

const chance = createChance();
let scene: Scene;
let config: string;
let nas: string;

beforeAll(async () => {
  scene = await openScene();
  await fillShop(scene.cluster, 60_000);
  config = join(scene.folder, 'holdfast.yaml');
  nas = join(scene.folder, 'nas');
});
afterAll(async () => {
  unmountAll();
  await scene.close();
});

const argv = () => ['shop', '--json', '--config', config];

async function backUp(status: number): Promise<ToldBackup> {
  const outcome = await scene.run('backup_full', argv());
  expect(outcome.status, outcome.stderr).toBe(status);
  const [told] = jsonOf<{ databases: ToldBackup[] }>(outcome).databases;
  if (told === undefined) throw new Error('no database is told');
  return told;
}

/** What lies in the folders of the backups of a store, unfinished too. */
function backupsIn(store: string): Readonly<Record<string, string>> {
  return digestsBelow(join(store, 'full'));
}

const isUnfinished = (name: string) => name.includes('.partial');

describe('a store that is full', () => {
  it.each([
    [true, 7],
    [false, 0],
  ])(
    'in the middle of a dump (required: %s) is left behind, with nothing in it',
    async (required, status) => {
      mountSmall(nas, 24e6);
      await writeStores(config, { nas: { path: nas, required } });
      const free = fillUp(nas, 400_000);
      const told = await backUp(status);
      expect(told.stores).toMatchObject([
        { name: 'local', status: 'stored' },
        { name: 'nas', status: 'missing', error: { code: 'NO_SPACE' } },
      ]);
      expect(Object.keys(backupsIn(nas)).filter(isUnfinished)).toEqual([]);
      expect(Object.keys(backupsIn(nas)).some((name) => name.includes(told.label))).toBe(false);
      free();
      expect((await backUp(0)).older_copies.lacking).toEqual([]);
      expect(backupsIn(nas)).toEqual(backupsIn(scene.repository));
      unmountAll();
      await rm(scene.repository, { recursive: true });
    },
  );

  it('in the middle of a base backup, too', async () => {
    mountSmall(nas, 16e6);
    await writeStores(config, { nas: { path: nas, required: false } });
    const free = fillUp(nas, 400_000);
    const environment = { ...scene.cluster.environment(), BACKUP_DIR: scene.repository };
    const more = { ...environment, MIN_DISK_SPACE_GB: '0' };
    const outcome = await runTakeBase(more, 'full', ['--config', config]);
    expect(outcome.status, outcome.stderr).toBe(0);
    const { copies } = jsonOf<{ copies: object[] }>(outcome);
    expect(copies).toMatchObject([
      { store: 'local', status: 'stored' },
      { store: 'nas', status: 'missing' },
    ]);
    expect(
      readdirSync(nas, { recursive: true }).filter((name) => isUnfinished(String(name))),
    ).toEqual([]);
    free();
    unmountAll();
    await rm(scene.repository, { recursive: true });
  });
});

/** Both stores hold whole backups only, and after the next run the same ones. */
async function expectWhole(context: string): Promise<void> {
  for (const store of [scene.repository, nas]) {
    const found = readdirSync(join(store, 'full'), { recursive: true, encoding: 'utf8' });
    const whole = found.filter((name) => /-[a-z0-9]{4}$/.test(name));
    for (const label of whole) expect(found, context).toContain(`${label}/manifest.json`);
  }
  await writeStores(config, { nas: { path: nas } });
  await backUp(0);
  expect(Object.keys(backupsIn(nas)).filter(isUnfinished), context).toEqual([]);
  expect(backupsIn(nas), context).toEqual(backupsIn(scene.repository));
  const records = readdirSync(join(scene.repository, 'state/runs'));
  expect(
    records.filter((name) => name.endsWith('.json')),
    context,
  ).toEqual([]);
  const verified = await scene.run('verify_backups', ['--all', '--config', config]);
  expect(verified.status, `${context}: ${verified.stderr}`).toBe(0);
}

describe('kill -9', () => {
  it.each(rounds(4))('at any moment, round %i', async () => {
    await writeStores(config, { nas: { path: nas } });
    const began = performance.now();
    const { folder } = await backUp(0);
    const durationMs = performance.now() - began;
    // The next run has to bring it back, so that the blow may hit that.
    await rm(join(nas, folder), { recursive: true });
    const victim = scene.start('backup_full', argv());
    const ms = chance.between(0.3, 2.2) * durationMs;
    await sleep(ms);
    send(victim.pid, 'SIGKILL');
    const { status } = await victim.outcome;
    await victim.expectGone();
    const seed = `HOLDFAST_FAULT_SEED=${chance.seed}`;
    await expectWhole(`after ${Math.round(ms)} ms, status ${status} (${seed})`);
  });

  it('in the middle of a copy from one store to the other', async () => {
    // So slow that the copy is under way when it is looked for.
    await writeStores(config, { nas: { path: nas, max_rate_mb: 2 } });
    const { folder } = await backUp(0);
    await rm(join(nas, folder), { recursive: true });
    const victim = scene.start('backup_full', argv());
    await until('the copy', () => existsSync(join(nas, `${folder}.partial`)) || null);
    send(victim.pid, 'SIGKILL');
    await victim.outcome;
    await victim.expectGone();
    expect(existsSync(join(nas, `${folder}.partial`))).toBe(true);
    await expectWhole('in the middle of a copy');
  });
});
