/** The check `integrity`, on real files that somebody flips, cuts, removes and touches. */

import {
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  unlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeCheck } from '../../../../src/catalog/checks.ts';
import {
  dayMs,
  hourMs,
  type MonitorScene,
  openMonitorScene,
} from '../../../support/monitor_scene.ts';

/** Files have the time of this machine, so the scene's clock begins with it. */
const begin = new Date();
const subject = (key: string, store = 'local') => `${store}/${key.replace('full/', '')}`;
let scene: MonitorScene;
beforeEach(async () => {
  scene = await openMonitorScene(begin, { required: false });
});
afterEach(() => scene.close());

const look = (isQuick = true) => scene.run({ group: 'integrity', isQuick });

async function takenBefore(ms: number, stores: readonly ('local' | 'nas')[] = ['local']) {
  return scene.backup({ at: new Date(begin.getTime() - ms), stores });
}

describe('the integrity of backups', () => {
  it('is fine where nothing has changed, and reads nothing that was read just now', async () => {
    await takenBefore(2 * hourMs);
    const first = await look();
    expect(first.one('integrity', 'local')).toMatchObject({ level: 'ok', mend: null });
    expect(first.one('integrity', 'local').values).toMatchObject({ backups: 1, read_bytes: 0 });
    expect((await look()).one('integrity', 'local').values.read_bytes).toBe(0);
  });

  it('finds a byte that somebody flipped, though its times were set back', async () => {
    const key = await takenBefore(2 * hourMs);
    await look();
    const path = join(scene.root, key, 'database.dump.zst');
    const { atime, mtime } = await stat(path);
    await scene.flip('local', `${key}/database.dump.zst`);
    await utimes(path, atime, mtime);
    const finding = (await look()).one('integrity', subject(key));
    expect(finding).toMatchObject({ level: 'critical', cluster: 'main', database: 'shop' });
    expect(finding.found).toContain('database.dump.zst differs from its digest');
    expect(finding.mend).toContain('verify_backups.ts');
    expect(finding.since).toBe(scene.now().toISOString());
    scene.pass(hourMs);
    const again = (await look()).one('integrity', subject(key));
    expect(again, 'it is told until it is gone').toMatchObject({ level: 'critical' });
    expect(again.since).toBe(finding.since);
    await rm(join(scene.root, key), { recursive: true });
    expect((await look()).of('integrity').map(({ level }) => level)).toEqual(['ok', 'ok']);
  });

  it('finds a file that is missing, cut, or was never there', async () => {
    const keys = [await takenBefore(hourMs), await takenBefore(2 * hourMs)];
    const [lost = '', cut = ''] = keys;
    await look();
    await rm(join(scene.root, lost, 'globals.sql.zst'));
    await truncate(join(scene.root, cut, 'database.dump.zst'), 10);
    const found = await look();
    expect(found.one('integrity', subject(lost)).found).toContain('globals.sql.zst is not there');
    expect(found.one('integrity', subject(cut)).found).toContain('has 10 bytes instead of');
    expect(found.one('integrity', 'local').values.damaged).toBe(2);
  });

  it('finds bit rot, which no time betrays, when its turn comes', async () => {
    const key = await takenBefore(2 * dayMs);
    await scene.flip('local', `${key}/database.dump.zst`);
    // The manifest is as young as the flipped file: nothing tells that anything has changed.
    const manifest = join(scene.root, key, 'manifest.json');
    await writeFile(manifest, await readFile(manifest));
    scene.set({ INTEGRITY_MB: '0' });
    expect((await look()).of('integrity').every(({ level }) => level === 'ok')).toBe(true);
    scene.set({ INTEGRITY_MB: '1' });
    const found = await look();
    expect(found.one('integrity', subject(key)).level).toBe('critical');
    expect(found.one('integrity', 'local').values.read_bytes).toBeGreaterThan(0);
  });

  it('reads every file again when that is asked for, whatever was read before', async () => {
    await takenBefore(hourMs, ['local', 'nas']);
    await look();
    const found = await look(false);
    for (const store of ['local', 'nas']) {
      expect(found.one('integrity', store).values.read_bytes, store).toBeGreaterThan(1000);
    }
  });

  it('believes a file that was mended, and one that verify_backups.ts has found good', async () => {
    const keys = [await takenBefore(hourMs), await takenBefore(2 * hourMs)];
    const [mended = '', verified = ''] = keys;
    await look();
    for (const key of keys) await scene.flip('local', `${key}/restore.sh`);
    expect((await look()).one('integrity', 'local').values.damaged).toBe(2);
    await scene.flip('local', `${mended}/restore.sh`);
    await scene.flip('local', `${verified}/restore.sh`);
    scene.set({ INTEGRITY_MB: '0' });
    scene.setClock(new Date(Date.now() + hourMs));
    const { storage } = (await scene.context()).repository;
    await writeCheck(storage, verified, { kind: 'verified', at: scene.now() }, {});
    expect((await look()).one('integrity', 'local').values).toMatchObject({ damaged: 0 });
  });

  it('tells what verify_backups.ts has found damaged, in the store where it lies', async () => {
    const key = await takenBefore(hourMs, ['local', 'nas']);
    const [, nas] = (await scene.context()).repository.stores;
    const at = new Date(begin.getTime() - 1000);
    await writeCheck((await nas?.open()) as never, key, { kind: 'damaged', at }, {});
    const found = await look();
    expect(found.one('integrity', subject(key, 'nas'))).toMatchObject({
      level: 'critical',
      since: at.toISOString(),
    });
    expect(found.one('integrity', 'local').level).toBe('ok');
  });

  it('cannot tell of a store that does not answer, and hides no other one', async () => {
    const key = await takenBefore(hourMs, ['local', 'nas']);
    await look();
    await scene.flip('nas', `${key}/restore.sh`);
    expect((await look()).one('integrity', subject(key, 'nas')).level).toBe('critical');
    await rename(scene.nas, `${scene.nas}.away`);
    const notMounted = await look();
    expect(notMounted.one('integrity', 'local').level).toBe('ok');
    expect(notMounted.one('integrity', 'nas')).toMatchObject({
      level: 'unknown',
      expected: 'the 1 backup that lay there',
    });
    // Every access fails, also that of root.
    await symlink(scene.nas, scene.nas);
    expect((await look()).one('integrity', 'nas').level).toBe('unknown');
    await unlink(scene.nas);
    await rename(`${scene.nas}.away`, scene.nas);
    expect((await look()).one('integrity', subject(key, 'nas')).level).toBe('critical');
  });

  it('warns of what has changed as long as no run had the time to read it', async () => {
    const key = await takenBefore(hourMs);
    await look();
    await scene.flip('local', `${key}/restore.sh`);
    let seconds = 0;
    const stopwatch = () => {
      seconds += 100;
      return seconds;
    };
    for (const run of [1, 2]) {
      const slow = await scene.run({ group: 'integrity', stopwatch });
      expect(slow.one('integrity', 'local'), `run ${run}`).toMatchObject({
        level: 'warning',
        values: { changed: 1, damaged: 0, read_bytes: 0 },
      });
      expect(slow.one('integrity', 'local').mend).toContain(key.split('/').at(-1));
    }
    expect((await look()).one('integrity', subject(key)).level).toBe('critical');
    expect((await look()).one('integrity', 'local').level).toBe('ok');
  });

  it('writes nothing but what it remembers, and does without where that is damaged', async () => {
    const key = await takenBefore(hourMs);
    const before = await stat(join(scene.root, key));
    await look();
    expect((await stat(join(scene.root, key))).ctimeMs).toBe(before.ctimeMs);
    const memory = join(scene.root, 'state/monitor/integrity.json');
    for (const bytes of ['', '{}', `${'0'.repeat(64)}\n{}`]) {
      await writeFile(memory, bytes);
      expect((await look()).one('integrity', 'local').level).toBe('ok');
    }
    await rm(join(scene.root, 'state/monitor'), { recursive: true });
    await writeFile(join(scene.root, 'state/monitor'), '');
    expect((await look()).one('integrity', 'local')).toMatchObject({ level: 'warning' });
  });
});
