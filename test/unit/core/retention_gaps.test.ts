import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireLsn, segmentName, segmentNumber } from '../../../src/core/lsn.ts';
import { gapsOfRetention, gapsOfSilence } from '../../../src/core/retention_gaps.ts';
import { isOnWay, type TimelineWay, type WalGap, walTree } from '../../../src/core/wal_ranges.ts';
import {
  carriedOut,
  goneOn,
  type HistoryShape,
  histories,
  live,
  type PolicyShape,
  planOf,
  policies,
  removedLabels,
  removedNames,
  sceneOf,
  segmentBytes,
  type WalHistory,
  without,
} from '../../support/wal_history.ts';

const runs = { numRuns: 500 };
const shapes = fc.tuple(histories, policies);

/** Whether WAL is missing that makes a base backup consistent. */
function isOfBase({ bases }: WalHistory, gap: WalGap): boolean {
  return bases.some(({ manifest }) =>
    manifest?.wal_ranges.some(
      (range) =>
        range.timeline === gap.timeline &&
        segmentNumber(requireLsn(range.start_lsn), segmentBytes) <= gap.last &&
        requireLsn(range.end_lsn) > gap.first * BigInt(segmentBytes),
    ),
  );
}

/** The segments that are missing. */
function namesOf({ timeline, first, last }: WalGap): string[] {
  return Array.from({ length: Number(last - first) + 1 }, (_, place) =>
    segmentName(timeline, first + BigInt(place), segmentBytes),
  );
}

describe('after a prune of any history', () => {
  it('what the prune has removed is told as such, and what is lost as lost', () => {
    let [made, lost] = [0, 0];
    const property = fc.property(shapes, ([shape, policy]) => {
      const history = live(shape);
      const plan = planOf(history, policy);
      const left = carriedOut(history, plan);
      const isOurs = gapsOfRetention(sceneOf(left, policy));
      const present = new Set(history.listing.segments.map(({ name }) => name));
      const since = planOf(left, policy).bases.filter(({ wal }) => wal === 'since');
      for (const way of walTree(left.listing).timelines) {
        for (const gap of way.gaps) {
          const names = namesOf(gap);
          if (names.some((name) => present.has(name)) && !isOfBase(left, gap)) {
            made += 1;
            expect(isOurs(way, gap), `${names[0]} of timeline ${way.timeline}`).toBe(true);
          }
          const isWanted = since.some(({ base: { facts } }) => {
            if (facts === null || !isOnWay(way, facts.timeline, facts.stop)) return false;
            return segmentNumber(facts.start, segmentBytes) <= gap.last;
          });
          if (!isWanted) continue;
          lost += 1;
          expect(isOurs(way, gap)).toBe(false);
        }
      }
    });
    fc.assert(property, runs);
    expect(made).toBeGreaterThan(10);
    expect(lost).toBeGreaterThan(10);
  });

  it('a base backup that lacks WAL of its own has lost it', () => {
    let seen = 0;
    const property = fc.property(shapes, ([shape, policy]) => {
      const history = live(shape);
      const left = carriedOut(history, planOf(history, policy));
      const isOurs = gapsOfRetention(sceneOf(left, policy));
      for (const way of walTree(left.listing).timelines) {
        for (const gap of way.gaps) {
          if (!isOfBase(left, gap)) continue;
          seen += 1;
          expect(isOurs(way, gap)).toBe(false);
        }
      }
    });
    fc.assert(property, runs);
    expect(seen).toBeGreaterThan(0);
  });
});

