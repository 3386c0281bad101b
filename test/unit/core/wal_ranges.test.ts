import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { segmentName } from '../../../src/core/lsn.ts';
import type { Ancestor } from '../../../src/core/timeline.ts';
import type { ArchiveListing } from '../../../src/core/wal_listing.ts';
import {
  contradictions,
  isOnWay,
  runAt,
  segmentsOfRun,
  type TimelineWay,
  walTree,
} from '../../../src/core/wal_ranges.ts';

const mb = 1024 * 1024;
const segmentBytes = 16 * mb;
const at = (segment: number, offset = 0) => BigInt(segment) * BigInt(segmentBytes) + BigInt(offset);

type Histories = Readonly<
  Record<number, readonly (readonly [timeline: number, lsn: bigint])[] | null>
>;

/** An archive with these numbers of each timeline; a half is an unfinished segment. */
function listing(numbers: Readonly<Record<number, readonly number[]>>, histories: Histories = {}) {
  const segments = Object.entries(numbers).flatMap(([timeline, held]) =>
    held.map((each) => {
      const number = BigInt(Math.floor(each));
      const isPartial = !Number.isInteger(each);
      const name = segmentName(Number(timeline), number, segmentBytes);
      const flags = { isPartial, suffix: '.zst', hasDigest: true, hasIndex: false } as const;
      return {
        name: isPartial ? `${name}.partial` : name,
        timeline: Number(timeline),
        number,
        ...flags,
      };
    }),
  );
  return {
    segmentBytes,
    segments,
    histories: Object.entries(histories).map(([timeline, lines]) => ({
      name: `${timeline}.history`,
      timeline: Number(timeline),
      hasDigest: true,
      ancestors:
        lines === null
          ? null
          : lines.map(
              ([parent, switchLsn]): Ancestor => ({ timeline: parent, switchLsn, reason: '' }),
            ),
      problem: lines === null ? 'it names no ancestor' : null,
    })),
    backups: [],
    strays: [],
    unfinished: [],
    foreign: [],
  } satisfies ArchiveListing;
}

/** `1:3-5 2:6-7` for each run, `1:4-4` for each gap. */
function told(way: TimelineWay | undefined): { runs: string[]; gaps: string[] } {
  const text = ({ timeline, first, last }: { timeline: number; first: bigint; last: bigint }) =>
    `${timeline}:${first}-${last}`;
  return {
    runs: (way?.runs ?? []).map(({ parts }) =>
      parts.map((part) => `${text(part)}${part.isPartial ? '~' : ''}`).join(' '),
    ),
    gaps: (way?.gaps ?? []).map(text),
  };
}

function ways(archive: ArchiveListing): Record<number, ReturnType<typeof told>> {
  return Object.fromEntries(walTree(archive).timelines.map((way) => [way.timeline, told(way)]));
}

