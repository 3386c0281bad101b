import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { extraPath } from '../../../../src/operations/schedule/job_path.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-machine-'));
});
afterEach(() => rm(folder, { recursive: true }));

it('tells the folders of programs that a bare PATH does not have', async () => {
  expect(await extraPath({ PATH: '/usr/bin:/bin' })).toBeNull();
  await writeFile(join(folder, 'age'), '', { mode: 0o755 });
  expect(await extraPath({ PATH: `${folder}:/usr/bin` })).toBe(folder);
});
