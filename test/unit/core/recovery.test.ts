import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLsn, type Lsn, segmentName } from '../../../src/core/lsn.ts';
import {
  candidatesFor,
  firstNeeded,
  judge,
  type RecoveryBase,
  type RecoveryRequest,
} from '../../../src/core/recovery.ts';
import { createIndexBuilder } from '../../../src/core/wal_index.ts';
import { sortArchive } from '../../../src/core/wal_listing.ts';
import { walTree } from '../../../src/core/wal_ranges.ts';

const segmentBytes = 1024 * 1024;
const recordBytes = 128 * 1024;
const perSegment = segmentBytes / recordBytes;

interface Record {
  readonly lsn: Lsn;
  readonly kind: 'commit' | 'abort' | 'point' | 'other';
  readonly at: string;
  readonly xid: number;
}

const timeOf = (second: number) => new Date(Date.UTC(2026, 10, 21, 2, 0, second)).toISOString();
const microseconds = (iso: string) => iso.replace('Z', '000Z');

/** Records of one size, from segment 1 on: a transaction's identifier is its place. */
function recordsOf(shape: readonly [Record['kind'], number][]): Record[] {
  return shape.map(([kind, second], at) => ({
    lsn: BigInt(segmentBytes + at * recordBytes),
    kind,
    at: microseconds(timeOf(second)),
    xid: 1000 + at,
  }));
}

function indexesOf(records: readonly Record[]) {
  const count = Math.ceil(records.length / perSegment);
  return Array.from({ length: count }, (_, at) => {
    const number = BigInt(at + 1);
    const name = segmentName(1, number, segmentBytes);
    const builder = createIndexBuilder(name);
    for (const { lsn, kind, at: time, xid } of records.slice(
      at * perSegment,
      (at + 1) * perSegment,
    )) {
      const clock = time.replace('T', ' ').replace('Z', ' UTC');
      const description =
        kind === 'point'
          ? 'RESTORE_POINT here'
          : kind === 'other'
            ? 'x'
            : `${kind.toUpperCase()} ${clock}`;
      const manager = kind === 'point' ? 'XLOG' : kind === 'other' ? 'Heap' : 'Transaction';
      builder.add({ manager, lsn, end: lsn + BigInt(recordBytes), xid, description });
    }
    return { segment: { name, timeline: 1, number }, index: builder.build(), problem: null };
  });
}

function baseOf(
  start: Lsn,
  stop: Lsn,
  more: { label?: string; started?: string; finished?: string } = {},
): RecoveryBase {
  const started = more.started ?? '2026-11-01T00:00:00.000Z';
  return {
    label: more.label ?? '20261101T000000Z-base-aaaa',
    check: null,
    manifest: {
      parent: null,
      server: { wal_segment_bytes: segmentBytes } as never,
      damaged_pages: [],
      start_lsn: formatLsn(start),
      stop_lsn: formatLsn(stop),
      start_timeline: 1,
      stop_timeline: 1,
      started_at: started,
      finished_at: more.finished ?? started,
    },
  };
}

function treeOf(names: readonly string[]) {
  const files = names.map((name) => `${name}.zst`);
  return walTree(sortArchive({ top: [], timelines: new Map([['00000001', files]]) }, segmentBytes));
}

/** What xlogrecovery.c does: the record at which it stops, from the backup's start on. */
function stopsAt(records: readonly Record[], start: Lsn, request: RecoveryRequest) {
  const { target, isInclusive } = request;
  return records.find(({ lsn, kind, at, xid }) => {
    if (lsn < start) return false;
    if (target.kind === 'lsn') return lsn >= target.lsn;
    if (target.kind === 'name') return kind === 'point' && target.name === 'here';
    if (kind !== 'commit' && kind !== 'abort') return false;
    if (target.kind === 'xid') return xid === target.xid;
    if (target.kind !== 'time') return false;
    return isInclusive ? at > target.at : at >= target.at;
  });
}