describe('after a silence that was longer than the window', () => {
  const day = { days: 31, count: 1 };
  const policy = { windowDays: 1, weekly: { days: 7, count: 1 }, monthly: day };
  const good = { kind: 'base', hours: 1, incremental: false, health: 'good' } as const;
  const rest = { goesOn: false, busy: false, torn: false } as const;
  /** A failover, base backups behind it; then the old server is alone again, and falls silent. */
  const shape: HistoryShape = {
    events: [
      { ...good, ...rest, segments: 2, torn: true },
      { kind: 'promote', back: 0, partial: false },
      { ...good, ...rest, segments: 1 },
      { ...good, ...rest, segments: 1 },
      { kind: 'return', to: 0 },
    ],
    lostHistory: 0,
    idleHours: 24,
  };
  const plan = planOf(live(shape), policy);
  const gone = new Set([...removedNames(plan), ...removedLabels(plan)]);

  /** The gaps when it writes again, and what is said of each. */
  function gapsOf(history: WalHistory) {
    const scene = sceneOf(history, policy);
    const [isOurs, wasOurs] = [gapsOfRetention(scene), gapsOfSilence(scene, history.times)];
    return walTree(history.listing).timelines.flatMap((way) =>
      way.gaps.map((gap) => {
        const name = segmentName(gap.timeline, gap.first, segmentBytes);
        return { name, isOurs: isOurs(way, gap), wasOurs: wasOurs(way, gap) };
      }),
    );
  }

  it('what a prune has rightly removed meanwhile is no loss when the server writes again', () => {
    const gaps = gapsOf(without(goneOn(shape, 2), gone)).filter(({ name }) => gone.has(name));
    expect(gaps.some(({ isOurs }) => !isOurs)).toBe(true);
    expect(gaps.filter((gap) => !gap.isOurs && !gap.wasOurs)).toEqual([]);
  });

  /** Any history with nothing lost, and then a silence that is longer than the window. */
  const silent = fc.tuple(histories, policies, fc.integer({ min: 2, max: 5 }));
  function fallSilent(shape: HistoryShape, { windowDays }: PolicyShape): HistoryShape {
    const events = shape.events.flatMap((each): HistoryShape['events'] => {
      if (each.kind === 'return') return [];
      if (each.kind === 'wal') return [{ ...each, lost: false }];
      return [each.kind === 'base' ? { ...each, torn: false } : each];
    });
    return { ...shape, events, idleHours: shape.idleHours + windowDays * 24 + 1 };
  }

  /** Whether recoveries from the youngest base backup lead to where the server was last. */
  function isLedTo({ bases, listing }: WalHistory): boolean {
    const ways = walTree(listing).timelines;
    const last = ways.find(({ timeline }) => ways.every((way) => way.timeline <= timeline));
    const youngest = bases.at(-1)?.manifest;
    if (last === undefined || youngest == null) return false;
    return isOnWay(last, youngest.stop_timeline, requireLsn(youngest.stop_lsn));
  }

  const saysOurs = (history: WalHistory, rules: PolicyShape) => {
    const scene = sceneOf(history, rules);
    const [isOurs, wasOurs] = [gapsOfRetention(scene), gapsOfSilence(scene, history.times)];
    return (way: TimelineWay, gap: WalGap) => isOurs(way, gap) || wasOurs(way, gap);
  };

  function leftBy(shape: HistoryShape, rules: PolicyShape): Set<string> {
    const removed = planOf(live(shape), rules);
    return new Set([...removedNames(removed), ...removedLabels(removed)]);
  }

  it('of any history what a prune has removed is no loss, after a failover either', () => {
    let seen = 0;
    const property = fc.property(silent, ([any, rules, segments]) => {
      const quiet = fallSilent(any, rules);
      if (!isLedTo(live(quiet))) return;
      const removed = leftBy(quiet, rules);
      const later = without(goneOn(quiet, segments), removed);
      const isOurs = saysOurs(later, rules);
      for (const way of walTree(later.listing).timelines) {
        for (const gap of way.gaps) {
          const names = namesOf(gap);
          if (!names.every((name) => removed.has(name)) || isOfBase(later, gap)) continue;
          seen += 1;
          expect(isOurs(way, gap), `${names[0]} on the way to ${way.timeline}`).toBe(true);
        }
      }
    });
    // Of a failover to the middle of a segment that a base backup ends in.
    const wal = { kind: 'wal', hours: 1, lost: false } as const;
    const base = { ...good, ...rest, segments: 1 };
    const failover: HistoryShape = {
      events: [base, wal, base, { kind: 'promote', back: 1, partial: false }],
      lostHistory: 0,
      idleHours: 0,
    };
    fc.assert(property, { ...runs, examples: [[[failover, policy, 2]]] });
    expect(seen).toBeGreaterThan(100);
  });

  it('of any history what is lost since is lost', () => {
    let seen = 0;
    const property = fc.property(silent, fc.nat(5), ([any, rules, segments], pick) => {
      const quiet = fallSilent(any, rules);
      const old = new Set(live(quiet).listing.segments.map(({ name }) => name));
      const all = without(goneOn(quiet, segments), leftBy(quiet, rules));
      const fresh = all.listing.segments.filter(({ name }) => !old.has(name));
      // Behind the last one nothing shows that it is missing.
      const lost = fresh[pick % Math.max(1, fresh.length - 1)]?.name ?? '';
      const later = without(all, new Set([lost]));
      const isOurs = saysOurs(later, rules);
      for (const way of walTree(later.listing).timelines) {
        for (const gap of way.gaps.filter((each) => namesOf(each).includes(lost))) {
          seen += 1;
          expect(isOurs(way, gap), `${lost} on the way to ${way.timeline}`).toBe(false);
        }
      }
    });
    fc.assert(property, runs);
    expect(seen).toBeGreaterThan(100);
  });

  it('what is lost since is lost', () => {
    const later = goneOn(shape, 3);
    const last = later.listing.segments.filter(({ timeline }) => timeline === 1).at(-2)?.name ?? '';
    const gaps = gapsOf(without(later, new Set([...gone, last])));
    expect(gaps).toContainEqual({ name: last, isOurs: false, wasOurs: false });
  });
});
