/** What the sessions that fill a restored database do not wait for, and that nothing else is so. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql(
    [
      'CREATE TABLE goods AS SELECT n AS id FROM generate_series(1, 100) n',
      // Filled anew by whoever restores it, in that session.
      `CREATE MATERIALIZED VIEW restored_with AS
         SELECT current_setting('synchronous_commit') AS setting`,
    ],
    'shop',
  );
  await bench.backUp('shop');
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

async function restoredWith(jobs: string, options: string): Promise<unknown> {
  const argv = ['--latest', 'shop', '--target-database', 'copy', '--force', '--jobs', jobs];
  const environment = { PGOPTIONS: options };
  const { status, stderr } = await bench.run('restore_backup', argv, { environment });
  expect(status, stderr).toBe(0);
  const [row] = await cluster.sql('SELECT setting FROM restored_with', 'copy');
  const [now] = await cluster.sql('SHOW synchronous_commit', 'copy');
  expect(now).toEqual({ synchronous_commit: 'on' });
  await cluster.sql('DROP DATABASE copy (FORCE)');
  return row?.setting;
}

describe('the sessions that fill a restored database', () => {
  it.each(['1', '2'])('wait for no disk at their commits (%s jobs)', async (jobs) => {
    expect(await restoredWith(jobs, '')).toBe('off');
  });

  it('do what the operator has told them', async () => {
    expect(await restoredWith('2', '-c synchronous_commit=local')).toBe('local');
  });
});