const scene = fc.record({
  shape: fc.array(
    fc.tuple(fc.constantFrom('commit', 'abort', 'point', 'other'), fc.integer({ min: 0, max: 40 })),
    { minLength: 1, maxLength: 40 },
  ),
  start: fc.nat(20),
  length: fc.nat(12),
  target: fc.oneof(
    fc
      .integer({ min: 0, max: 41 })
      .map((s) => ({ kind: 'time', at: microseconds(timeOf(s)) }) as const),
    fc
      .nat(45 * recordBytes)
      .map((at) => ({ kind: 'lsn', lsn: BigInt(segmentBytes + at) }) as const),
    fc.integer({ min: 990, max: 1045 }).map((xid) => ({ kind: 'xid', xid }) as const),
    fc.constantFrom('here', 'nowhere').map((name) => ({ kind: 'name', name }) as const),
  ),
  isInclusive: fc.boolean(),
});

describe('judge', () => {
  it('agrees with what PostgreSQL does at every record', () => {
    const seen = { reached: 0, beyond: 0, 'too-early': 0 };
    fc.assert(
      fc.property(scene, ({ shape, start: from, length, target, isInclusive }) => {
        const records = recordsOf(shape);
        const start = BigInt(segmentBytes + from * recordBytes);
        const stop = start + BigInt(length * recordBytes);
        const indexes = indexesOf(records);
        const tree = treeOf(indexes.map(({ segment }) => segment.name));
        const [candidate] = candidatesFor([baseOf(start, stop)], tree, 'latest');
        if (candidate === undefined) throw new Error('a base on the first timeline fits');
        fc.pre(candidate.segments.length > 0);
        const request: RecoveryRequest = { target, isInclusive, timeline: 'latest' };
        const at = firstNeeded(candidate, request, segmentBytes);
        const needed = candidate.segments.slice(at).map(({ name }) => name);
        const known = indexes.filter(({ segment }) => needed.includes(segment.name));
        const verdict = judge(candidate, request, known, { segmentBytes, isAll: true });
        if (verdict.kind !== 'undecided') seen[verdict.kind] += 1;
        const truth = stopsAt(records, start, request);
        // The server ends in FATAL where it stops before it is consistent, or never stops.
        if (verdict.kind === 'reached') {
          expect(truth?.lsn).toBeGreaterThanOrEqual(stop);
          expect(truth?.lsn).toBeGreaterThanOrEqual(
            (verdict.stopsIn?.number ?? 0n) * BigInt(segmentBytes),
          );
        }
        if (verdict.kind === 'beyond') expect(truth).toBeUndefined();
        if (truth === undefined) expect(verdict.kind).not.toBe('reached');
        expect(verdict.kind).not.toBe('undecided');
        // Whoever knows less decides the same, or asks for more.
        const part = judge(candidate, request, known.slice(0, -1), { segmentBytes, isAll: false });
        if (part.kind !== 'undecided') expect(part.kind).toBe(verdict.kind);
      }),
      { numRuns: 3000 },
    );
    expect(Math.min(...Object.values(seen))).toBeGreaterThan(50);
  });

  it('takes no base for a time at which it had not begun, even on an idle server', () => {
    const records = recordsOf([...Array(12).fill(['other', 0]), ['commit', 50]]);
    const indexes = indexesOf(records);
    const base = baseOf(BigInt(segmentBytes), BigInt(segmentBytes), { started: timeOf(30) });
    const [candidate] = candidatesFor([base], treeOf(indexes.map((i) => i.segment.name)), 'latest');
    const at = (second: number): RecoveryRequest => ({
      target: { kind: 'time', at: microseconds(timeOf(second)) },
      isInclusive: true,
      timeline: 'latest',
    });
    if (candidate === undefined) throw new Error('it fits');
    const all = { segmentBytes, isAll: true };
    expect(judge(candidate, at(29), indexes, all).kind).toBe('too-early');
    expect(judge(candidate, at(31), indexes, all).kind).toBe('reached');
    expect(judge(candidate, at(50), indexes, all).kind).toBe('beyond');
  });

  it('takes a base for a time before its end only where a transaction not in it proves it', () => {
    const during = { started: timeOf(10), finished: timeOf(40) };
    const verdictAt = (shape: Parameters<typeof recordsOf>[0], second: number) => {
      const indexes = indexesOf(recordsOf(shape));
      // Two records are in it: what was committed at 20 came between its label and its begin.
      const base = baseOf(BigInt(segmentBytes + 2 * recordBytes), BigInt(2 * segmentBytes), during);
      const tree = treeOf(indexes.map(({ segment }) => segment.name));
      const [candidate] = candidatesFor([base], tree, 'latest');
      if (candidate === undefined) throw new Error('it fits');
      const target = { kind: 'time', at: microseconds(timeOf(second)) } as const;
      const request: RecoveryRequest = { target, isInclusive: true, timeline: 'latest' };
      return judge(candidate, request, indexes, { segmentBytes, isAll: true }).kind;
    };
    const idle = Array(perSegment - 2).fill(['other', 0]);
    const quiet = [['commit', 9], ['commit', 20], ...idle, ['commit', 50]] as const;
    expect([15, 30, 39].map((second) => verdictAt(quiet as never, second))).toEqual(
      Array(3).fill('too-early'),
    );
    expect(verdictAt(quiet as never, 40)).toBe('reached');
    const busy = [...quiet.slice(0, -1), ['commit', 30], ['commit', 50]];
    expect(verdictAt(busy as never, 29)).toBe('too-early');
    expect(verdictAt(busy as never, 30)).toBe('reached');
    const early = [['commit', 9], ['commit', 20], ['commit', 25], ...idle, ['commit', 50]];
    expect(verdictAt(early as never, 24)).toBe('too-early');
    expect(verdictAt(early as never, 26)).toBe('reached');
  });

  it('trusts nothing behind a segment that cannot be read', () => {
    const records = recordsOf(Array.from({ length: 24 }, (_, s) => ['commit', s]));
    const [first, second, third] = indexesOf(records);
    if (first === undefined || second === undefined || third === undefined)
      throw new Error('three');
    const broken = { ...second, index: null, problem: { message: 'is damaged' } };
    const base = baseOf(BigInt(segmentBytes), BigInt(segmentBytes));
    const names = [first, second, third].map(({ segment }) => segment.name);
    const [candidate] = candidatesFor([base], treeOf(names), 'latest');
    if (candidate === undefined) throw new Error('it fits');
    const request: RecoveryRequest = {
      target: { kind: 'xid', xid: 1020 },
      isInclusive: true,
      timeline: 'latest',
    };
    const all = { segmentBytes, isAll: true };
    expect(judge(candidate, request, [first, second, third], all).kind).toBe('reached');
    expect(judge(candidate, request, [first, broken, third], all).kind).toBe('beyond');
  });
});

