/**
 * Two failovers, so three timelines, and servers that have no business in the archive any more: the
 * old primary that goes on writing, and a copy of its files.
 */

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Of } from '../../src/core/sums.ts';
import { type ArchivingBench, openArchivingBench, waitFor } from '../support/archiving_bench.ts';
import type { Outcome } from '../support/command.ts';
import { type CopiedServer, copyServer } from '../support/copied_server.ts';
import { type Restorers, startRestorers } from '../support/restorers.ts';
import { jsonOf } from '../support/workbench.ts';

type Rows = (sql: string) => Promise<Record<string, unknown>[]>;

interface Mark {
  readonly xid: string;
  /** The server's time and WAL right behind its commit. */
  readonly at: string;
  readonly lsn: string;
}

let bench: ArchivingBench;
let restorers: Restorers;
/** Promoted one after the other. */
let second: CopiedServer;
let third: CopiedServer;
const marks: Mark[] = [];
const bases: string[] = [];

/** One transaction: its number is its row. */
async function mark(rows: Rows): Promise<void> {
  const number = marks.length + 1;
  const [row] = await rows(
    `INSERT INTO mark VALUES (${number}) RETURNING pg_current_xact_id()::text AS xid`,
  );
  const [now] = await rows(
    'SELECT clock_timestamp()::text AS at, pg_current_wal_insert_lsn()::text AS lsn',
  );
  marks.push({ xid: String(row?.xid), at: String(now?.at), lsn: String(now?.lsn) });
}

const markOf = (number: number) => marks[number - 1] as Mark;

async function moveForward(base: 'now' | 'none', server?: CopiedServer): Promise<void> {
  const moved = await bench.moveForward(base, server?.environment);
  expect(moved.gaps).toEqual([]);
  if (moved.base !== null) bases.push(moved.base.label);
}

/** Waits until a standby has all of another server's WAL, and makes it the primary. */
async function failOver(standby: CopiedServer, from: Rows, crash: () => Promise<void>) {
  const [row] = await from('SELECT pg_current_wal_flush_lsn()::text AS lsn');
  await waitFor('the standby has all', async () => {
    const [at] = await standby.rows(`SELECT pg_last_wal_replay_lsn() >= '${row?.lsn}' AS done`);
    return at?.done === true;
  });
  await crash();
  await standby.rows('SELECT pg_promote()');
  const failed = await bench.setup(['status'], standby.environment);
  expect([failed.status, failed.json.working]).toEqual([3, false]);
  const taken = await bench.setup(['take-over', '--yes'], standby.environment);
  expect(taken.status, taken.stderr).toBe(0);
}

