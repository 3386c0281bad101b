import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  requireSystemZone,
  systemTimeZone,
} from '../../../../src/operations/schedule/time_zone.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-machine-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('finds the time zone of a machine, whatever names it', async () => {
  expect(await systemTimeZone(folder)).toBe('UTC');
  await writeFile(join(folder, 'timezone'), 'Asia/Tokyo\n');
  expect(await systemTimeZone(folder)).toBe('Asia/Tokyo');
  await symlink('/usr/share/zoneinfo/Europe/Berlin', join(folder, 'localtime'));
  expect(await systemTimeZone(folder)).toBe('Europe/Berlin');
});

it('refuses a zone that cron would not go by', () => {
  requireSystemZone(null, 'UTC');
  requireSystemZone('Etc/UTC', 'UTC');
  expect(() => requireSystemZone('Europe/Berlin', 'UTC')).toThrow(
    "schedule.time_zone is Europe/Berlin, and cron goes by the machine's own, UTC",
  );
  expect(() => requireSystemZone('Europe/Atlantis', 'UTC')).toThrow('no such time zone');
});
