/**
 * Whatever is killed during a base backup: the catalog shows whole ones only, no program lives on,
 * and the next run succeeds and clears up.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DataChild } from '../../src/process/stream.ts';
import { runTakeBase, spawnTakeBase, type TakenBase } from '../support/base_backup.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { send, until } from '../support/fault.ts';
import { jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
/** The folder of the base backups. */
let backups: string;
/** So slow that every blow meets a run that is under way. */
let slow: Readonly<Record<string, string>>;

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  slow = { ...bench.environment, BASE_BACKUP_MAX_RATE_MB: '8' };
  await cluster.sql('CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 50000) AS i');
  const outcome = await runTakeBase(bench.environment);
  expect(outcome.status, outcome.stderr).toBe(0);
  const { folder } = jsonOf<TakenBase>(outcome);
  backups = join(bench.repository, folder, '..');
});
afterAll(async () => {
  await cluster.stop({ immediate: true });
  await bench.remove();
});

function children(pid: number): { pid: number; name: string }[] {
  try {
    const pids = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim().split(/\s+/);
    return pids.filter(Boolean).map((each) => {
      return { pid: Number(each), name: readFileSync(`/proc/${each}/comm`, 'latin1').trim() };
    });
  } catch {
    return [];
  }
}

/**
 * Starts one and waits until its bytes flow. @returns the process of pg_basebackup too, which is
 * stopped, so that no blow comes too late however busy the machine is
 */
async function startSlow(): Promise<{ victim: DataChild; program: number }> {
  const victim = spawnTakeBase(slow);
  victim.stdout.resume();
  const { pid = 0 } = victim;
  const program = await until('pg_basebackup', async () => {
    const [row] = await cluster.sql(
      'SELECT count(*)::int AS streaming FROM pg_stat_progress_basebackup WHERE backup_streamed > 0',
    );
    if (row?.streaming !== 1) return null;
    return children(pid).find(({ name }) => name === 'pg_basebackup')?.pid ?? null;
  });
  send(program, 'SIGSTOP');
  return { victim, program };
}

async function listed(): Promise<{ bases: unknown[]; unfinished: unknown[] }> {
  const outcome = await bench.run('list_backups', ['--json']);
  expect(outcome.status, outcome.stderr).toBe(0);
  const list = jsonOf<{ base_backups: { state: string }[]; unfinished_base_backups: unknown[] }>(
    outcome,
  );
  expect(list.base_backups.filter(({ state }) => state !== 'complete')).toEqual([]);
  return { bases: list.base_backups, unfinished: list.unfinished_base_backups };
}

/** No half backup is taken for one, and the next run needs nobody's help. */
async function expectNothing(program: number, before: number): Promise<void> {
  await until('the end of pg_basebackup', () => !existsSync(`/proc/${program}`) || null);
  expect((await listed()).bases).toHaveLength(before);
  const next = await runTakeBase(bench.environment);
  expect(next.status, next.stderr).toBe(0);
  const { bases, unfinished } = await listed();
  expect(bases).toHaveLength(before + 1);
  expect(unfinished).toEqual([]);
  expect(readdirSync(backups).filter((name) => name.endsWith('.partial'))).toEqual([]);
  const records = readdirSync(join(bench.repository, 'state', 'runs'));
  expect(records.filter((name) => name.endsWith('.json'))).toEqual([]);
}

async function serverUp(): Promise<void> {
  const runs = await cluster.pid().catch(() => null);
  if (runs === null) await cluster.restart();
  await until('the server takes connections', () =>
    cluster.sql('SELECT 1').then(
      () => true,
      () => null,
    ),
  );
}

describe('kill -9', () => {
  it('of the script leaves no backup', async () => {
    const before = (await listed()).bases.length;
    const { victim, program } = await startSlow();
    send(victim.pid, 'SIGKILL');
    send(program, 'SIGCONT');
    await victim.exited;
    // It dies of its closed pipe with the next bytes.
    await expectNothing(program, before);
  });

  it('of pg_basebackup leaves no backup, and says what happened', async () => {
    const before = (await listed()).bases.length;
    const { victim, program } = await startSlow();
    send(program, 'SIGKILL');
    const { status } = await victim.exited;
    expect(status, victim.stderrTail()).toBe(3);
    expect(victim.stderrTail()).toContain('pg_basebackup was ended by SIGKILL');
    await expectNothing(program, before);
  });

  it('of the postmaster leaves no backup', async () => {
    const before = (await listed()).bases.length;
    const { victim, program } = await startSlow();
    await cluster.kill9();
    send(program, 'SIGCONT');
    const { status } = await victim.exited;
    expect([3, 6, 8], victim.stderrTail()).toContain(status);
    await serverUp();
    await expectNothing(program, before);
  });
});

describe('an end in order', () => {
  it('of the walsender leaves no backup', async () => {
    const before = (await listed()).bases.length;
    const { victim, program } = await startSlow();
    await cluster.sql(
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'",
    );
    send(program, 'SIGCONT');
    const { status } = await victim.exited;
    expect(status, victim.stderrTail()).toBe(8);
    await expectNothing(program, before);
  });

  it('by SIGTERM leaves nothing at all, and ends with 130', async () => {
    const before = (await listed()).bases.length;
    const { victim, program } = await startSlow();
    send(victim.pid, 'SIGTERM');
    send(program, 'SIGCONT');
    const { status } = await victim.exited;
    expect(status, victim.stderrTail()).toBe(130);
    expect(readdirSync(backups).filter((name) => name.endsWith('.partial'))).toEqual([]);
    await expectNothing(program, before);
  });

  it('of the session with the lock leaves no backup, and ends with 6', async () => {
    const before = (await listed()).bases.length;
    const { victim, program } = await startSlow();
    await cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'");
    send(program, 'SIGCONT');
    const { status } = await victim.exited;
    expect(status, victim.stderrTail()).toBe(6);
    await expectNothing(program, before);
  });
});

describe('two at once', () => {
  it('are one: the other ends with 6 and says who has the lock', async () => {
    const { victim, program } = await startSlow();
    const other = await runTakeBase(bench.environment);
    expect(other.status, other.stderr).toBe(6);
    expect(other.stderr).toContain(String(victim.pid));
    send(program, 'SIGCONT');
    expect((await victim.exited).status, victim.stderrTail()).toBe(0);
    expect((await listed()).unfinished).toEqual([]);
  });
});
