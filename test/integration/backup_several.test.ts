/** scripts/backup_full.ts for several databases: each has its own fate, and one run tells all. */

import { existsSync, readdirSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Status } from '../../src/catalog/status.ts';
import type { DataChild } from '../../src/process/stream.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { outcomeOf, spawnCommand } from '../support/command.ts';
import { until } from '../support/fault.ts';
import { jsonOf, openWorkbench, quoted, type Workbench } from '../support/workbench.ts';

const odd = 'b "$(id)"\nc';
const names = ['a', odd, 'd'];

let cluster: TestCluster;
let bench: Workbench;

async function fill(server: TestCluster, database: string, rows: number): Promise<void> {
  await server.sql(`CREATE DATABASE ${quoted(database)}`);
  await server.sql(
    `CREATE TABLE rows AS SELECT n, md5(n::text) FROM generate_series(1, ${rows}) AS n`,
    database,
  );
}

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  for (const [index, name] of names.entries()) await fill(cluster, name, 1000 * (index + 1));
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

interface Entry {
  readonly status: string;
  readonly database: string;
  readonly server: string;
  readonly cluster: string;
  readonly folder: string;
  readonly rows: number;
  readonly error?: { readonly code: string; readonly exit_status: number };
}

interface RunDocument {
  readonly exit_status: number;
  readonly databases: readonly Entry[];
  readonly error?: { readonly code: string };
}

async function statusOf(workbench: Workbench): Promise<Status['databases']> {
  const text = await readFile(join(workbench.repository, 'status.json'), 'utf8');
  return JSON.parse(text).databases;
}

/** Keeps the dump of a database waiting until it is released. */
async function holdTable(database: string) {
  const session = await cluster.connect(database);
  await session.query('BEGIN; LOCK TABLE rows IN ACCESS EXCLUSIVE MODE');
  return { release: () => session.end() };
}

/** The databases whose dump waits for a table. */
async function waiting(): Promise<unknown[]> {
  const rows = await cluster.sql(
    "SELECT DISTINCT datname AS name FROM pg_stat_activity WHERE wait_event_type = 'Lock' " +
      "AND query LIKE 'LOCK TABLE%' ORDER BY 1",
  );
  return rows.map(({ name }) => name);
}

/** Waits until so many dumps of a run wait; fails when the run ends before. */
async function untilWaiting(count: number, run: DataChild): Promise<void> {
  const ended = run.exited.then(() => Promise.reject(new Error(run.stderrTail())));
  const there = until(
    `${count} dumps wait`,
    async () => (await waiting()).length === count || null,
  );
  await Promise.race([there, ended]);
}

/** Everything below a folder that is not finished. */
function unfinished(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.includes('.partial') || /^state\/runs\/./.test(name),
  );
}