describe('what can be replayed', () => {
  it('is one run where nothing is missing', () => {
    const tree = walTree(listing({ 1: [3, 4, 5] }));
    expect(tree.timelines[0]?.origin).toEqual({ kind: 'first' });
    expect(told(tree.timelines[0])).toEqual({ runs: ['1:3-5'], gaps: [] });
    expect(tree.timelines[0]?.runs[0]).toMatchObject({ begin: at(3), end: at(6) });
  });

  it('is broken by each missing segment, which is named', () => {
    expect(ways(listing({ 1: [3, 5, 6, 9] }))).toEqual({
      1: { runs: ['1:3-3', '1:5-6', '1:9-9'], gaps: ['1:4-4', '1:7-8'] },
    });
  });

  it('goes from the parent to the child in the segment in which the child begins', () => {
    const archive = listing({ 1: [3, 4, 5.5], 2: [5, 6] }, { 2: [[1, at(5, 1000)]] });
    expect(ways(archive)).toEqual({
      1: { runs: ['1:3-4 1:5-5~'], gaps: [] },
      2: { runs: ['1:3-4 2:5-6'], gaps: [] },
    });
    // Of the parent's unfinished segment so much is known to be there.
    expect(walTree(archive).timelines[0]?.runs[0]?.end).toBe(at(5, 1000));
  });

  it('goes over at the border of a segment, too', () => {
    expect(ways(listing({ 1: [4], 2: [5] }, { 2: [[1, at(5)]] }))[2]).toEqual({
      runs: ['1:4-4 2:5-5'],
      gaps: [],
    });
  });

  it('does not take what the parent wrote after the switch', () => {
    expect(ways(listing({ 1: [3, 4, 5, 6], 2: [5] }, { 2: [[1, at(5, 8)]] }))).toEqual({
      1: { runs: ['1:3-6'], gaps: [] },
      2: { runs: ['1:3-4 2:5-5'], gaps: [] },
    });
  });

  it.each([
    ['before it, on the parent', { 1: [3], 2: [5, 6] }, ['1:3-3', '2:5-6'], ['1:4-4']],
    ['behind it, on the child', { 1: [3, 4, 5], 2: [6] }, ['1:3-4', '2:6-6'], ['2:5-5']],
    ['on both sides', { 1: [3], 2: [7] }, ['1:3-3', '2:7-7'], ['1:4-4', '2:5-6']],
  ])('names a gap at the switch: %s', (_, held, runs, gaps) => {
    expect(ways(listing(held, { 2: [[1, at(5, 8)]] }))[2]).toEqual({ runs, gaps });
  });

  it('has two timelines that left one parent', () => {
    const histories = { 2: [[1, at(4, 8)]], 3: [[1, at(6, 8)]] } as const;
    const archive = listing({ 1: [3, 4, 5, 6.5], 2: [4, 5], 3: [6] }, histories);
    expect(walTree(archive).timelines.map(({ timeline }) => timeline)).toEqual([1, 2, 3]);
    expect(ways(archive)).toMatchObject({
      2: { runs: ['1:3-3 2:4-5'], gaps: [] },
      3: { runs: ['1:3-5 3:6-6'], gaps: [] },
    });
  });

  it('passes over a timeline that began and ended in one segment', () => {
    const histories = {
      2: [[1, at(4, 8)]],
      3: [
        [1, at(4, 8)],
        [2, at(4, 800)],
      ],
    } as const;
    const archive = listing({ 1: [3], 2: [4.5], 3: [4, 5] }, histories);
    expect(ways(archive)).toEqual({
      1: { runs: ['1:3-3'], gaps: [] },
      2: { runs: ['1:3-3 2:4-4~'], gaps: [] },
      3: { runs: ['1:3-3 3:4-5'], gaps: [] },
    });
  });

  it('puts children behind their parent, also where numbers lie between', () => {
    const histories = {
      2: [[1, at(4)]],
      3: [[1, at(5)]],
      4: [
        [1, at(4)],
        [2, at(6)],
      ],
    } as const;
    const archive = listing({ 1: [3], 2: [4], 3: [5], 4: [6] }, histories);
    expect(walTree(archive).timelines.map(({ timeline }) => timeline)).toEqual([1, 2, 4, 3]);
  });

  it('takes an unfinished segment only while the complete one is missing', () => {
    expect(ways(listing({ 1: [3, 4, 4.5] }))[1]).toEqual({ runs: ['1:3-4'], gaps: [] });
    expect(ways(listing({ 1: [3, 4.5, 5] }))[1]).toEqual({
      runs: ['1:3-3 1:4-4~', '1:5-5'],
      gaps: ['1:4-4'],
    });
    expect(ways(listing({ 1: [3, 6.5] }))[1]).toEqual({
      runs: ['1:3-3', '1:6-6~'],
      gaps: ['1:4-5'],
    });
  });

  it('does not know where a timeline without a history comes from', () => {
    const tree = walTree(listing({ 1: [3], 2: [4], 3: [5] }, { 3: null }));
    expect(tree.timelines.map(({ origin }) => origin)).toEqual([
      { kind: 'first' },
      { kind: 'unknown', problem: null },
      { kind: 'unknown', problem: 'it names no ancestor' },
    ]);
    expect(told(tree.timelines[1])).toEqual({ runs: ['2:4-4'], gaps: [] });
  });

  it('is what was there before a timeline whose own WAL has not come yet', () => {
    expect(ways(listing({ 1: [3, 4] }, { 2: [[1, at(5, 8)]] }))[2]).toEqual({
      runs: ['1:3-4'],
      gaps: [],
    });
    expect(walTree(listing({})).timelines).toEqual([]);
  });

  it('has every segment once, in a run or in a gap, and no run beside another', () => {
    const held = fc.uniqueArray(fc.integer({ min: 1, max: 30 }));
    const place = fc.integer({ min: 1, max: 30 * segmentBytes });
    fc.assert(
      fc.property(held, held, place, (parent, child, lsn) => {
        const sorted = (numbers: number[]) => numbers.toSorted((a, b) => a - b);
        const archive = listing({ 1: sorted(parent), 2: sorted(child) }, { 2: [[1, BigInt(lsn)]] });
        const way = walTree(archive).timelines.find(({ timeline }) => timeline === 2);
        const turn = Math.floor(lsn / segmentBytes);
        const expected = [
          ...sorted(parent).filter((number) => number < turn),
          ...sorted(child).filter((number) => number >= turn),
        ];
        const runs = way?.runs.map((run) => segmentsOfRun(run, segmentBytes)) ?? [];
        expect(runs.flat().map(({ number }) => Number(number))).toEqual(expected);
        const missing = way?.gaps.reduce(
          (sum, { first, last }) => sum + Number(last - first) + 1,
          0,
        );
        const span = (expected.at(-1) ?? 0) - (expected[0] ?? 1) + 1;
        expect(missing).toBe(span - expected.length);
        for (const [index, run] of runs.entries()) {
          const next = runs[index + 1]?.[0];
          for (const [step, { number }] of run.entries()) {
            expect(number).toBe((run[0]?.number ?? 0n) + BigInt(step));
          }
          if (next !== undefined)
            expect(next.number).toBeGreaterThan((run.at(-1)?.number ?? 0n) + 1n);
        }
      }),
    );
  });
});

