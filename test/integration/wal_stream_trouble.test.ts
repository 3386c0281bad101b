/** scripts/wal_stream.ts in trouble: what is refused, what mends itself, what is said of it. */

import { readdir, readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asServerUser, makeServerFolder } from '../support/base_backup.ts';
import type { Outcome } from '../support/command.ts';
import { until } from '../support/fault.ts';
import { openStreamBench, type StreamBench } from '../support/stream_bench.ts';
import { jsonOf } from '../support/workbench.ts';

interface Failure {
  readonly error: { readonly code: string; readonly message: string; readonly hint: string };
}
interface Streamed {
  readonly failures: number;
  readonly received_lsn: string | null;
  readonly warnings: readonly string[];
}

let bench: StreamBench;

const once = (environment: Readonly<Record<string, string>> = {}): Promise<Outcome> =>
  bench.runOwned('wal_stream', ['--once', '--json'], environment);

async function streamed(environment: Readonly<Record<string, string>> = {}): Promise<Streamed> {
  const outcome = await once(environment);
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<Streamed>(outcome);
}

async function refused(outcome: Outcome | Promise<Outcome>) {
  const { status, stdout, stderr } = await outcome;
  expect(status, stderr).not.toBe(0);
  return { status, ...(JSON.parse(stdout) as Failure).error };
}

const takeOver = (environment: Readonly<Record<string, string>> = {}): Promise<Outcome> =>
  bench.runOwned('wal_stream', ['--take-over', '--yes', '--json'], environment);

async function unfinished(): Promise<string> {
  return join(bench.stream, (await bench.status()).unfinished.at(-1) ?? '');
}

beforeAll(async () => {
  bench = await openStreamBench({}, true);
  await bench.cluster.sql(['CREATE TABLE kept (i int)', 'CREATE ROLE "nobody""s" LOGIN']);
}, 120_000);
afterAll(async () => {
  await bench?.close();
}, 120_000);

describe('a stream', () => {
  it('refuses what it cannot do, and says what to type', async () => {
    const name = await bench.runOwned('wal_stream', ['--once', '--slot', 'Bad name']);
    expect(name.status).toBe(2);
    expect((await bench.runOwned('wal_stream', ['--once', '--status'])).status).toBe(2);
    const role = await refused(once({ PGUSER: 'nobody"s' }));
    expect([role.status, role.code]).toEqual([8, 'DATABASE_PRIVILEGE']);
    const away = await refused(once({ PGPORT: '1', CLUSTER: 'x' }));
    expect(away).toMatchObject({ status: 8, code: 'DATABASE_UNREACHABLE' });
    const drop = await refused(bench.runOwned('wal_stream', ['--drop-slot', '--json']));
    expect(drop.code).toBe('CONFIRMATION_NEEDED');
    expect(await bench.cluster.sql('SELECT * FROM pg_replication_slots')).toEqual([]);
  }, 120_000);

  it('is there once: a second one is told who it is', async () => {
    const stream = bench.startStream();
    await bench.received();
    const second = await refused(once());
    expect([second.status, second.message]).toEqual([6, expect.stringMatching(/process \d+ on/)]);
    const drop = await refused(bench.runOwned('wal_stream', ['--drop-slot', '--yes', '--json']));
    expect(drop.status).toBe(6);
    process.kill(stream.pid ?? 0, 'SIGKILL');
    await stream.exited;
    expect(await bench.status()).toMatchObject({ working: false, running: false });
    // The pg_receivewal of the one that was killed still runs.
    const dropped = await bench.runOwned('wal_stream', ['--drop-slot', '--yes']);
    expect(dropped.status, dropped.stderr).toBe(0);
    expect(await bench.cluster.sql('SELECT * FROM pg_replication_slots')).toEqual([]);
  }, 120_000);

  it('begins nothing anew where the repository is not mounted any more', async () => {
    const stream = bench.startStream();
    await bench.received();
    const mounted = join(bench.repository, 'incremental');
    await rename(mounted, `${mounted}.away`);
    process.kill(await bench.receiverPid(), 'SIGKILL');
    await until(
      'word of it',
      () => /claim of the stream is gone/.test(stream.stderrTail()) || null,
    );
    await expect(readdir(mounted)).rejects.toThrow('ENOENT');
    await rename(`${mounted}.away`, mounted);
    await bench.received();
    expect((await bench.endStream(stream)).status).toBe(0);
  }, 120_000);

  it('takes no other server for its own: a slot that is gone may mean a clone', async () => {
    await streamed();
    await bench.cluster.sql(`SELECT pg_drop_replication_slot('${bench.slot}')`);
    const gone = await refused(once());
    expect([gone.status, gone.code]).toEqual([3, 'ARCHIVING_FAILED']);
    expect(gone.hint).toContain('--take-over');
    const taken = await takeOver();
    expect(taken.status, taken.stderr).toBe(0);
    await streamed();
    const slot = await refused(bench.runOwned('wal_stream', ['--once', '--slot', 'x', '--json']));
    expect([slot.status, slot.message]).toEqual([2, expect.stringContaining(bench.slot)]);
  }, 120_000);

  it('begins with a new slot where the old one was lost, and tells the gap', async () => {
    const { cluster } = bench;
    await streamed();
    await cluster.sql([
      "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'",
      'SELECT pg_reload_conf()',
    ]);
    const lost = `SELECT 1 FROM pg_replication_slots WHERE wal_status = 'lost'`;
    await until(
      'a slot that is lost',
      async () => {
        for (let i = 0; i < 4; i += 1) await bench.switchSegment();
        await cluster.sql('CHECKPOINT');
        return (await cluster.sql(lost)).length > 0 || null;
      },
      120_000,
    );
    expect((await bench.status()).slot.wal_status).toBe('lost');
    const found = await streamed();
    expect(found.failures).toBe(1);
    expect(found.warnings.join('\n')).toMatch(/was lost.*a gap from \S+ to \S+/s);
    await cluster.sql(['ALTER SYSTEM RESET max_slot_wal_keep_size', 'SELECT pg_reload_conf()']);
    await bench.switchSegment();
    expect(await streamed()).toMatchObject({ failures: 0, warnings: [] });
    const { timelines } = await bench.listWal();
    expect(timelines.map(({ gaps }) => gaps.length)).toEqual([1]);
  }, 120_000);

  it('goes on after a disk that was full in the middle of a new segment', async () => {
    await bench.cluster.sql('INSERT INTO kept VALUES (0)');
    await streamed();
    const path = await unfinished();
    await truncate(path, 0);
    await truncate(path, 8192);
    expect(await streamed()).toMatchObject({ failures: 0, warnings: [] });
    expect((await readFile(path)).length).toBe(1024 * 1024);
    // What is not empty was never made so: it is not touched.
    await writeFile(path, Buffer.alloc(8192, 1));
    const foreign = await refused(once());
    expect([foreign.status, foreign.message]).toEqual([3, expect.stringContaining('is not empty')]);
    expect((await readFile(path)).length).toBe(8192);
    await truncate(path, 0);
    expect(await streamed()).toMatchObject({ failures: 0, warnings: [] });
  }, 120_000);

  it('refuses a server that has less than came from it', async () => {
    const path = await unfinished();
    const bytes = await readFile(path);
    await writeFile(path, Buffer.concat([bytes.subarray(0, -8192), Buffer.alloc(8192, 1)]));
    const older = await refused(once());
    expect([older.status, older.code]).toEqual([7, 'ARCHIVE_CLAIMED']);
    expect(older.message).toContain('older state');
    expect((await readFile(path)).at(-1)).toBe(1);
    await writeFile(path, bytes);
    await streamed();
  }, 120_000);
});