describe('several databases in one run', () => {
  it('each has an entry in the order of their names, and the log knows whose line it is', async () => {
    const argv = [...names, '--parallel', '3', '--json'];
    const outcome = await bench.run('backup_full', argv);
    expect(outcome.status, outcome.stderr).toBe(0);
    const { databases } = jsonOf<RunDocument>(outcome);
    expect(databases.map(({ database, rows }) => [database, rows])).toEqual([
      ['a', 1000],
      [odd, 2000],
      ['d', 3000],
    ]);
    for (const { folder } of databases) {
      expect(await readdir(join(bench.repository, folder))).toContain('manifest.json');
    }
    expect(outcome.stderr).toMatch(/^\[a\] backed up a: /m);
    expect(outcome.stderr).toMatch(/^\["b \\"\$\(id\)\\"\\nc"\] backing up /m);
    expect(outcome.stderr).toMatch(/^DATABASE +OUTCOME +SIZE +DURATION\na +\d{8}T\d{6}Z-daily-/m);
    expect(outcome.stderr).toContain('3 of 3 databases are backed up');
    const logs = join(bench.repository, 'logs');
    const [file = ''] = await readdir(logs);
    const lines = (await readFile(join(logs, file), 'utf8')).trim().split('\n');
    const told = lines.map((line) => JSON.parse(line)).filter(({ msg }) => /^backed up/.test(msg));
    expect(told.map(({ database }) => database).toSorted()).toEqual(names.toSorted());
    expect((await statusOf(bench)).map(({ database }) => database).toSorted()).toEqual(
      names.toSorted(),
    );
  });

  it('one that fails does not stop the others; the status is the worst by what it means', async () => {
    const held = await holdTable('d');
    const busy = bench.run('backup_full', ['d']);
    await until('the dump waits', async () => ((await waiting()).includes('d') ? true : null));
    const argv = ['nowhere', 'd', 'a', '--parallel', '2', '--json'];
    const outcome = await bench.run('backup_full', argv);
    await held.release();
    expect((await busy).status).toBe(0);
    expect(outcome.status, outcome.stderr).toBe(8);
    expect(jsonOf<RunDocument>(outcome).databases).toMatchObject([
      { status: 'failed', database: 'nowhere', error: { code: 'DATABASE_NOT_FOUND' } },
      { status: 'failed', database: 'd', error: { code: 'LOCKED', exit_status: 6 } },
      { status: 'ok', database: 'a' },
    ]);
    expect(outcome.stderr).toMatch(/^\[nowhere\] error: /m);
    expect(outcome.stderr).toMatch(/^\[nowhere\] hint: /m);
    expect(outcome.stderr).toMatch(/^nowhere +DATABASE_NOT_FOUND \(8\)$/m);
    expect(outcome.stderr).toContain('1 of 3 databases are backed up');
    const status = await statusOf(bench);
    expect(status.find(({ database }) => database === 'd')).toMatchObject({
      last_run: { exit_status: 0 },
    });
    expect(status.find(({ database }) => database === 'a')).toMatchObject({
      last_run: { status: 'ok' },
    });
  });

  it('one that is named twice, in whatever way, is backed up once', async () => {
    const url = cluster.connectionUrl('a');
    const outcome = await bench.run('backup_full', ['a', url, 'd', 'a', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    const { databases } = jsonOf<RunDocument>(outcome);
    expect(databases.map(({ database }) => database)).toEqual(['a', 'd']);
  });

  it('--test looks at several at once too', async () => {
    const outcome = await bench.run('backup_full', [
      '--all',
      '--test',
      '--parallel',
      '4',
      '--json',
    ]);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(jsonOf<RunDocument>(outcome).databases).toHaveLength(4);
    expect(outcome.stderr).toContain('4 of 4 databases can be backed up');
  });

  it('one alone has neither a tag nor a table', async () => {
    const outcome = await bench.run('backup_full', ['a']);
    expect(outcome.stderr).toMatch(/^backing up a$/m);
    expect(outcome.stderr).not.toMatch(/^\[a\]|^DATABASE/m);
  });
});

describe('databases of one name on two servers', () => {
  let other: TestCluster;
  beforeAll(async () => {
    other = await startTestCluster();
    await fill(other, 'a', 7);
  });
  afterAll(() => other?.stop({ immediate: true }));

  it('go to two clusters, and what fails on one is not told of the other', async () => {
    const urls = [cluster.connectionUrl('a'), other.connectionUrl('a')];
    const both = await bench.run('backup_full', [...urls, '--parallel', '2', '--json']);
    expect(both.status, both.stderr).toBe(0);
    const { databases } = jsonOf<RunDocument>(both);
    expect(databases.map(({ rows }) => rows)).toEqual([1000, 7]);
    const [first, second] = databases;
    expect(first?.cluster).not.toBe(second?.cluster);
    expect(both.stderr).toContain(`[a on ${second?.server}] backed up a: `);

    await other.sql('ALTER DATABASE a ALLOW_CONNECTIONS false');
    const again = await bench.run('backup_full', [...urls, '--json']);
    expect(again.status).toBe(8);
    const ofA = (await statusOf(bench)).filter(({ database }) => database === 'a');
    expect(ofA).toHaveLength(2);
    const failed = ofA.filter(({ last_run }) => last_run.status === 'failed');
    expect(failed.map((each) => [each.cluster, each.server])).toEqual([
      [second?.cluster, second?.server],
    ]);
    expect(failed[0]?.last_success).not.toBeNull();
  });

  it('are refused where CLUSTER would put both into one place', async () => {
    const urls = [cluster.connectionUrl('a'), other.connectionUrl('a')];
    const environment = { CLUSTER: 'main' };
    const outcome = await bench.run('backup_full', urls, { environment });
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain('cluster (CLUSTER) names "main"');
    expect(existsSync(join(bench.repository, 'full', 'main'))).toBe(false);
  });
});

describe('an interruption', () => {
  it('ends all that run, begins none of those that wait, and leaves nothing half', async () => {
    const held = await Promise.all(names.map(holdTable));
    const before = jsonOf(await bench.run('list_backups', ['--json']));
    const argv = [...names, '--parallel', '2', '--json'];
    const child = spawnCommand('backup_full', argv, { environment: bench.environment });
    const ended = outcomeOf(child);
    try {
      await untilWaiting(2, child);
      expect(await waiting(), 'no more than two at once').toEqual(['a', odd]);
      process.kill(child.pid ?? 0, 'SIGINT');
      const { status, stdout, stderr } = await ended;
      expect(status, stderr).toBe(130);
      const document: RunDocument = JSON.parse(stdout);
      expect(document).toMatchObject({ exit_status: 130, error: { code: 'INTERRUPTED' } });
      expect(document.databases.map(({ database, error }) => [database, error?.code])).toEqual(
        names.map((name) => [name, 'INTERRUPTED']),
      );
      expect(stderr).toContain('interrupted by SIGINT');
      expect(stderr.match(/^.*error: /gm)).toHaveLength(1);
      expect(unfinished(bench.repository)).toEqual([]);
      expect(jsonOf(await bench.run('list_backups', ['--json']))).toEqual(before);
      const sessions = () =>
        cluster.sql("SELECT FROM pg_stat_activity WHERE application_name LIKE 'holdfast%'");
      await until('its sessions are gone', async () => (await sessions()).length === 0 || null);
    } finally {
      await child.end();
      for (const { release } of held) await release();
    }
  });

  it('keeps what was committed before it', async () => {
    const held = await holdTable('d');
    const child = spawnCommand('backup_full', ['a', 'd', '--json', '--nice', '19'], {
      environment: bench.environment,
    });
    const ended = outcomeOf(child);
    try {
      await untilWaiting(1, child);
      process.kill(child.pid ?? 0, 'SIGTERM');
      const { status, stdout, stderr } = await ended;
      expect(status, stderr).toBe(130);
      const [first, second] = (JSON.parse(stdout) as RunDocument).databases;
      expect([first?.status, second?.error?.code]).toEqual(['ok', 'INTERRUPTED']);
      const files = await readdir(join(bench.repository, first?.folder ?? ''));
      expect(files).toContain('manifest.json');
      expect(stderr).toMatch(/^d +INTERRUPTED \(130\)$/m);
    } finally {
      await child.end();
      await held.release();
    }
  });
});
