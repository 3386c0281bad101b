/** What the monitor says of disks that are nearly full, and of those that are. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openRepository } from '../../src/catalog/repository.ts';
import { spaceGroup } from '../../src/operations/monitor/facts_space.ts';
import { openFolder } from '../../src/storage/open.ts';
import { writeSampleBackup } from '../support/sample_backup.ts';
import { fillUp, freeBytesOf, mountSmall, unmountAll } from '../support/small_disk.ts';
import { watch } from '../support/watched_scene.ts';

const megabyte = 1e6;
let folder: string;
let root: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-monitor-'));
  root = join(folder, 'repository');
  mountSmall(root, 100 * megabyte);
  await openRepository(root, { create: true, now: new Date() });
});
afterAll(async () => {
  unmountAll();
  await rm(folder, { recursive: true });
});

const settings = { MAX_DISK_USED_PERCENT: '80', MIN_DISK_SPACE_GB: '0' };

/** What the monitor says of the disk of the repository, with so many bytes free. */
async function seen(freeBytes: number, more: Readonly<Record<string, string>> = {}) {
  const free = fillUp(root, freeBytes);
  try {
    const environment = { BACKUP_DIR: root, TMPDIR: root, ...settings, ...more };
    const found = await watch({ environment, groups: [spaceGroup] });
    return { ...found.one('space'), free: freeBytesOf(root) };
  } finally {
    free();
  }
}

it('warns of a disk that is nearly full, and calls when it is full', async () => {
  expect(await seen(25 * megabyte)).toMatchObject({ level: 'ok', subject: root, mend: null });
  const tight = await seen(15 * megabyte);
  expect(tight.level).toBe('warning');
  expect(tight.values.free_bytes).toBe(tight.free);
  expect(tight.mend).toContain('scripts/prune_backups.ts');
  expect((await seen(5 * megabyte)).level).toBe('critical');
  expect((await seen(0)).level).toBe('critical');
});

it('keeps as many bytes free as MIN_DISK_SPACE_GB says', async () => {
  const more = { MAX_DISK_USED_PERCENT: '100', MIN_DISK_SPACE_GB: '0.03' };
  expect((await seen(31 * megabyte, more)).level).toBe('ok');
  expect((await seen(29 * megabyte, more)).level).toBe('warning');
  expect((await seen(14 * megabyte, more)).level).toBe('critical');
});

it('says when the next backup will not fit, and on which day the disk is full', async () => {
  const storage = openFolder(root);
  const now = Date.now();
  for (const [index, days] of [3, 2, 1].entries()) {
    const at = new Date(now - days * 86_400_000);
    const label = `${at.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z-daily-k3f${index}`;
    await writeSampleBackup(storage, {
      manifest: { label, started_at: at.toISOString(), finished_at: at.toISOString() },
    });
  }
  const any = { MAX_DISK_USED_PERCENT: '100' };
  const one = (await seen(90 * megabyte, any)).values;
  expect(one.full_in_seconds).toBeUndefined();
  const none = await seen(0, any);
  expect(none.level).toBe('critical');
  expect(none.message).toContain('the next backup needs about');
  expect(none.values.full_in_seconds).toBe(0);
});
