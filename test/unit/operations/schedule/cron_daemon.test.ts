import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { isCronRunning } from '../../../../src/operations/schedule/cron_daemon.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-machine-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('sees whether a cron runs, by the names of what runs', async () => {
  expect(await isCronRunning(join(folder, 'no proc'))).toBeNull();
  await mkdir(join(folder, '12'));
  await writeFile(join(folder, '12/comm'), 'postgres\n');
  expect(await isCronRunning(folder)).toBe(false);
  await mkdir(join(folder, '34'));
  await writeFile(join(folder, '34/comm'), 'cron\n');
  expect(await isCronRunning(folder)).toBe(true);
});
