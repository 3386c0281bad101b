/** What monitor_backups.ts finds in a repository of real backups when things go wrong. */

import { existsSync } from 'node:fs';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HealthCheck, HealthFinding } from '../../src/core/health.ts';
import { runTakeBase, type TakenBase } from '../support/base_backup.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { spawnCommand } from '../support/command.ts';
import { send, until } from '../support/fault.ts';
import {
  flipped,
  jsonOf,
  openWorkbench,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

/** The checks of backups and runs. */
const ours: readonly HealthCheck[] = [
  'backup_age',
  'repository',
  'integrity',
  'size',
  'count',
  'runs',
  'schedule',
  'log_errors',
  'alerts',
];
const rows = 4000;
let cluster: TestCluster;
let bench: Workbench;

async function look(action = 'check') {
  const outcome = await bench.run('monitor_backups', [action, '--json']);
  const { findings } = jsonOf<{ findings: HealthFinding[] }>(outcome);
  const own = findings.filter(({ check }) => ours.includes(check));
  const wrong = own.filter(({ level }) => level !== 'ok');
  return { status: outcome.status, own, wrong };
}

/** What is wrong, in a few words. */
async function wrongNow(): Promise<string[]> {
  const { wrong } = await look();
  return wrong.map(({ check, subject, level }) => `${level} ${check} ${subject}`);
}

async function fill(): Promise<void> {
  await cluster.sql(
    `INSERT INTO orders SELECT n, md5(n::text) FROM generate_series(1, ${rows}) AS n`,
    'shop',
  );
}

const backUp = (): Promise<TakenBackup> => bench.backUp('shop', ['--job', 'daily', '--wait', '60']);

beforeAll(async () => {
  cluster = await startTestCluster();
  await cluster.sql('CREATE DATABASE shop');
  await cluster.sql('CREATE TABLE orders (id bigint PRIMARY KEY, what text)', 'shop');
  await fill();
  bench = await openWorkbench(cluster, { PGDATABASE: 'shop' });
  for (let taken = 0; taken < 3; taken += 1) await backUp();
});
afterAll(async () => {
  await bench?.remove();
  await cluster?.stop();
});

describe('monitor_backups.ts', () => {
  it('finds nothing wrong with backups that were just taken, and reads them all for verify', async () => {
    const { wrong, own } = await look();
    expect(wrong).toEqual([]);
    const integrity = own.find(({ check }) => check === 'integrity');
    expect(integrity?.values, 'they were read back just now').toMatchObject({ read_bytes: 0 });
    const checks = new Set(own.map(({ check }) => check));
    for (const check of ours) expect(checks, check).toContain(check);
    const all = (await look('verify')).own.find(({ check }) => check === 'integrity');
    expect(all?.values.read_bytes).toBeGreaterThan(3 * rows);
  });

  it('tells a dump that has shrunk, until it is as usual', async () => {
    await cluster.sql('TRUNCATE orders', 'shop');
    const small = await backUp();
    expect(await wrongNow()).toEqual([`warning size ${small.manifest.cluster}/shop`]);
    await fill();
    await backUp();
    expect(await wrongNow()).toEqual([]);
  });

  it('finds a flipped byte and a missing file in the next run, and writes no record of it', async () => {
    const taken = [await backUp(), await backUp()];
    expect(await wrongNow()).toEqual([]);
    const [flip, lose] = taken;
    if (flip === undefined || lose === undefined) throw new Error('two were taken');
    const path = join(flip.folder, 'database.dump.zst');
    const bytes = await readFile(path);
    await writeFile(path, flipped(bytes));
    await rm(join(lose.folder, 'globals.sql.zst'));
    const { status, wrong } = await look();
    expect(status).toBe(2);
    expect(wrong.map(({ check, found }) => `${check} ${found}`).sort()).toEqual([
      'integrity database.dump.zst differs from its digest',
      'integrity globals.sql.zst is not there',
    ]);
    expect(existsSync(join(bench.repository, 'checks'))).toBe(false);
    // As the finding says: verify_backups.ts records it, and the monitor goes by that.
    const verified = await bench.run('verify_backups', [flip.label]);
    expect(verified.status).toBe(4);
    const finding = (await look()).wrong.find(({ subject }) => subject.includes(flip.label));
    expect(finding?.found).toContain('verify_backups.ts found it damaged');
    for (const { folder } of taken) await rm(folder, { recursive: true });
    expect(await wrongNow()).toEqual([]);
  });

  it('reads base backups, too', async () => {
    const outcome = await runTakeBase(bench.environment);
    expect(outcome.status, outcome.stderr).toBe(0);
    const { folder, manifest } = jsonOf<TakenBase>(outcome);
    expect(await wrongNow()).toEqual([]);
    const path = join(bench.repository, folder, 'base.tar.zst');
    await writeFile(path, flipped(await readFile(path)));
    const [finding, ...others] = (await look()).wrong;
    expect(others).toEqual([]);
    expect(finding).toMatchObject({
      check: 'integrity',
      level: 'critical',
      subject: `local/${manifest.cluster}/${manifest.label}`,
      found: 'base.tar.zst differs from its digest',
    });
    await rm(join(bench.repository, folder), { recursive: true });
    expect(await wrongNow()).toEqual([]);
  });

  it('tells a run that kill -9 has ended, until the job has succeeded', async () => {
    const holder = cluster.sql('BEGIN; LOCK TABLE orders; SELECT pg_sleep(600)', 'shop');
    holder.catch(() => undefined);
    const isHeld = `SELECT 1 FROM pg_locks
      WHERE relation = 'orders'::regclass AND mode = 'AccessExclusiveLock' AND granted`;
    await until('the lock', async () => {
      return (await cluster.sql(isHeld, 'shop')).length > 0 || null;
    });
    const { environment } = bench;
    const child = spawnCommand('backup_full', ['shop', '--job', 'daily'], { environment });
    child.stdout.resume();
    await until('the run', async () => {
      const names = await readdir(join(bench.repository, 'state/runs'));
      return names.some((name) => name.endsWith('.json')) || null;
    });
    send(child.pid, 'SIGKILL');
    await child.exited;
    await cluster.sql(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
       WHERE query LIKE '%pg_sleep(600)%' AND pid <> pg_backend_pid()`,
      'shop',
    );
    await holder.catch(() => undefined);
    expect(await wrongNow()).toEqual(['critical runs daily']);
    await backUp();
    expect(await wrongNow()).toEqual([]);
  });

  it('tells a run that failed, by its record, its log, and the age that grows', async () => {
    const PGPORT = '1';
    const failed = await bench.run('backup_full', ['shop', '--job', 'daily'], {
      environment: { PGPORT, PGHOST: bench.folder },
    });
    expect(failed.status).toBe(8);
    expect(await wrongNow()).toEqual([
      'warning runs daily',
      'warning log_errors backup_full/DATABASE_UNREACHABLE',
    ]);
    await backUp();
    expect(await wrongNow()).toEqual(['warning log_errors backup_full/DATABASE_UNREACHABLE']);
  });
});
