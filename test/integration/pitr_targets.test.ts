/**
 * Random targets of every kind under load: what comes back is exactly what PostgreSQL's rules say
 * of the archived WAL, to the transaction. The server was killed under that load, and its last
 * segment never came into the archive: the archive alone is recovered from. HOLDFAST_FAULT_SEED
 * repeats the choices of a run that failed.
 */

import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { BaseManifest } from '../../src/core/base_manifest.ts';
import { type ArchivingBench, openArchivingBench } from '../support/archiving_bench.ts';
import { createChance } from '../support/fault.ts';
import { type Restorers, startRestorers } from '../support/restorers.ts';
import { allXids, loadSettings, startLoad, type WalLoad, wholeSql } from '../support/wal_load.ts';
import {
  clockText,
  committed,
  findStop,
  lsnOf,
  lsnText,
  readEvents,
  type Stop,
  type WalEvent,
  type Wish,
} from '../support/wal_oracle.ts';

const chance = createChance();
const segmentBytes = 1024n * 1024n;
/** Of each kind, half of them inclusive and half of them not. */
const perKind = 20;

let bench: ArchivingBench;
let restorers: Restorers;
let load: WalLoad;
/** Of the archive. */
let events: WalEvent[];
/** Transactions with rows on the server that was lost, in the archive or not. */
let written: Set<number>;
/** Oldest first. */
const bases: BaseManifest[] = [];

const pick = <T>(from: readonly T[]): T => from[Math.floor(chance.between(0, from.length))] as T;
const whole = (low: bigint, high: bigint) =>
  low + BigInt(Math.floor(chance.next() * Number(high - low)));
const microseconds = (iso: string) => BigInt(Date.parse(iso)) * 1000n;
const firstBase = () => bases[0] as BaseManifest;
const isEnd = ({ kind }: WalEvent) => kind === 'commit' || kind === 'abort';
const endings = () => events.filter(isEnd);
/** Behind the point where the first base backup is consistent: what can be recovered to. */
const reachable = <T extends { readonly lsn: bigint }>(from: readonly T[]) =>
  from.filter(({ lsn }) => lsn >= lsnOf(firstBase().stop_lsn));

beforeAll(async () => {
  bench = await openArchivingBench(loadSettings, {
    walSegmentMb: 1,
    repositoryName: `ré"po 'x' $(touch x) 100% %p`,
  });
  const { cluster, folder } = bench;
  const installed = await bench.setup(['install', '--yes']);
  expect(installed.status, installed.stderr).toBe(0);
  load = await startLoad(cluster, folder);
  for (const markers of [8, 30, 30]) {
    await load.more(markers);
    await bench.moveForward('now');
  }
  await load.more(15);
  await bench.moveForward('none');
  // Takes effect when it is started again: the rest never comes into the archive.
  await cluster.sql("ALTER SYSTEM SET archive_command = 'false'");
  await load.more(6);
  await cluster.kill9();
  await load.stop();
  await cluster.restart();
  written = new Set((await cluster.sql(allXids)).map(({ xid }) => Number(xid)));
  events = await readEvents(cluster.binDirectory, bench.archive);
  const folders = join(bench.archive, '../base');
  for (const label of (await readdir(folders)).sort()) {
    bases.push(JSON.parse(await readFile(join(folders, label, 'manifest.json'), 'utf8')));
  }
  restorers = await startRestorers(cluster, bench.repository, 2);
}, 300_000);
afterAll(async () => {
  await restorers?.close();
  await bench?.close();
});

/** A time as an operator may write it, in one zone or another. */
function timeText(at: bigint): string {
  const minutes = pick([0, 330, -210]);
  const zone = { 0: pick(['Z', '+00', ' UTC']), 330: '+05:30', [-210]: '-0330' }[minutes];
  return `${clockText(at + BigInt(minutes) * 60_000_000n)}${zone}`;
}

function flagsOf(wish: Wish): string[] {
  if (wish.kind === 'name') return ['--target-name', wish.name];
  const exclusive = wish.isInclusive ? [] : ['--target-exclusive'];
  switch (wish.kind) {
    case 'time':
      return ['--target-time', timeText(wish.at), ...exclusive];
    case 'lsn':
      return ['--target-lsn', lsnText(wish.lsn), ...exclusive];
    case 'xid':
      return ['--target-xid', String(wish.xid), ...exclusive];
  }
}

