import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { quoteIdentifier } from '../../src/core/quote.ts';
import { parseIndex } from '../../src/core/wal_index.ts';
import { startChild } from '../../src/process/stream.ts';
import { asServerUser, makeServerFolder, spawnTakeBase } from '../support/base_backup.ts';
import { testEnvironment } from '../support/cluster.ts';
import { type Outcome, outcomeOf } from '../support/command.ts';
import { until } from '../support/fault.ts';
import { openWalScene, type WalScene } from '../support/wal_scene.ts';
import { jsonOf } from '../support/workbench.ts';

const script = join(import.meta.dirname, '../../scripts/restore_pitr.ts');
const port = 5441;

interface Marker {
  readonly id: number;
  readonly xid: string;
  /** Of the commit, with microseconds, UTC. */
  readonly at: string;
}

interface Plan {
  readonly label: string;
  readonly timeline: number;
  readonly segments: number;
}

let scene: WalScene;
let folder: string;
let count = 0;
const markers: Marker[] = [];
const tablespace = 'odd "$(id)" = \\ name';
let tablespaceFolder: string;
const bases: string[] = [];
/** Of marker 3: its commit is the last one in it. */
let third: string;

/** A transaction of its own. */
async function mark(): Promise<void> {
  const id = markers.length + 1;
  const [row] = await scene.cluster.sql(
    `INSERT INTO marker VALUES (${id}) RETURNING pg_current_xact_id()::text AS xid`,
  );
  const [time] = await scene.cluster.sql(
    `SELECT to_char(pg_xact_commit_timestamp('${row?.xid}'::text::xid) AT TIME ZONE 'UTC',
       'YYYY-MM-DD HH24:MI:SS.US') || '+00' AS at`,
  );
  markers.push({ id, xid: String(row?.xid), at: String(time?.at) });
}

/** The repository belongs to the server's user, as on a real machine. */
async function handOver(): Promise<void> {
  const { osUser } = scene.cluster;
  if (osUser === null) return;
  await promisify(execFile)('chown', ['-R', `${osUser.uid}:${osUser.gid}`, scene.bench.repository]);
}

async function takeBase(): Promise<void> {
  // A program of its own: it becomes the owner of the repository.
  const child = spawnTakeBase({ ...scene.bench.environment, CLUSTER: scene.name });
  const outcome = await outcomeOf(child);
  expect(outcome.status, outcome.stderr).toBe(0);
  bases.push(jsonOf<{ manifest: { label: string } }>(outcome).manifest.label);
  await handOver();
}

function argumentsOf(pgdata: string, flags: readonly string[]): string[] {
  const mapping = `${tablespace}=${pgdata} \\ space`;
  const all = ['--pgdata', pgdata, '--tablespace-mapping', mapping, ...flags];
  return [...all, '--backup-dir', scene.bench.repository, '--json'];
}

/** Runs the command as the server's user. */
function run(pgdata: string, ...flags: string[]): Promise<Outcome> {
  return asServerUser(scene.cluster, script, argumentsOf(pgdata, flags));
}

function newFolder(): string {
  count += 1;
  return join(folder, `pgdata ${count} 'x'`);
}

async function psql(pgdata: string, sql: string): Promise<string> {
  const args = ['-XqAt', '-h', pgdata, '-p', String(port), '-U', 'postgres', '-c', sql, 'postgres'];
  const program = join(scene.cluster.binDirectory, 'psql');
  const { status, stdout, stderr } = await asServerUser(scene.cluster, program, args);
  if (status !== 0) throw new Error(stderr);
  return stdout.trim();
}

interface Recovered {
  /** The last one; none is missing before it. */
  readonly last: number;
  readonly plan: Plan;
  readonly report: { timeline: number; lsn: string | null; time: string | null };
  readonly archiveMode: string;
}

/** Restores, starts, looks which markers are there. */
async function recover(...flags: string[]): Promise<Recovered> {
  const pgdata = newFolder();
  const outcome = await run(pgdata, ...flags, '--start', '--port', String(port));
  expect(outcome.status, outcome.stderr).toBe(0);
  try {
    const { plan, report } = jsonOf<{ plan: Plan; report: Recovered['report'] }>(outcome);
    const ids = (await psql(pgdata, 'SELECT id FROM marker ORDER BY id')).split('\n').map(Number);
    expect(ids).toEqual(ids.map((_, at) => at + 1));
    expect(await psql(pgdata, 'SELECT i FROM elsewhere')).toBe('42');
    const place = `SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 16383`;
    expect(await psql(pgdata, place)).toBe(`${pgdata} \\ space`);
    const archiveMode = await psql(pgdata, 'SHOW archive_mode');
    return { last: ids.length, plan, report, archiveMode };
  } finally {
    const pgCtl = join(scene.cluster.binDirectory, 'pg_ctl');
    await asServerUser(scene.cluster, pgCtl, ['-D', pgdata, '-m', 'immediate', 'stop']);
    await rm(pgdata, { recursive: true, force: true });
    await rm(`${pgdata} \\ space`, { recursive: true, force: true });
  }
}

