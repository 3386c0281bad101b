import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireLsn, segmentName, segmentNumber } from '../../../src/core/lsn.ts';
import { gapsOfRetention } from '../../../src/core/retention_gaps.ts';
import { isOnWay, walTree } from '../../../src/core/wal_ranges.ts';
import {
  carriedOut,
  histories,
  live,
  planOf,
  policies,
  sceneOf,
  segmentBytes,
} from '../../support/wal_history.ts';

const runs = { numRuns: 1000 };
const shapes = fc.tuple(histories, policies);

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
          if (names.some((name) => present.has(name))) {
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
    expect(made).toBeGreaterThan(50);
    expect(lost).toBeGreaterThan(50);
  });

  it('a base backup that lacks WAL of its own has lost it', () => {
    let seen = 0;
    const property = fc.property(shapes, ([shape, policy]) => {
      const history = live(shape);
      const left = carriedOut(history, planOf(history, policy));
      const isOurs = gapsOfRetention(sceneOf(left, policy));
      for (const way of walTree(left.listing).timelines) {
        for (const gap of way.gaps) {
          const isOwn = left.bases.some(({ manifest, check }) => {
            if (manifest === null || check !== null) return false;
            return manifest.wal_ranges.some(
              (range) =>
                range.timeline === gap.timeline &&
                segmentNumber(requireLsn(range.start_lsn), segmentBytes) <= gap.last &&
                requireLsn(range.end_lsn) > gap.first * BigInt(segmentBytes),
            );
          });
          if (!isOwn) continue;
          seen += 1;
          expect(isOurs(way, gap)).toBe(false);
        }
      }
    });
    fc.assert(property, runs);
    expect(seen).toBeGreaterThan(0);
  });
});
