/** How long a restore will take: told from the restores that were recorded, and never a failure. */

import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
let ratesPath: string;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  ratesPath = join(bench.repository, 'state', 'restore_rates.json');
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql('CREATE TABLE goods AS SELECT generate_series(1, 500) AS id', 'shop');
  await bench.backUp('shop');
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

beforeEach(async () => {
  await rm(ratesPath, { recursive: true, force: true });
  await cluster.sql('DROP DATABASE IF EXISTS copy');
});

const argv = ['--latest', 'shop', '--target-database', 'copy', '--json'];
const restore = (...more: string[]) => bench.run('restore_backup', [...argv, '--force', ...more]);

async function estimate(...more: string[]): Promise<unknown> {
  const outcome = await bench.run('restore_backup', [...argv, '--dry-run', ...more]);
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<{ plan: { estimate: unknown } }>(outcome).plan.estimate;
}

const recorded = async () => JSON.parse(await readFile(ratesPath, 'utf8')).restores;

describe('the estimate', () => {
  it('is not known before a restore, and told from one after it, for the same number of jobs', async () => {
    expect(await estimate()).toBeNull();
    const text = await bench.run('restore_backup', ['--latest', 'shop', '--dry-run']);
    expect(text.stdout).toMatch(/time: {4}not known: .*; the backup took \d/);
    const restored = await restore();
    expect(restored.status, restored.stderr).toBe(0);
    expect(await estimate()).toEqual({ seconds: expect.any(Number), restores: 1 });
    expect(await estimate('--jobs', '2')).toBeNull();
    expect(await recorded()).toEqual([
      expect.objectContaining({
        database: 'copy',
        jobs: 1,
        compare: 'counts',
        dump_bytes: expect.any(Number),
        seconds: {
          verifying: expect.any(Number),
          filling: expect.any(Number),
          comparing: expect.any(Number),
          analyzing: expect.any(Number),
        },
      }),
    ]);
  });

  it('a restore that failed records nothing', async () => {
    const failed = await restore('--username', 'nobody');
    expect(failed.status).toBe(8);
    expect(await estimate()).toBeNull();
  });

  it('of damaged records is not known, and the next restore begins them anew', async () => {
    await writeFile(ratesPath, '{"format":1,"restores":[{"jo');
    const outcome = await bench.run('restore_backup', [...argv, '--dry-run']);
    expect(outcome.stderr).toMatch(/warning: how long restores take is not known: .*not valid/);
    expect(outcome.status).toBe(0);
    expect((await restore()).status).toBe(0);
    expect((await recorded()).length).toBe(1);
  });

  it('that cannot be recorded is a warning', async () => {
    await mkdir(ratesPath);
    const outcome = await restore();
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toMatch(/warning: how long this restore took is not recorded/);
  });

  it('comes from the last hundred restores at most', async () => {
    const seconds = { verifying: 1, filling: 2, comparing: 3, analyzing: 4 };
    const one = { finished_at: 'then', database: 'x', dump_bytes: 9e9, jobs: 9, compare: 'counts' };
    const restores = Array.from({ length: 100 }, () => ({ ...one, seconds }));
    await writeFile(ratesPath, JSON.stringify({ format: 1, restores }));
    expect((await restore()).status).toBe(0);
    const after = await recorded();
    expect(after.length).toBe(100);
    expect(after.at(-1).database).toBe('copy');
  });

  it('is not known without a repository, where nothing is recorded', async () => {
    const [folder = ''] = jsonOf<{ backups: { folder: string }[] }>(
      await bench.run('list_backups', ['--json']),
    ).backups.map((backup) => join(bench.repository, backup.folder));
    const environment = { BACKUP_DIR: join(bench.folder, 'none') };
    const argvOfFolder = [folder, '--target-database', 'copy', '--json'];
    const outcome = await bench.run('restore_backup', [...argvOfFolder, '--force'], {
      environment,
    });
    expect(outcome.status, outcome.stderr).toBe(0);
    const plan = await bench.run('restore_backup', [...argvOfFolder, '--dry-run'], { environment });
    expect(jsonOf(plan)).toMatchObject({ plan: { estimate: null } });
  });
});