async function refused(...flags: string[]) {
  const pgdata = newFolder();
  const outcome = await run(pgdata, ...flags);
  await expect(stat(pgdata)).rejects.toThrow('ENOENT');
  const { error } = jsonOf<{ error: { code: string; message: string; hint: string } }>(outcome);
  return { status: outcome.status, ...error };
}

const markerOf = (id: number): Marker => {
  const found = markers.find((marker) => marker.id === id);
  if (found === undefined) throw new Error(`no marker ${id}`);
  return found;
};

beforeAll(async () => {
  scene = await openWalScene();
  const { cluster } = scene;
  await cluster.sql('ALTER SYSTEM SET track_commit_timestamp = on');
  await cluster.restart();
  await cluster.sql('CREATE TABLE marker (id int PRIMARY KEY)');
  folder = await makeServerFolder(cluster);
  tablespaceFolder = await makeServerFolder(cluster);
  await cluster.sql([
    `CREATE TABLESPACE ${quoteIdentifier(tablespace)} LOCATION '${tablespaceFolder}'`,
    `CREATE TABLE elsewhere TABLESPACE ${quoteIdentifier(tablespace)} AS SELECT 42 AS i`,
  ]);
  await mark();
  await takeBase();
  await mark();
  await mark();
  third = await scene.switchSegment();
  await mark();
  await cluster.sql(`SELECT pg_create_restore_point('before ''it''')`);
  await mark();
  await scene.switchSegment();
  await takeBase();
  await mark();
  await scene.switchSegment();
  await scene.promote();
  await mark();
  await mark();
  await scene.switchSegment();
  await handOver();
}, 300_000);

afterAll(async () => {
  await scene?.close();
  for (const each of [folder, tablespaceFolder]) {
    if (each !== undefined) await rm(each, { recursive: true, force: true });
  }
});

