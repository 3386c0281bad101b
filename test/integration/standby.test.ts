import { chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { acquireDatabaseLock, backupLockKey } from '../../src/postgres/advisory_lock.ts';
import { exportSnapshot, readDatabaseFacts, readServerFacts } from '../../src/postgres/facts.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { examine, of } from '../support/doctor.ts';
import { openWorkbench } from '../support/workbench.ts';

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await startTestCluster();
  await cluster.sql('CREATE TABLE kept AS SELECT 1 AS one');
  // A cluster with this file recovers until it is told to stop, and answers questions meanwhile.
  const signal = join(cluster.dataDirectory, 'standby.signal');
  writeFileSync(signal, '');
  if (cluster.osUser !== null) chownSync(signal, cluster.osUser.uid, cluster.osUser.gid);
  await cluster.restart();
});
afterAll(async () => {
  await cluster.stop({ immediate: true });
});

describe('a standby', () => {
  it('tells its facts, exports a snapshot and can be locked', async () => {
    const client = await cluster.connect();
    const server = await readServerFacts(client);
    expect(server).toMatchObject({ in_recovery: true, timeline: 1 });
    expect(server.lsn).toMatch(/^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/);
    expect(server.lsn).not.toBe('0/0');

    const snapshot = await exportSnapshot(client);
    expect((await readDatabaseFacts(client)).relations).toEqual({ r: 1 });
    await snapshot.release();

    const key = backupLockKey('postgres');
    const lock = await acquireDatabaseLock({ client, key, holder: 'holdfast', waitMs: 0 });
    await lock.verify();
    await lock.release();
  });

  it('is told as one by the doctor, without a problem', async () => {
    const bench = await openWorkbench(cluster);
    try {
      const report = await examine(bench, ['postgres']);
      expect(report.findings.filter(({ level }) => level === 'problem')).toEqual([]);
      expect(of(report, 'server', 'ok')[0]?.message).toMatch(/^PostgreSQL .*, a standby$/);
      const notes = of(report, 'space', 'note').map(({ message }) => message);
      expect(notes).toContain('the server is a standby, which takes no restore');
    } finally {
      await bench.remove();
    }
  });

  it('is on a new timeline right after its promotion', async () => {
    await cluster.sql('SELECT pg_promote()');
    const server = await readServerFacts(await cluster.connect());
    expect(server).toMatchObject({ in_recovery: false, timeline: 2 });
  });
});