describe('a position', () => {
  const archive = listing({ 1: [3, 4, 5.5], 2: [5, 6, 8] }, { 2: [[1, at(5, 1000)]] });
  const way = walTree(archive).timelines[1] as TimelineWay;

  it.each([
    [1, at(4), true],
    [1, at(5, 1000), true],
    [1, at(5, 1001), false],
    [2, at(5, 999), false],
    [2, at(5, 1000), true],
    [3, at(6), false],
  ])('of timeline %d, %d, leads to timeline 2: %s', (timeline, lsn, leads) => {
    expect(isOnWay(way, timeline, lsn)).toBe(leads);
  });

  it('lies in a run, or in none', () => {
    expect(runAt(way, at(5, 3), segmentBytes)).toBe(way.runs[0]);
    expect(runAt(way, at(7, 3), segmentBytes)).toBeNull();
    expect(runAt(way, at(8), segmentBytes)).toBe(way.runs[1]);
  });

  it('lies in a segment whose name says whether it is unfinished', () => {
    const [first] = walTree(archive).timelines;
    const names = first?.runs.flatMap((run) => segmentsOfRun(run, segmentBytes)) ?? [];
    expect(names.map(({ name }) => name)).toEqual([
      '000000010000000000000003',
      '000000010000000000000004',
      '000000010000000000000005.partial',
    ]);
  });
});

describe('history files', () => {
  const ancestor = (timeline: number, switchLsn: bigint): Ancestor => ({
    timeline,
    switchLsn,
    reason: '',
  });

  it('repeat those of the parent, or contradict it', () => {
    const two = { timeline: 2, ancestors: [ancestor(1, 8n)] };
    const three = { timeline: 3, ancestors: [ancestor(1, 8n), ancestor(2, 16n)] };
    const other = { timeline: 4, ancestors: [ancestor(1, 9n), ancestor(2, 16n)] };
    expect(contradictions([two, three])).toEqual([]);
    expect(contradictions([three])).toEqual([]);
    expect(contradictions([two, other])).toEqual([
      { timeline: 4, message: 'tells other ancestors than that of timeline 2' },
    ]);
  });
});