/** What a recovery has brought back, and what it should have. */
interface Comparison {
  readonly lost: readonly number[];
  readonly tooMany: readonly number[];
  readonly isWhole: unknown;
  readonly time: string | null;
}

/** @param timed records that the server counts when it tells the time of the last transaction */
function asItShouldBe(timed: number): Comparison {
  const last = events.slice(0, timed).findLast(isEnd);
  const time = last === undefined ? null : clockText(last.at).replace(/\.?0+$/, '');
  return { lost: [], tooMany: [], isWhole: true, time: `${time}+00` };
}

/** Recovers, and compares every transaction. @param replayed records of the archive */
async function compare(flags: readonly string[], replayed: number): Promise<Comparison> {
  const expected = committed(events, replayed);
  return restorers.recover(flags, async ({ rows, report }) => {
    const found = new Set((await rows(allXids)).map(({ xid }) => Number(xid)));
    const [{ whole: isWhole } = { whole: null }] = await rows(wholeSql);
    return {
      lost: [...written].filter((xid) => expected.has(xid) && !found.has(xid)),
      tooMany: [...found].filter((xid) => !expected.has(xid)),
      isWhole,
      time: report.time,
    };
  });
}

/** Recovers to many targets, two at a time. */
async function expectExactly(wishes: readonly Wish[]): Promise<void> {
  const results = await Promise.all(
    wishes.map(async (wish) => {
      const flags = flagsOf(wish);
      const told = `${flags.join(' ')} (HOLDFAST_FAULT_SEED=${chance.seed})`;
      const stop = findStop(events, wish) as Stop;
      const found = await compare(flags, stop.replayed).catch(String);
      // Right behind the LSN it stops before it takes note of the time (recoveryStopsAfter).
      const isUntimed = wish.kind === 'lsn' && wish.isInclusive;
      return { told, found, expected: asItShouldBe(stop.replayed - Number(isUntimed)) };
    }),
  );
  expect(results.map(({ told, found }) => ({ told, found }))).toEqual(
    results.map(({ told, expected }) => ({ told, found: expected })),
  );
}

/** Draws wishes that can be met, until there are enough of them. */
function draw(draws: () => Wish, count = perKind / 2): Wish[] {
  const wishes: Wish[] = [];
  const stop = lsnOf(firstBase().stop_lsn);
  const begun = microseconds(firstBase().finished_at);
  while (wishes.length < count) {
    const wish = draws();
    const found = findStop(events, wish);
    const isEarly =
      (wish.kind === 'time' && wish.at < begun) || (wish.kind === 'lsn' && wish.lsn < stop);
    if (found !== null && found.event.lsn >= stop && !isEarly) wishes.push(wish);
  }
  return wishes;
}

async function refused(...flags: string[]) {
  const pgdata = restorers.newFolder();
  const { status, stdout, stderr } = await restorers.run(['--pgdata', pgdata, ...flags]);
  await expect(stat(pgdata), flags.join(' ')).rejects.toThrow('ENOENT');
  const code = status === 0 ? null : JSON.parse(stdout).error.code;
  return [flags.join(' '), status, code, status === 5 ? '' : stderr];
}

async function expectUnreachable(all: readonly (readonly string[])[]): Promise<void> {
  const found = await Promise.all(all.map((flags) => refused(...flags)));
  expect(found).toEqual(all.map((flags) => [flags.join(' '), 5, 'TARGET_UNREACHABLE', '']));
}

describe('the load', () => {
  it('has left WAL, base backups and a tail as they are wanted here', () => {
    expect(bases).toHaveLength(3);
    expect(events.length).toBeGreaterThan(5000);
    const done = committed(events, events.length);
    const [archived, lost] = [
      load.markers.filter(({ xid }) => done.has(xid)),
      load.markers.slice(-2),
    ];
    expect(archived.length).toBeGreaterThan(80);
    expect(lost.filter(({ xid }) => done.has(xid))).toEqual([]);
    // What the markers saw themselves lies before their commit, by both clocks.
    const byXid = new Map(endings().map((event) => [event.xid, event]));
    for (const { xid, lsn } of archived) expect(byXid.get(xid)?.lsn).toBeGreaterThan(lsnOf(lsn));
    for (const { xid, at } of archived) {
      expect(byXid.get(xid)?.at).toBeGreaterThanOrEqual(microseconds(at));
    }
  });
});

