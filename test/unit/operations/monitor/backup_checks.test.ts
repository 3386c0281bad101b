/** The checks of full backups and copies, on real repositories whose clock moves. */

import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeCheck } from '../../../../src/catalog/checks.ts';
import { type LastRunStatus, updateStatus } from '../../../../src/catalog/status.ts';
import {
  dayMs,
  hourMs,
  type MonitorScene,
  openMonitorScene,
} from '../../../support/monitor_scene.ts';

const begin = new Date('2026-11-21T02:00:00.000Z');
let scene: MonitorScene;
beforeEach(async () => {
  scene = await openMonitorScene(begin, { required: true });
});
afterEach(() => scene.close());

const look = () => scene.run({ group: 'backups' });
const both = ['local', 'nas'] as const;

async function told(database: string, at: Date, parts: Partial<LastRunStatus> = {}) {
  const time = at.toISOString();
  const run = { started_at: time, finished_at: time, status: 'ok', exit_status: 0 } as const;
  const change = { cluster: 'main', database, server: 's', run: { ...run, ...parts } };
  await updateStatus(scene.root, change, at);
}

describe('the age of backups in a repository', () => {
  it('goes by the clock, and by backups in any store', async () => {
    scene.set({ PGDATABASE: 'shop' });
    await scene.backup({ at: begin, stores: ['nas'] });
    scene.pass(25 * hourMs);
    expect((await look()).one('backup_age', 'main/shop').level).toBe('ok');
    scene.pass(1);
    expect((await look()).one('backup_age', 'main/shop').level).toBe('warning');
    await scene.backup({ at: scene.now(), stores: both });
    expect((await look()).one('backup_age', 'main/shop')).toMatchObject({ level: 'ok' });
  });

  it('is critical for a database of the settings that was never backed up', async () => {
    scene.set({ PGDATABASE: 'other' });
    await scene.backup({ at: begin, stores: both });
    const found = await look();
    expect(found.one('backup_age', '?/other').level).toBe('critical');
    expect(found.one('backup_age', 'main/shop')).toMatchObject({ level: 'ok' });
  });

  it('does not count a backup whose manifest is cut, nor one that was found damaged', async () => {
    scene.set({ PGDATABASE: 'shop' });
    await scene.backup({ at: new Date(begin.getTime() - 60 * hourMs), stores: both });
    const cut = await scene.backup({ at: begin });
    const found = await scene.backup({ at: begin });
    expect((await look()).one('backup_age').level).toBe('ok');
    await writeFile(join(scene.root, cut, 'manifest.json'), '{"format":');
    const { storage } = (await scene.context()).repository;
    await writeCheck(storage, found, { kind: 'damaged', at: begin }, {});
    const finding = (await look()).one('backup_age');
    expect(finding.level).toBe('critical');
    expect(finding.found).toContain('2 younger backups damaged');
  });

  it('quotes the last failure of status.json, and does without one that is damaged', async () => {
    scene.set({ PGDATABASE: 'shop' });
    await scene.backup({ at: begin, stores: both });
    scene.pass(30 * hourMs);
    const error = { code: 'NO_SPACE', message: 'the disk is full' };
    await told('shop', scene.now(), { status: 'failed', exit_status: 3, error });
    expect((await look()).one('backup_age').found).toContain('NO_SPACE, the disk is full');
    await writeFile(join(scene.root, 'status.json'), 'nonsense');
    expect((await look()).one('backup_age')).toMatchObject({ level: 'warning' });
  });

  it('alarms for a dropped database no longer than the runs of the others tell', async () => {
    scene.set({ SCHEDULE_ALL_DATABASES: 'true' });
    await scene.backup({ at: begin, stores: both });
    await scene.backup({ at: begin, stores: both, manifest: { database: 'gone' } });
    scene.pass(dayMs);
    await scene.backup({ at: scene.now(), stores: both });
    scene.pass(2 * hourMs);
    const found = await look();
    expect(found.one('backup_age', 'main/gone').level).toBe('ok');
    expect(found.one('backup_age', 'main/gone').message).toContain('none is expected');
    expect(found.one('backup_age', 'main/shop').level).toBe('ok');
    scene.pass(dayMs);
    expect((await look()).one('backup_age', 'main/shop').level).toBe('warning');
  });

  it('alarms for one whose runs fail, though it has never had a backup', async () => {
    scene.set({ SCHEDULE_ALL_DATABASES: 'true' });
    await scene.backup({ at: begin, stores: both });
    const error = { code: 'DATABASE_PRIVILEGE', message: 'no' };
    await told('new', begin, { status: 'failed', exit_status: 8, error });
    expect((await look()).one('backup_age', 'main/new').level).toBe('critical');
  });

  it('is unknown where no store can be read', async () => {
    await scene.backup({ at: begin, stores: both });
    const context = await scene.context();
    for (const path of [scene.root, scene.nas]) {
      await rename(join(path, 'full'), join(path, 'away'));
      await symlink(join(path, 'full'), join(path, 'full'));
    }
    expect(context.repository.stores).toHaveLength(2);
    const found = await look();
    expect(found.one('backup_age').level).toBe('unknown');
    expect(found.all.every(({ level }) => level === 'unknown')).toBe(true);
  });
});

