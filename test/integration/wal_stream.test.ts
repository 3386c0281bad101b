/** scripts/wal_stream.ts: what is written arrives at once, and comes back at a restore. */

import { createHash } from 'node:crypto';
import { chown, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { serversGroup } from '../../src/operations/monitor/facts_servers.ts';
import { recoveryGroup } from '../../src/operations/monitor/facts_wal.ts';
import { identityOf, processState } from '../../src/process/identity.ts';
import type { DataChild } from '../../src/process/stream.ts';
import { until } from '../support/fault.ts';
import { type Restorers, startRestorers } from '../support/restorers.ts';
import { openStreamBench, type StreamBench } from '../support/stream_bench.ts';
import { watch } from '../support/watched_scene.ts';
import { jsonOf } from '../support/workbench.ts';

let bench: StreamBench;
let restorers: Restorers;
let count = 0;

/** A transaction of its own, with so much beside it. @returns its identifier */
async function mark(bytes = 0): Promise<string> {
  count += 1;
  const [row] = await bench.cluster.sql(
    `INSERT INTO marker SELECT ${count}, string_agg(md5(i::text), '')
       FROM generate_series(0, ${bytes} / 32) AS i RETURNING pg_current_xact_id()::text AS xid`,
  );
  return String(row?.xid);
}

async function archived(): Promise<string[]> {
  const names = await readdir(join(bench.archive, '00000001')).catch((): string[] => []);
  return names.filter((name) => name.endsWith('.zst')).sort();
}

async function carriedOver(): Promise<void> {
  const isCarried = async () => {
    const [row] = await bench.cluster.sql(
      `SELECT pg_walfile_name(restart_lsn) AS name FROM pg_replication_slots
        WHERE slot_name = '${bench.slot}'`,
    );
    const before = (await archived()).at(-1)?.slice(0, 24) ?? '';
    return before !== '' &&
      Number.parseInt(String(row?.name).slice(16), 16) - 1 <= Number.parseInt(before.slice(16), 16)
      ? true
      : null;
  };
  await until('everything complete in the archive', isCarried, 120_000);
}

/** One process of the server dies, so that it recovers. Who asks it meanwhile gets no answer. */
async function crash(): Promise<void> {
  const pid = `SELECT active_pid AS pid FROM pg_replication_slots WHERE active`;
  const walsender = await until(
    'a walsender',
    async () => Number((await bench.cluster.sql(pid))[0]?.pid ?? 0) || null,
  );
  process.kill(walsender, 'SIGKILL');
  const isBack = async () => {
    const rows = await bench.cluster.sql(`${pid} AND active_pid <> ${walsender}`).catch(() => []);
    return rows.length > 0 || null;
  };
  await until('the server and the stream', isBack, 120_000);
}

const digestOf = async (path: string) =>
  createHash('sha256')
    .update(await readFile(path))
    .digest('hex');

beforeAll(async () => {
  bench = await openStreamBench({ archive_mode: 'on' });
  restorers = await startRestorers(bench.cluster, bench.repository, 1);
  await bench.cluster.sql('CREATE TABLE marker (id int PRIMARY KEY, filler text)');
}, 120_000);
afterAll(async () => {
  await restorers?.close();
  await bench?.close();
}, 120_000);

describe('a stream', () => {
  let stream: DataChild;

  it('stands in for the archiver: the recovery point moves by it', async () => {
    const none = await bench.runOwned('backup_incremental', ['--json']);
    expect(none.status).toBe(3);
    expect(none.stderr).toContain('scripts/wal_stream.ts');
    stream = bench.startStream();
    await bench.received();
    const before = Date.now();
    const moved = await bench.moveForward('now');
    expect(moved.base?.kind).toBe('base');
    expect(moved.gaps).toEqual([]);
    expect(Date.parse(moved.newest_recoverable_at)).toBeGreaterThan(before);
    const status = await bench.status();
    expect(status).toMatchObject({ working: true, running: true, refused: null, warnings: [] });
    expect(status.slot).toMatchObject({ name: bench.slot, active: true, wal_status: 'reserved' });
    expect(status.unfinished).toHaveLength(1);
  }, 300_000);

  it('is watched: what lies in the stream alone counts, and no archiver is missed', async () => {
    const environment = { ...bench.environment, MAX_DISK_USED_PERCENT: '100' };
    const found = await watch({ environment, groups: [recoveryGroup, serversGroup] });
    expect(found.bad()).toEqual([]);
    expect(found.one('recovery_point').found).toContain('.partial');
    expect(found.one('slots').message).toContain('1 replication slot');
  });

  it('brings back a transaction that lies in the unfinished segment alone', async () => {
    for (let i = 0; i < 6; i += 1) await mark(400_000);
    await carriedOver();
    const last = await mark();
    await bench.received();
    const { stream: listed, timelines } = await bench.listWal();
    const partial = listed?.segments.at(-1) ?? '';
    expect(partial).toMatch(/^[0-9A-F]{24}\.partial$/);
    const range = timelines.at(-1)?.ranges.at(-1);
    expect(range).toMatchObject({ last_segment: partial, ends_unfinished: true });
    expect(String(range?.last_commit?.xid)).toBe(last);
    expect(await archived()).not.toContain(`${partial.slice(0, 24)}.zst`);

    process.kill(stream.pid ?? 0, 'SIGKILL');
    await stream.exited;
    process.kill(await bench.receiverPid(), 'SIGKILL');
    const bytes = await digestOf(join(bench.stream, partial));
    const ids = 'SELECT array_agg(id ORDER BY id) AS ids FROM marker';
    const all = Array.from({ length: count }, (_, at) => at + 1);
    for (const flags of [['--target-xid', last], []]) {
      const found = await restorers.recover(flags, async ({ rows }) => (await rows(ids))[0]?.ids);
      expect(found).toEqual(all);
    }
    const earlier = await restorers.recover(
      ['--target-xid', last, '--target-exclusive'],
      async ({ rows }) => (await rows(ids))[0]?.ids,
    );
    expect(earlier).toEqual(all.slice(0, -1));
    expect(await digestOf(join(bench.stream, partial))).toBe(bytes);
  }, 300_000);

  it('loses nothing when it, its pg_receivewal or the server is killed under load', async () => {
    stream = bench.startStream();
    let isWriting = true;
    const load = (async () => {
      while (isWriting) {
        await mark(40_000).catch(() => undefined);
        await sleep(20);
      }
    })();
    try {
      await bench.received();
      process.kill(await bench.receiverPid(), 'SIGKILL');
      await bench.received();
      const orphan = identityOf(await bench.receiverPid());
      process.kill(stream.pid ?? 0, 'SIGKILL');
      await stream.exited;
      // It is left running, and the next run ends it.
      expect(processState(orphan)).toBe('alive');
      stream = bench.startStream();
      await until('another pg_receivewal', async () =>
        (await bench.receiverPid()) === orphan.pid ? null : true,
      );
      await bench.received();
      expect(processState(orphan)).toBe('dead');
      await crash();
      await bench.received();
      await bench.cluster.restart();
      await bench.received();
    } finally {
      isWriting = false;
      await load;
    }
    const last = await mark();
    await bench.received();
    await carriedOver();
    const ended = await bench.endStream(stream);
    expect(ended.status, ended.stderr).toBe(0);
    const { timelines } = await bench.listWal();
    expect(timelines.map(({ gaps, ranges }) => [gaps.length, ranges.length])).toEqual([[0, 1]]);
    expect(String(timelines[0]?.ranges[0]?.last_commit?.xid)).toBe(last);
    const verified = await bench.runOwned('verify_backups', ['--wal', '--deep', '--json']);
    expect(verified.status, verified.stderr).toBe(0);
  }, 300_000);

  it('agrees with the archiver of the same server, once each knows of the other', async () => {
    const foreign = await bench.setup(['install', '--yes']);
    expect([foreign.status, foreign.stderr]).toEqual([7, expect.stringContaining('the stream of')]);
    const taken = await bench.setup(['take-over', '--yes']);
    expect(taken.status, taken.stderr).toBe(0);
    const refused = await bench.runOwned('wal_stream', ['--once', '--json']);
    expect(refused.status).toBe(7);
    expect(jsonOf<{ error: { hint: string } }>(refused).error.hint).toContain('--take-over');
    const joined = await bench.runOwned('wal_stream', ['--take-over', '--yes', '--json']);
    expect(joined.status, joined.stderr).toBe(0);

    stream = bench.startStream();
    for (let i = 0; i < 5; i += 1) await mark(400_000);
    await bench.received();
    await bench.switchSegment();
    await bench.received();
    await carriedOver();
    const done = `SELECT failed_count::int AS failed FROM pg_stat_archiver
      WHERE (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name ~ 'ready$') = 0`;
    const archiver = await until(
      'the archiver',
      async () => (await bench.cluster.sql(done))[0] ?? null,
      120_000,
    );
    expect(archiver).toEqual({ failed: 0 });
    const ended = await bench.endStream(stream);
    expect(ended.status, ended.stderr).toBe(0);
    expect(ended.stderr).not.toContain('warning');
    const once = await bench.runOwned('wal_stream', ['--once', '--json']);
    expect(once.status, once.stderr).toBe(0);
    expect(jsonOf(once)).toMatchObject({ failures: 0, warnings: [] });
    const verified = await bench.runOwned('verify_backups', ['--wal', '--json']);
    expect(verified.status, verified.stderr).toBe(0);
  }, 300_000);

  it('follows a promotion, and brings back the end of the old timeline too', async () => {
    const { cluster } = bench;
    stream = bench.startStream();
    const before = await mark();
    await bench.received();
    const signal = join(cluster.dataDirectory, 'standby.signal');
    await writeFile(signal, '');
    if (cluster.osUser !== null) await chown(signal, cluster.osUser.uid, cluster.osUser.gid);
    await cluster.restart();
    await cluster.sql('SELECT pg_promote()');
    const after = await mark();
    await bench.received();
    const isArchived = async () =>
      (await archived()).some((name) => name.endsWith('.partial.zst')) || null;
    await until('the unfinished segment of the old timeline', isArchived, 120_000);
    const ended = await bench.endStream(stream);
    expect(ended.status, ended.stderr).toBe(0);
    const { timelines } = await bench.listWal();
    const newest = timelines.find(({ timeline }) => timeline === 2);
    expect(newest).toMatchObject({ origin: 'branch', gaps: [] });
    expect(String(newest?.ranges.at(-1)?.last_commit?.xid)).toBe(after);
    const lastOf = (flags: string[]) =>
      restorers.recover(
        flags,
        async ({ rows }) => (await rows('SELECT max(id) FROM marker'))[0]?.max,
      );
    expect(await lastOf(['--target-timeline', '1', '--target-xid', before])).toBe(count - 1);
    expect(await lastOf([])).toBe(count);
    // What the archiver has of it alone is enough.
    await rm(bench.stream, { recursive: true });
    expect(await lastOf(['--target-timeline', '1', '--target-xid', before])).toBe(count - 1);
  }, 300_000);
});
