/** A restore on a real server from the copies in two stores. */

import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { flipped, openWorkbench, type TakenBackup, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
let taken: TakenBackup;
let config: readonly string[];

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  const file = join(bench.folder, 'holdfast.yaml');
  await writeFile(file, `stores:\n  nas:\n    path: ${join(bench.folder, 'nas')}\n`, {
    mode: 0o600,
  });
  config = ['--config', file];
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql('CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 5000) n', 'shop');
  taken = await bench.backUp('shop', config);
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

async function restore(target: string, ...argv: string[]) {
  const all = ['--latest', 'shop', '--target-database', target, '--force', ...argv, ...config];
  return bench.run('restore_backup', all);
}

async function goodsIn(database: string): Promise<unknown> {
  const [row] = await cluster.sql('SELECT count(*)::int AS goods FROM goods', database);
  return row?.goods;
}

describe('a backup whose copy on the disk is damaged', () => {
  it.each(['1', '2'])('is restored from the other store (%s jobs)', async (jobs) => {
    const path = join(taken.folder, 'database.dump.zst');
    const good = await readFile(path);
    await chmod(path, 0o600);
    await writeFile(path, flipped(good));
    const target = `copy${jobs}`;
    const { status, stderr } = await restore(target, '--jobs', jobs);
    expect(status, stderr).toBe(0);
    expect(stderr).toMatch(/the copy of \S+ in the store local cannot be used: .*one in nas/);
    expect(await goodsIn(target)).toBe(5000);
    // Nothing is left of the attempt with the damaged copy.
    const names = await cluster.sql("SELECT datname FROM pg_database WHERE datname LIKE 'copy%'");
    expect(names.filter(({ datname }) => String(datname).startsWith(target))).toHaveLength(1);
    const checks = join(bench.repository, 'checks');
    const found = await readdir(checks, { recursive: true });
    expect(found.filter((name) => name.endsWith('-damaged.json'))).toHaveLength(1);
    await writeFile(path, good);
    await rm(checks, { recursive: true });
  });

  it('is taken from the other store at once on a machine without the first', async () => {
    await rm(bench.repository, { recursive: true });
    await mkdir(bench.repository);
    const { status, stderr } = await restore('anew');
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('from the store nas\n');
    expect(await goodsIn('anew')).toBe(5000);
  });
});