describe('what the backups of a repository are like', () => {
  it('tells one that is much smaller, from what the manifests say', async () => {
    const files = (bytes: number) => {
      const measured = { bytes, sha256: 'a'.repeat(64) };
      const file = { name: 'database.dump', role: 'dump', filters: [] } as const;
      return [{ ...file, filters: [], stored: measured, plain: measured }];
    };
    for (let day = 4; day >= 0; day -= 1) {
      const at = new Date(begin.getTime() - day * dayMs);
      await scene.backup({ at, manifest: { files: files(day === 0 ? 300 : 1000 + day) } });
    }
    const finding = (await look()).one('size', 'main/shop');
    expect(finding).toMatchObject({ level: 'warning' });
    expect(finding.message).toContain('much smaller');
  });

  it('tells that there are fewer than the retention promises', async () => {
    for (const day of [0, 1, 8]) {
      await scene.backup({ at: new Date(begin.getTime() - day * dayMs), stores: both });
    }
    expect((await look()).one('count', 'main/shop').level).toBe('warning');
    scene.set({ BACKUP_RETENTION_DAYS: '3' });
    expect((await look()).one('count', 'main/shop').level).toBe('ok');
  });

  it('tells which store lacks copies, and which cannot be asked', async () => {
    await scene.backup({ at: begin, stores: both });
    await scene.backup({ at: new Date(begin.getTime() - hourMs), stores: ['local'] });
    expect((await look()).of('copies').map(({ level }) => level)).toEqual(['ok', 'ok']);
    scene.pass(25 * hourMs + 1000);
    const found = await look();
    expect(found.one('copies', 'local').level).toBe('ok');
    expect(found.one('copies', 'nas')).toMatchObject({ level: 'warning', values: { missing: 1 } });
    await rename(scene.nas, `${scene.nas}.away`);
    expect((await look()).one('copies', 'nas'), 'not mounted').toMatchObject({
      values: { missing: 2 },
    });
    await symlink(scene.nas, scene.nas);
    expect((await look()).one('copies', 'nas').level).toBe('unknown');
  });

  it('asks for a proof by a restore where that is set, in whatever store it is recorded', async () => {
    const key = await scene.backup({ at: begin, stores: both });
    expect((await look()).of('drill')).toEqual([]);
    scene.set({ MAX_DRILL_AGE_DAYS: '30' });
    expect((await look()).one('drill', 'main/shop').level).toBe('warning');
    const [, nas] = (await scene.context()).repository.stores;
    const storage = await nas?.open();
    if (storage === undefined) throw new Error('there are two stores');
    await writeCheck(storage, key, { kind: 'proven', at: begin }, {});
    await writeCheck(storage, key, { kind: 'verified', at: new Date(begin.getTime() + 1) }, {});
    expect((await look()).one('drill', 'main/shop').level).toBe('ok');
    scene.pass(30 * dayMs + 1);
    expect((await look()).one('drill', 'main/shop').level).toBe('warning');
  });

  it('says nothing of what lies there and is no backup', async () => {
    await mkdir(join(scene.root, 'full/main/shop/README'), { recursive: true });
    await scene.backup({ at: begin, stores: both, manifest: { database: 'ünï "x"\n$(y)' } });
    const found = await look();
    const [finding] = found.of('backup_age').filter(({ database }) => database !== 'shop');
    expect(finding).toMatchObject({ level: 'ok', database: 'ünï "x"\n$(y)' });
    expect(JSON.stringify(found.all.map(({ subject }) => subject))).not.toContain('\\n"');
    await rm(join(scene.root, 'full'), { recursive: true });
  });
});
