/** scripts/list_backups.ts on a real repository: what is in one backup. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  await cluster.sql('CREATE DATABASE mastertrade');
  await cluster.sql(
    [
      'CREATE TABLE trades (id serial PRIMARY KEY, what text)',
      'INSERT INTO trades (what) SELECT md5(n::text) FROM generate_series(1, 5000) AS n',
      "SELECT lo_from_bytea(0, decode(repeat('ab', 1000), 'hex'))",
    ],
    'mastertrade',
  );
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

describe('the tables of one backup', () => {
  it('are listed with their rows, for people and for scripts', async () => {
    const { label, manifest } = await bench.backUp('mastertrade');
    const shown = await bench.run('list_backups', [label]);
    expect(shown.status, shown.stderr).toBe(0);
    expect(shown.stdout).toContain(`${label}: mastertrade as of ${manifest.started_at}`);
    expect(shown.stdout).toMatch(/^public +trades +5000 +\d/m);
    expect(shown.stdout).toContain('1 large object, 1.0 kB');
    const listed = jsonOf(await bench.run('list_backups', [label, '--json']));
    expect(listed).toMatchObject({ label, database: 'mastertrade', tables: manifest.tables });
  });

  it('of a label that is not there: status 5', async () => {
    const outcome = await bench.run('list_backups', ['20260101T000000Z-daily-aaaa']);
    expect(outcome.status).toBe(5);
  });
});