describe('restore_pitr.ts', () => {
  it('recovers to a transaction, with it or without it', async () => {
    const { xid } = markerOf(3);
    const inclusive = await recover('--target-xid', xid);
    expect(inclusive.last).toBe(3);
    expect(inclusive.plan.label).toBe(bases[0]);
    expect(inclusive.archiveMode).toBe('off');
    expect(inclusive.report.timeline).toBeGreaterThan(2);
    expect((await recover('--target-xid', xid, '--target-exclusive')).last).toBe(2);
  }, 300_000);

  it('recovers to an LSN, with its record or without it', async () => {
    // A look at where the transaction ended indexes the segment.
    const look = await run(newFolder(), '--dry-run', '--target-xid', markerOf(3).xid);
    expect(look.status, look.stderr).toBe(0);
    const path = join(scene.archive, third.slice(0, 8), `${third}.index.json`);
    const commit = parseIndex(await readFile(path)).last_commit;
    expect(String(commit?.xid)).toBe(markerOf(3).xid);
    const thirdLsn = commit?.lsn ?? '';
    expect((await recover('--target-lsn', thirdLsn)).last).toBe(3);
    expect((await recover('--target-lsn', thirdLsn, '--target-exclusive')).last).toBe(2);
  }, 300_000);

  it('recovers to the microsecond of a commit, with it or without it', async () => {
    const { at } = markerOf(4);
    expect((await recover('--target-time', at)).last).toBe(4);
    expect((await recover('--target-time', at, '--target-exclusive')).last).toBe(3);
  }, 300_000);

  it('recovers to a restore point, to the end of the backup, and to the newest point', async () => {
    expect((await recover('--target-name', "before 'it'")).last).toBe(4);
    const immediate = await recover('--target-immediate', '--target-timeline', '1');
    expect([immediate.last, immediate.plan.label]).toEqual([5, bases[1]]);
    const newest = await recover();
    expect([newest.last, newest.plan.timeline]).toEqual([8, 2]);
  }, 300_000);

  it('follows the timeline that it is told', async () => {
    expect((await recover('--target-timeline', '1')).last).toBe(6);
    expect((await recover('--target-timeline', '2', '--target-xid', markerOf(7).xid)).last).toBe(7);
    const none = await refused('--target-timeline', '1', '--target-xid', markerOf(7).xid);
    expect([none.status, none.code]).toEqual([5, 'TARGET_UNREACHABLE']);
    const unknown = await refused('--target-timeline', '9');
    expect(unknown.status).toBe(5);
    expect(unknown.hint).toContain('timeline 2: ');
  }, 300_000);

  it('refuses what cannot be reached before it writes anything, and tells what can', async () => {
    const future = await refused('--target-time', '2999-01-01 00:00:00Z');
    expect([future.status, future.code]).toEqual([5, 'TARGET_UNREACHABLE']);
    expect(future.hint).toMatch(/timeline 1: \S+ \(.*\) to \S+ .*; timeline 2: /);
    const last = await refused('--target-time', markerOf(8).at);
    expect(last.status).toBe(5);
    const early = await refused('--target-time', '2001-01-01 00:00:00+00');
    expect(early.message).toContain('before the first base backup');
    expect((await refused('--target-xid', markerOf(1).xid)).status).toBe(5);
    expect((await refused('--target-name', 'nobody gave it')).status).toBe(5);
    expect((await refused('--target-lsn', 'FF/0')).status).toBe(5);
    const zone = await refused('--target-time', '2026-11-21 10:42:00');
    expect([zone.status, zone.code]).toEqual([2, 'USAGE']);
  }, 300_000);

  it('goes no further than a segment that is missing', async () => {
    const path = join(scene.archive, third.slice(0, 8), `${third}.zst`);
    const away = join(scene.bench.folder, 'away.zst');
    await rename(path, away);
    try {
      expect((await refused('--target-name', "before 'it'")).status).toBe(5);
      const outcome = await run(newFolder(), '--dry-run');
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(jsonOf<{ plan: Plan }>(outcome).plan.label).toBe(bases[1]);
    } finally {
      await rename(away, path);
    }
  }, 120_000);

  it('touches no folder that holds something, and knows one that is unfinished', async () => {
    const full = join(folder, 'full');
    await mkdir(full);
    await writeFile(join(full, 'precious'), 'x');
    const outcome = await run(full);
    expect([outcome.status, await readdir(full)]).toEqual([2, ['precious']]);
    await writeFile(join(full, 'holdfast_restore_unfinished'), '');
    const again = await run(full);
    expect(again.status).toBe(2);
    expect(jsonOf<{ error: { message: string } }>(again).error.message).toContain('not ended');
  }, 120_000);

  it('killed, leaves a folder that no server runs on and no second run touches', async () => {
    const pgdata = newFolder();
    const { osUser, binDirectory } = scene.cluster;
    const child = startChild(script, argumentsOf(pgdata, []), {
      environment: testEnvironment,
      cwd: '/',
      ...(osUser === null ? {} : { user: osUser }),
    });
    child.stdin.end();
    child.stdout.resume();
    const marked = join(pgdata, 'holdfast_restore_unfinished');
    await until('the mark', async () => (await stat(marked).catch(() => null)) ?? null, 60_000);
    process.kill(-(child.pid ?? 0), 'SIGKILL');
    await child.exited;
    const before = await readdir(pgdata, { recursive: true });
    const again = await run(pgdata);
    expect(again.status).toBe(2);
    expect(jsonOf<{ error: { message: string } }>(again).error.message).toContain('not ended');
    expect(await readdir(pgdata, { recursive: true })).toEqual(before);
    const controlData = join(binDirectory, 'pg_controldata');
    const state = await asServerUser(scene.cluster, controlData, [pgdata]);
    // Without pg_control no server starts, and without a restore_command none with that signal.
    expect([state.status === 0, before.includes('recovery.signal')]).not.toEqual([true, false]);
  }, 120_000);

  it('wants to know where a tablespace goes', async () => {
    const flags = ['--pgdata', newFolder(), '--backup-dir', scene.bench.repository, '--json'];
    const without = await asServerUser(scene.cluster, script, flags);
    expect(without.status).toBe(2);
    expect(jsonOf<{ error: { message: string } }>(without).error.message).toContain(
      JSON.stringify(tablespace),
    );
    const unknown = ['--tablespace-mapping', 'nobody=/srv/x'];
    expect((await asServerUser(scene.cluster, script, [...flags, ...unknown])).status).toBe(2);
  }, 120_000);

  it('leaves nothing of a damaged backup', async () => {
    const [component] = await readdir(join(scene.bench.repository, 'incremental'));
    const file = join(
      ...[scene.bench.repository, 'incremental', component ?? '', 'base', bases[1] ?? ''],
      'base.tar.zst',
    );
    const bytes = await readFile(file);
    await rename(file, `${file}.kept`);
    await writeFile(file, bytes.subarray(0, bytes.length - 100));
    await handOver();
    try {
      const pgdata = newFolder();
      // The backup itself is wanted: no older one does.
      const outcome = await run(pgdata, '--target-immediate', '--target-timeline', '1');
      expect(outcome.status).toBe(4);
      expect(await readdir(pgdata)).toEqual([]);
      expect(await readdir(`${pgdata} \\ space`)).toEqual([]);
    } finally {
      await rename(`${file}.kept`, file);
    }
  }, 120_000);
});