describe.each([true, false])('recovers exactly, inclusive: %s', (isInclusive) => {
  it('to a time: of a commit, beside it, between two', async () => {
    await expectExactly(
      draw(() => {
        const { at } = pick(reachable(endings()));
        const offset = pick([0n, -1n, 1n, whole(-200_000n, 200_000n)]);
        return { kind: 'time', at: at + offset, isInclusive };
      }),
    );
  });

  it('to an LSN: of a record, within one, on the border of a segment', async () => {
    await expectExactly(
      draw(() => {
        const { lsn } = pick(reachable(events));
        const border = ((lsn + segmentBytes - 1n) / segmentBytes) * segmentBytes;
        const at = pick([lsn, lsn + 1n, lsn - 8n, border, border + 40n, border - 8n]);
        return { kind: 'lsn', lsn: at, isInclusive };
      }),
    );
  });

  it('to a transaction: committed, rolled back, prepared', async () => {
    await expectExactly(
      draw(() => ({ kind: 'xid', xid: pick(reachable(endings())).xid, isInclusive })),
    );
  });
});

describe('recovers exactly', () => {
  it('to a restore point', async () => {
    const points = reachable(events.filter(({ kind }) => kind === 'point'));
    await expectExactly(draw(() => ({ kind: 'name', name: pick(points).name }), perKind));
  });

  it('to the last moment that can be reached, and to the first', async () => {
    const last = endings().at(-1) as WalEvent;
    const first = reachable(endings())[0] as WalEvent;
    await expectExactly([
      { kind: 'xid', xid: last.xid, isInclusive: true },
      { kind: 'time', at: last.at, isInclusive: false },
      { kind: 'lsn', lsn: events.at(-1)?.lsn ?? 0n, isInclusive: true },
      { kind: 'xid', xid: first.xid, isInclusive: false },
    ]);
  });

  it('to the end of the newest base backup, and to the newest point', async () => {
    const consistent = lsnOf(bases.at(-1)?.stop_lsn ?? '0/0');
    const atBackup = events.filter(({ lsn }) => lsn < consistent).length;
    const [immediate, newest] = await Promise.all([
      compare(['--target-immediate'], atBackup),
      compare([], events.length),
    ]);
    expect(immediate).toEqual(asItShouldBe(atBackup));
    expect(newest).toEqual(asItShouldBe(events.length));
  });
});

describe('refuses before a byte is written', () => {
  it('a place within the repository', async () => {
    const inside = join(bench.repository, 'inside');
    const outcome = await restorers.run(['--pgdata', inside]);
    expect([outcome.status, outcome.stderr]).toEqual([
      2,
      expect.stringContaining('lies within the repository'),
    ]);
    await expect(stat(inside)).rejects.toThrow('ENOENT');
  });

  it('what lies before the first base backup', async () => {
    const begun = microseconds(firstBase().started_at);
    const early = endings().filter(({ lsn }) => lsn < lsnOf(firstBase().start_lsn));
    expect(early.length).toBeGreaterThan(20);
    const draws = Array.from({ length: 5 }, () => [
      ['--target-time', timeText(begun - whole(1n, 3_000_000_000n))],
      ['--target-lsn', lsnText(whole(8n, lsnOf(firstBase().stop_lsn)))],
      ['--target-xid', String(pick(early).xid)],
    ]);
    await expectUnreachable(draws.flat());
  });

  it('what lies behind the archived WAL, also what the lost server had acknowledged', async () => {
    const [last, end] = [endings().at(-1)?.at ?? 0n, events.at(-1)?.lsn ?? 0n];
    const archived = new Set(endings().map(({ xid }) => xid));
    const tail = load.markers.filter(({ xid }) => !archived.has(xid));
    expect(tail.length).toBeGreaterThan(1);
    const draws = Array.from({ length: 5 }, () => [
      ['--target-time', timeText(last + whole(0n, 10_000_000n))],
      ['--target-lsn', lsnText(end + whole(1n, 100_000_000n))],
      ['--target-xid', String(pick(tail).xid)],
      ['--target-time', timeText(microseconds(pick(tail).at))],
    ]);
    await expectUnreachable(draws.flat());
  });

  it('what there is not: transactions that never were, subtransactions, names', async () => {
    const draws = Array.from({ length: 5 }, (_, number) => [
      ['--target-xid', String(4_000_000_000 + number)],
      ['--target-xid', String(pick(load.subtransactions))],
      ['--target-name', `${pick(load.points)} `],
      ['--target-name', `nobody gave it ${number}`],
    ]);
    await expectUnreachable(draws.flat());
  });
});
