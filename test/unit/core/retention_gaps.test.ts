import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireLsn, segmentName, segmentNumber } from '../../../src/core/lsn.ts';
import { gapsOfRetention, gapsOfSilence } from '../../../src/core/retention_gaps.ts';
import { isOnWay, type WalGap, walTree } from '../../../src/core/wal_ranges.ts';
import {
  carriedOut,
  goneOn,
  type HistoryShape,
  histories,
  live,
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
          const numbers = Array.from(
            { length: Number(gap.last - gap.first) + 1 },
            (_, place) => gap.first + BigInt(place),
          );
          const names = numbers.map((number) => segmentName(gap.timeline, number, segmentBytes));
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

  it('what is lost since is lost', () => {
    const later = goneOn(shape, 3);
    const last = later.listing.segments.filter(({ timeline }) => timeline === 1).at(-2)?.name ?? '';
    const gaps = gapsOf(without(later, new Set([...gone, last])));
    expect(gaps).toContainEqual({ name: last, isOurs: false, wasOurs: false });
  });
});