/** The digest of every file in the archive but the indexes, which are ours to make again. */
async function archiveDigests(): Promise<Record<string, string>> {
  const names = (await readdir(bench.archive, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && !entry.name.endsWith('.index.json'))
    .map((entry) => join(entry.parentPath, entry.name));
  const pairs = names.sort().map(async (name) => [name, sha256Of(await readFile(name))]);
  return Object.fromEntries(await Promise.all(pairs));
}

beforeAll(async () => {
  const settings = { archive_mode: 'on', wal_level: 'replica', max_connections: '20' };
  bench = await openArchivingBench(settings, { walSegmentMb: 1, repositoryName: "ré'po %f" });
  const { cluster } = bench;
  const first: Rows = (sql) => cluster.sql(sql);
  const installed = await bench.setup(['install', '--yes']);
  expect(installed.status, installed.stderr).toBe(0);
  await first('CREATE TABLE mark (number int)');
  await mark(first);
  await moveForward('now');
  await mark(first);
  await mark(first);
  second = await copyServer(cluster, { name: 'second', port: 5433, kind: 'standby' });
  await mark(first);
  await moveForward('none');
  await failOver(second, first, () => cluster.kill9());
  await mark(second.rows);
  await mark(second.rows);
  await moveForward('now', second);
  third = await copyServer(cluster, { name: 'third', port: 5434, kind: 'standby', from: 5433 });
  await mark(second.rows);
  await moveForward('none', second);
  await failOver(third, second.rows, () => second.crash());
  await mark(third.rows);
  await mark(third.rows);
  await moveForward('none', third);
  restorers = await startRestorers(cluster, bench.repository, 2);
}, 300_000);
afterAll(async () => {
  await restorers?.close();
  for (const server of [second, third]) await server?.crash().catch(() => undefined);
  await bench?.close();
});

const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

/** Which marks a recovery brings back, and from which base backup on which timeline. */
async function recovered(...flags: string[]) {
  return restorers.recover(flags, async ({ rows, plan, report }) => {
    const found = await rows('SELECT number FROM mark ORDER BY number');
    // It never continues a timeline that the archive knows: it begins one of its own.
    expect(report.timeline).toBeGreaterThan(plan.timeline);
    const numbers = found.map(({ number }) => number);
    return { numbers, timeline: plan.timeline, base: bases.indexOf(plan.label) };
  });
}

async function refusedOn(...flags: string[]): Promise<Outcome> {
  const outcome = await restorers.run(['--pgdata', restorers.newFolder(), ...flags]);
  expect([outcome.status, jsonOf<{ error: { code: string } }>(outcome).error.code]).toEqual([
    5,
    'TARGET_UNREACHABLE',
  ]);
  return outcome;
}

describe('three timelines', () => {
  it('are listed as a tree, and are whole', async () => {
    const verified = await bench.run('verify_backups', ['--wal', '--deep', '--json']);
    expect(verified.status, verified.stderr).toBe(0);
    const list = await bench.run('list_backups', ['--wal', '--json']);
    const [archive] = jsonOf<{ archives: { timelines: object[] }[] }>(list).archives;
    expect(archive?.timelines).toMatchObject([
      { timeline: 1, origin: 'first', gaps: [] },
      { timeline: 2, origin: 'branch', parent: 1, gaps: [] },
      { timeline: 3, origin: 'branch', parent: 2, gaps: [] },
    ]);
  });

  it('are followed to their ends: the latest, one by its number, that of the backup', async () => {
    const found = await Promise.all([
      recovered(),
      recovered('--target-timeline', 'latest'),
      recovered('--target-timeline', '3'),
      recovered('--target-timeline', '2'),
      recovered('--target-timeline', '0x2'),
      recovered('--target-timeline', '1'),
      recovered('--target-timeline', 'current'),
    ]);
    const third = { numbers: upTo(9), timeline: 3, base: 1 };
    const onSecond = { numbers: upTo(7), timeline: 2, base: 1 };
    const onFirst = { numbers: upTo(4), timeline: 1, base: 0 };
    expect(found).toEqual([third, third, third, onSecond, onSecond, onFirst, onSecond]);
  });

  it('are recovered to on the way: across one switch, and across two', async () => {
    const xid = (number: number) => ['--target-xid', markOf(number).xid];
    const lsn = (number: number) => ['--target-lsn', markOf(number).lsn, '--target-exclusive'];
    const found = await Promise.all([
      recovered(...xid(3)),
      recovered(...xid(3), '--target-timeline', '1'),
      recovered(...xid(5), '--target-timeline', '2'),
      recovered(...xid(5)),
      recovered(...lsn(3)),
      recovered(...lsn(7), '--target-timeline', '2'),
      recovered(...lsn(8)),
      recovered('--target-time', markOf(4).at),
      recovered('--target-time', markOf(8).at),
      recovered('--target-time', markOf(6).at, '--target-timeline', '2'),
    ]);
    expect(found.map(({ numbers, timeline }) => [numbers.length, timeline])).toEqual([
      [3, 3],
      [3, 1],
      [5, 2],
      [5, 3],
      [3, 3],
      [7, 2],
      [8, 3],
      [4, 3],
      [8, 3],
      [6, 2],
    ]);
    for (const { numbers } of found) expect(numbers).toEqual(upTo(numbers.length));
  });

  it('reach no further than their own WAL', async () => {
    const timeline = (number: number) => ['--target-timeline', String(number)];
    await refusedOn('--target-xid', markOf(9).xid, ...timeline(2));
    await refusedOn('--target-xid', markOf(5).xid, ...timeline(1));
    await refusedOn('--target-lsn', markOf(8).lsn, ...timeline(2));
    await refusedOn('--target-time', markOf(5).at, ...timeline(1));
    const { stderr } = await refusedOn(...timeline(4));
    expect(stderr).toMatch(/timeline 1: .*; timeline 2: .*; timeline 3: /);
  });
});

describe('a server that has no business in the archive', () => {
  it('is refused: the old primary that writes on, and a copy of its files', async () => {
    const { cluster } = bench;
    const before = await archiveDigests();
    const copy = await copyServer(cluster, { name: 'copy', port: 5435, kind: 'files' });
    try {
      await cluster.restart();
      const old: Rows = (sql) => cluster.sql(sql);
      for (const [name, rows] of [
        ['old', old],
        ['copy', copy.rows],
      ] as const) {
        await rows(`INSERT INTO mark VALUES (100); CREATE TABLE of_the_${name} ()`);
        await rows('SELECT pg_switch_wal()');
        const [failed] = await rows('SELECT failed_count::int AS n FROM pg_stat_archiver');
        await waitFor(`${name} is refused again and again`, async () => {
          const [now] = await rows('SELECT failed_count::int AS n FROM pg_stat_archiver');
          return Number(now?.n) >= Number(failed?.n) + 2;
        });
        const [archiver] = await rows('SELECT archived_count::int AS n FROM pg_stat_archiver');
        expect(archiver?.n).toBe(0);
      }
      const told = await bench.setup(['status'], copy.environment);
      expect([told.status, told.json.failure]).toEqual([
        3,
        expect.stringContaining(`called in ${copy.data}, and the archive belongs to ${third.data}`),
      ]);
      const installed = await bench.setup(['install', '--yes'], copy.environment);
      expect([installed.status, installed.stderr]).toEqual([
        7,
        expect.stringContaining('take-over'),
      ]);
      expect(await archiveDigests()).toEqual(before);
      await mark(third.rows);
      await moveForward('none', third);
      expect((await recovered()).numbers).toEqual(upTo(10));
    } finally {
      await copy.crash();
    }
  });
});
