import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { previousSegmentNumber, requireLsn, segmentNumber } from '../../../src/core/lsn.ts';
import {
  candidatesFor,
  firstNeeded,
  judge,
  type RecoveryRequest,
} from '../../../src/core/recovery.ts';
import { retainedBase } from '../../../src/core/retained_base.ts';
import type { ArchiveListing } from '../../../src/core/wal_listing.ts';
import { segmentsOfRun, walTree } from '../../../src/core/wal_ranges.ts';
import {
  carriedOut,
  type HistoryShape,
  histories,
  live,
  type PolicyShape,
  planOf,
  policies,
  removedLabels,
  removedNames,
  segmentBytes,
  type WalHistory,
} from '../../support/wal_history.ts';

const dayMs = 86_400_000;
const isoOf = (time: number) => new Date(time).toISOString().replace('Z', '000Z');

/** Every moment since then to which a recovery leads, on each timeline, by core/recovery.ts. */
function recoverable({ bases, listing, commits, indexes }: WalHistory, since: number) {
  const tree = walTree(listing);
  const reached = new Set<string>();
  for (const way of tree.timelines) {
    const { timeline } = way;
    const candidates = candidatesFor(bases, tree, timeline);
    const known = candidates.map(({ segments }) =>
      segments.map((segment) => ({
        segment,
        index: indexes.get(segment.name) ?? null,
        problem: null,
      })),
    );
    const isReached = (target: RecoveryRequest['target']) => {
      const request: RecoveryRequest = { target, isInclusive: true, timeline };
      return candidates.some((candidate, place) => {
        const from = firstNeeded(candidate, request, segmentBytes);
        const rest = known[place]?.slice(from) ?? [];
        return judge(candidate, request, rest, { segmentBytes, isAll: true }).kind === 'reached';
      });
    };
    for (const { name } of way.runs.flatMap((run) => segmentsOfRun(run, segmentBytes))) {
      for (const { lsn, time } of commits.get(name) ?? []) {
        // The record that is hit lies in the window, and so does the moment before it.
        if (time - 1 < since) continue;
        if (isReached({ kind: 'lsn', lsn })) reached.add(`${timeline} ${lsn}`);
        const at = isoOf(time - 1);
        if (isReached({ kind: 'time', at })) reached.add(`${timeline} ${at}`);
      }
    }
  }
  return reached;
}

/** The WAL of its own that a base backup finds in an archive. */
function ownWal({ manifest }: WalHistory['bases'][number], { segments }: ArchiveListing): string[] {
  if (manifest === null) return [];
  return segments
    .filter(({ timeline, number }) =>
      manifest.wal_ranges.some(
        (range) =>
          range.timeline === timeline &&
          number >= segmentNumber(requireLsn(range.start_lsn), segmentBytes) &&
          number <= previousSegmentNumber(requireLsn(range.end_lsn), segmentBytes),
      ),
    )
    .map(({ name }) => name);
}

const runs = { numRuns: 1000 };
const shapes = fc.tuple(histories, policies);
const sinceOf = ({ now }: WalHistory, { windowDays }: PolicyShape) =>
  now.getTime() - windowDays * dayMs;

function check(property: (history: WalHistory, policy: PolicyShape, shape: HistoryShape) => void) {
  fc.assert(
    fc.property(shapes, ([shape, policy]) => property(live(shape), policy, shape)),
    runs,
  );
}