describe('candidatesFor', () => {
  const name = (timeline: number, number: number) =>
    segmentName(timeline, BigInt(number), segmentBytes);
  const at = (number: number, offset = 0) => BigInt(number * segmentBytes + offset);
  const early = baseOf(at(1), at(2), { label: '20261101T000000Z-base-aaaa' });
  const late = baseOf(at(5), at(6), { label: '20261102T000000Z-base-bbbb' });

  it('takes the newest first, and lets the WAL end at a gap', () => {
    const tree = treeOf([1, 2, 3, 5, 6].map((number) => name(1, number)));
    const found = candidatesFor([early, late], tree, 'latest');
    expect(found.map(({ base }) => base.label)).toEqual([late.label, early.label]);
    expect(found.map(({ segments }) => segments.map(({ number }) => number))).toEqual([
      [5n, 6n],
      [1n, 2n, 3n],
    ]);
  });

  it('leaves WAL out that does not reach to the end of the backup', () => {
    const files = [`${name(1, 5)}.zst`, `${name(1, 6)}.partial.zst`];
    const tree = walTree(
      sortArchive({ top: [], timelines: new Map([['00000001', files]]) }, segmentBytes),
    );
    const [found] = candidatesFor([late], tree, 'latest');
    // An unfinished segment may be the last one, but only behind the end of the backup.
    expect(found?.segments.map(({ number }) => number)).toEqual([5n, 6n]);
    const within = baseOf(at(5), at(6, 8));
    expect(candidatesFor([within], tree, 'latest')[0]?.segments).toEqual([]);
    const long = baseOf(at(5), at(7, 8));
    expect(candidatesFor([long], tree, 'latest')[0]?.segments).toEqual([]);
  });

  it('tells what is missing behind them, and takes no part of the WAL for all of it', () => {
    const newest: RecoveryRequest = {
      target: { kind: 'newest' },
      isInclusive: true,
      timeline: 'latest',
    };
    const kinds = (bases: RecoveryBase[], numbers: number[]) =>
      candidatesFor(bases, treeOf(numbers.map((number) => name(1, number))), 'latest').map(
        (found) => [
          judge(found, newest, [], { segmentBytes, isAll: true }).kind,
          found.gap && [found.gap.first, found.gap.last],
        ],
      );
    expect(kinds([early], [1, 2, 3, 6, 7])).toEqual([['beyond', [4n, 5n]]]);
    expect(kinds([late, early], [1, 2, 3, 5, 6])).toEqual([
      ['reached', null],
      ['beyond', [4n, 4n]],
    ]);
    expect(kinds([late], [7, 8])).toEqual([['beyond', null]]);
    expect(kinds([late], [3, 7, 8])).toEqual([['beyond', [4n, 6n]]]);
  });

  it('follows a timeline only from a backup that lies before the switch', () => {
    const ancestors = [{ timeline: 1, switchLsn: at(4), reason: '' }];
    const timelines = new Map([
      ['00000001', [1, 2, 3, 4, 5, 6].map((number) => `${name(1, number)}.zst`)],
      ['00000002', [4, 5].map((number) => `${name(2, number)}.zst`)],
    ]);
    const listing = sortArchive({ top: ['00000002.history'], timelines }, segmentBytes);
    const histories = listing.histories.map((each) => ({ ...each, ancestors }));
    const tree = walTree({ ...listing, histories });
    const labels = (timeline: 'latest' | 'current' | number) =>
      candidatesFor([early, late], tree, timeline).map((c) => [c.base.label, c.timeline]);
    expect(labels('latest')).toEqual([[early.label, 2]]);
    expect(labels(1)).toEqual([
      [late.label, 1],
      [early.label, 1],
    ]);
    expect(labels('current')).toEqual(labels(1));
    expect(labels(7)).toEqual([]);
    const [onSecond] = candidatesFor([early], tree, 2);
    expect(onSecond?.segments.map(({ timeline }) => timeline)).toEqual([1, 1, 1, 2, 2]);
  });

  const treeWithGap = () => treeOf([1, 2, 3, 5, 6].map((number) => name(1, number)));
  const childOf = (base: RecoveryBase, parent: string): RecoveryBase => ({
    ...base,
    manifest: base.manifest === null ? null : { ...base.manifest, parent },
  });

  it('takes no damaged one', () => {
    const damaged = { ...late, check: { kind: 'damaged' } };
    const unreadable = { ...late, manifest: null };
    for (const bad of [damaged, unreadable]) {
      const found = candidatesFor([early, bad], treeWithGap(), 'latest');
      expect(found.map(({ base }) => base.label)).toEqual([early.label]);
    }
  });

  it('takes an incremental one with all that it builds upon, and from where it begins', () => {
    const found = candidatesFor([childOf(late, early.label), early], treeWithGap(), 'latest');
    expect(found.map(({ chain }) => chain.map(({ label }) => label))).toEqual([
      [early.label, late.label],
      [early.label],
    ]);
    expect(found[0]?.segments.map(({ number }) => number)).toEqual([5n, 6n]);
  });

  it('takes none of which a link is missing or damaged', () => {
    const orphan = childOf(late, '20261101T120000Z-incr-gone');
    const labels = (bases: RecoveryBase[]) =>
      candidatesFor(bases, treeWithGap(), 'latest').map(({ base }) => base.label);
    expect(labels([early, orphan])).toEqual([early.label]);
    const hurt = { ...early, check: { kind: 'damaged' } };
    expect(labels([hurt, childOf(late, early.label)])).toEqual([]);
  });
});