describe('after a failover', () => {
  it('goes on with the standby that was promoted, when it is told to', async () => {
    const { cluster } = bench;
    const { socketDirectory, binDirectory } = cluster;
    const pgdata = join(await makeServerFolder(cluster), 'standby');
    const port = String(cluster.port + 1);
    const standby = { PGHOST: socketDirectory, PGPORT: port };
    const program = (name: string, ...args: string[]) =>
      asServerUser(cluster, join(binDirectory, name), args);
    const psql = async (sql: string) => {
      const flags = ['-XqAt', '-h', socketDirectory, '-p', port, '-U', 'postgres', '-c', sql];
      const { status, stdout, stderr } = await program('psql', ...flags, 'postgres');
      if (status !== 0) throw new Error(stderr);
      return stdout.trim();
    };
    const primary = ['-h', socketDirectory, '-p', String(cluster.port), '-U', 'postgres'];
    const copied = await program('pg_basebackup', ...primary, '-R', '-c', 'fast', '-D', pgdata);
    expect(copied.status, copied.stderr).toBe(0);
    const log = join(pgdata, 'log');
    const started = await program('pg_ctl', '-D', pgdata, '-l', log, '-o', `-p ${port}`, 'start');
    expect(started.status, await readFile(log, 'utf8').catch(String)).toBe(0);
    try {
      await cluster.sql('INSERT INTO kept VALUES (1)');
      await streamed();
      const [row] = await cluster.sql('SELECT pg_current_wal_lsn()::text AS lsn');
      const replayed = `SELECT coalesce(pg_last_wal_replay_lsn() >= '${row?.lsn}', false)`;
      const isReplayed = async () => (await psql(replayed)) === 't' || null;
      await until('the standby', isReplayed, 120_000);
      // A standby is another server, promoted or not.
      expect((await refused(once(standby))).status).toBe(7);
      // The old primary still runs: nobody told it.
      await psql('SELECT pg_promote()');
      await psql('INSERT INTO kept VALUES (2)');
      const clone = await refused(once(standby));
      expect([clone.code, clone.hint]).toEqual([
        'ARCHIVE_CLAIMED',
        expect.stringContaining('scripts/wal_stream.ts --take-over'),
      ]);
      const taken = await takeOver(standby);
      expect(taken.status, taken.stderr).toBe(0);
      expect(await streamed(standby)).toMatchObject({ failures: 0, warnings: [] });
      await psql('SELECT pg_switch_wal()');
      await psql('INSERT INTO kept VALUES (3)');
      const xid = await psql('INSERT INTO kept VALUES (4) RETURNING pg_current_xact_id()');
      await streamed(standby);
      const { timelines } = await bench.listWal();
      const newest = timelines.find(({ timeline }) => timeline === 2);
      expect(newest).toMatchObject({ origin: 'branch', gaps: [] });
      expect(String(newest?.ranges.at(-1)?.last_commit?.xid)).toBe(xid);
      const old = await refused(once());
      expect(old.message).toContain('timeline');
      expect(await refused(takeOver())).toMatchObject({ status: 7, code: 'ARCHIVE_CLAIMED' });
    } finally {
      await program('pg_ctl', '-D', pgdata, '-m', 'immediate', 'stop');
    }
  }, 300_000);
});