describe('for any history and any policy', () => {
  it('every moment of the window that could be recovered to can be after it, killed or not', () => {
    let [segments, bases, moments] = [0, 0, 0];
    const property = fc.property(shapes, fc.nat(60), ([shape, policy], steps) => {
      const history = live(shape);
      const plan = planOf(history, policy);
      segments += removedNames(plan).length;
      bases += removedLabels(plan).length;
      if (removedNames(plan).length + removedLabels(plan).length === 0) return;
      const since = sinceOf(history, policy);
      const before = recoverable(history, since);
      moments += before.size;
      for (const left of [carriedOut(history, plan), carriedOut(history, plan, steps)]) {
        const after = recoverable(left, since);
        expect([...before].filter((moment) => !after.has(moment))).toEqual([]);
      }
    });
    fc.assert(property, runs);
    // It has something to say.
    expect(segments).toBeGreaterThan(1000);
    expect(bases).toBeGreaterThan(500);
    expect(moments).toBeGreaterThan(1000);
  });

  it('a base backup that is kept has its WAL and all that it builds upon', () => {
    check((history, policy) => {
      const plan = planOf(history, policy);
      const left = carriedOut(history, plan);
      const labels = new Set(left.bases.map(({ label }) => label));
      const before = new Set(history.bases.map(({ label }) => label));
      for (const base of left.bases) {
        expect(ownWal(base, left.listing)).toEqual(ownWal(base, history.listing));
        const parent = base.manifest?.parent;
        if (parent != null && before.has(parent)) expect(labels).toContain(parent);
      }
    });
  });

  it('a second run removes nothing more, nor does one after a run that was killed', () => {
    const property = fc.property(shapes, fc.nat(60), ([shape, policy], steps) => {
      const history = live(shape);
      const plan = planOf(history, policy);
      const again = planOf(carriedOut(history, plan), policy);
      expect([...removedLabels(again), ...removedNames(again)]).toEqual([]);
      const half = carriedOut(history, plan, steps);
      const end = carriedOut(half, planOf(half, policy));
      const last = planOf(end, policy);
      expect([...removedLabels(last), ...removedNames(last)]).toEqual([]);
    });
    fc.assert(property, runs);
  });

  it('makes no gap: what is left begins at a base backup, or where it has begun before', () => {
    check((history, policy) => {
      const plan = planOf(history, policy);
      const left = carriedOut(history, plan);
      const starts = new Set(
        left.bases.flatMap(({ manifest }) =>
          (manifest?.wal_ranges ?? []).map(({ start_lsn: start }) =>
            segmentNumber(requireLsn(start), segmentBytes),
          ),
        ),
      );
      const present = new Set(history.listing.segments.map(({ name }) => name));
      const waysBefore = walTree(history.listing).timelines;
      const asked = new Set(
        plan.wal
          .filter(({ reason }) => /^(recoveries from|makes) /.test(reason))
          .flatMap(({ names }) => names),
      );
      for (const { timeline, runs: ranges } of walTree(left.listing).timelines) {
        const way = waysBefore.find((each) => each.timeline === timeline);
        const begun = (way?.runs ?? []).map(({ begin }) => begin);
        for (const run of ranges) {
          const [first] = segmentsOfRun(run, segmentBytes);
          if (first === undefined || !asked.has(first.name)) continue;
          const isBegin = starts.has(first.number) || begun.includes(run.begin);
          expect(isBegin, `${first.name} of timeline ${timeline}`).toBe(true);
          expect(present).toContain(first.name);
        }
      }
    });
  });

  it('keeps the youngest base backup that can be used, with all since, or all there is', () => {
    check((history, policy) => {
      const plan = planOf(history, policy);
      const left = carriedOut(history, plan);
      const tree = walTree(history.listing);
      const timelines = tree.timelines.map(({ timeline }) => timeline);
      const usable = (history_: WalHistory) =>
        timelines.flatMap((each) =>
          candidatesFor(history_.bases, walTree(history_.listing), each).slice(0, 1),
        );
      const youngest = usable(history)
        .sort((a, b) => (a.base.label < b.base.label ? 1 : -1))
        .at(0);
      if (youngest === undefined) {
        expect(removedNames(plan)).toEqual([]);
        return;
      }
      expect(left.bases).toContain(youngest.base);
      const after = new Set(left.listing.segments.map(({ name }) => name));
      for (const { name } of youngest.segments) expect(after).toContain(name);
    });
  });

  it('a damaged or unread one never lets the last good one before it go', () => {
    check((history, policy) => {
      const kept = new Set(carriedOut(history, planOf(history, policy)).bases);
      const retained = history.bases.map((base) => retainedBase(base, null));
      const good = history.bases.filter((base, place) => {
        const { health, facts } = retained[place] ?? {};
        return health === 'good' && facts?.parent === null && base.manifest !== null;
      });
      const last = good.at(-1);
      if (last !== undefined) expect(kept).toContain(last);
    });
  });

  it('a longer window never removes more', () => {
    fc.assert(
      fc.property(shapes, fc.integer({ min: 1, max: 10 }), ([shape, policy], more) => {
        const history = live(shape);
        const longer = { ...policy, windowDays: policy.windowDays + more };
        const gone = new Set(removedNames(planOf(history, policy)));
        for (const name of removedNames(planOf(history, longer))) expect(gone).toContain(name);
      }),
      runs,
    );
  });

  it('keeps and names what comes from nobody knows where', () => {
    let seen = 0;
    check((history, policy) => {
      const { wal } = planOf(history, policy);
      for (const { timeline, origin } of walTree(history.listing).timelines) {
        if (origin.kind !== 'unknown') continue;
        for (const each of wal.filter((decision) => decision.timeline === timeline)) {
          seen += 1;
          expect(each.action).toBe('keep');
        }
      }
    });
    expect(seen).toBeGreaterThan(50);
  });
});
