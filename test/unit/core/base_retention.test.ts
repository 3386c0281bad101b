import { describe, expect, it } from 'vitest';
import { decideBases, incrementalPolicy } from '../../../src/core/base_retention.ts';
import { makeLabel } from '../../../src/core/label.ts';
import { segmentName } from '../../../src/core/lsn.ts';
import type { RetainedBase } from '../../../src/core/retained_base.ts';
import { walTree } from '../../../src/core/wal_ranges.ts';
import { listingOf, segmentBytes } from '../../support/wal_history.ts';

const dayMs = 86_400_000;
/** A Saturday. */
const now = new Date('2026-11-21T12:00:00.000Z');
const settings = {
  retention_days: null,
  retention_daily: 7,
  retention_weekly: 4,
  retention_monthly: 12,
  wal_retention_days: 7,
};

let serial = 0;
/** A base backup of some day, in a segment of its own. */
function base(ageDays: number, more: Partial<RetainedBase> = {}): RetainedBase {
  serial += 1;
  const startedAt = new Date(now.getTime() - ageDays * dayMs);
  const random = Uint8Array.from([serial % 36, Math.floor(serial / 36) % 36, 0, 0]);
  const start = BigInt(Math.round(1000 - ageDays)) * BigInt(segmentBytes);
  const facts = {
    parent: null,
    systemIdentifier: '1',
    timeline: 1,
    start,
    stop: start + 0x200n,
    finishedAt: startedAt,
    walRanges: [{ timeline: 1, start, end: start + 0x200n }],
  };
  const label = makeLabel(startedAt, 'base', random);
  return { label, startedAt, health: 'good', facts, promise: null, ...more };
}

const nameOf = (timeline: number, number: bigint) => segmentName(timeline, number, segmentBytes);

/** What becomes of them where the archive has WAL up to now. */
function decide(bases: readonly RetainedBase[], policy = incrementalPolicy(settings)) {
  const numbers = Array.from({ length: 600 }, (_, place) => BigInt(1000 - place));
  const names = numbers.map((number) => nameOf(1, number));
  const times = new Map(
    numbers.map((number, place) => [nameOf(1, number), new Date(now.getTime() - place * dayMs)]),
  );
  const tree = walTree(listingOf(names.toReversed(), new Map()));
  const ends = [{ timeline: 1, files: names.slice(0, 1) }];
  return decideBases(bases, { tree, times, policy, now, ends, nameOf, streaming: new Set() });
}

const told = (bases: readonly RetainedBase[]) =>
  decide(bases).map(({ action, reason, wal }) => `${action} ${wal}: ${reason}`);

describe('the policy', () => {
  it('comes from the settings, and RETENTION_DAYS is the least of all', () => {
    expect(incrementalPolicy(settings)).toEqual({
      windowDays: 7,
      weekly: { days: 28, count: 4 },
      monthly: { days: 372, count: 12 },
    });
    expect(incrementalPolicy({ ...settings, retention_days: 60 })).toMatchObject({
      windowDays: 60,
      weekly: { days: 60 },
      monthly: { days: 372 },
    });
  });
});

describe('of base backups', () => {
  it('the window keeps those in it and the last one before it, and tiers the firsts', () => {
    // Of Mondays and Thursdays, from the first half of October on.
    const ages = [40, 37, 33, 30, 26, 23, 19, 16, 12, 9, 5, 2];
    expect(told(ages.map((age) => base(age)))).toEqual([
      'keep own: monthly: kept for 372 days',
      ...Array.from({ length: 3 }, (_, place) => {
        const old = [37, 33, 30][place];
        return `remove none: ${old} days old, and neither the window of 7 days nor a tier needs it`;
      }),
      'keep own: weekly: kept for 28 days',
      'remove none: 23 days old, and neither the window of 7 days nor a tier needs it',
      // The first of November, and of its week.
      'keep own: weekly: kept for 28 days',
      'remove none: 16 days old, and neither the window of 7 days nor a tier needs it',
      'keep own: weekly: kept for 28 days',
      'keep since: the recovery window of timeline 1 begins behind it',
      'keep since: 5 days old, kept for 7 days',
      'keep since: the youngest good base backup of the cluster',
    ]);
  });

  it('so many of a tier stay although no new ones come', () => {
    const all = Array.from({ length: 60 }, (_, place) => base(500 + place * 7));
    const kept = decide(all).filter(({ action }) => action === 'keep');
    const ofTier = (tier: string) => kept.filter(({ reason }) => reason.startsWith(tier));
    // The youngest is the first of its week too; some weeks have the first of their month.
    expect(ofTier('weekly')).toHaveLength(3);
    expect(ofTier('monthly').length).toBeGreaterThanOrEqual(10);
    expect(kept.at(-1)?.reason).toBe('the youngest good base backup of the cluster');
  });

  it('a damaged one goes when it is old and a younger good one stays, and not before', () => {
    const damaged = base(30, { health: 'damaged' });
    expect(told([base(40), damaged])).toEqual([
      'keep since: the youngest good base backup of the cluster',
      'keep since: damaged, but no younger good base backup stays',
    ]);
    expect(told([damaged, base(10)])[0]).toBe(
      'remove none: damaged, 30 days old, and a younger good one stays',
    );
  });

  it("one with damaged pages takes no good one's place", () => {
    const good = base(20);
    const odd = base(9, { health: 'usable' });
    const reasons = told([base(40), base(39), good, odd]);
    expect(reasons.slice(2)).toEqual([
      'keep since: the youngest good base backup of the cluster',
      'keep since: the youngest usable base backup of the cluster',
    ]);
  });

  it('what nobody can read keeps the last one before it', () => {
    const unknown = base(30, {
      facts: null,
      health: 'damaged',
      promise: 'nobody knows what it is',
    });
    const before = base(31);
    const reasons = told([base(33), before, unknown, base(9), base(1)]);
    expect(reasons[1]).toBe(`keep since: ${unknown.label} may need what is behind it`);
    expect(reasons[2]).toBe('keep none: nobody knows what it is');
  });

  it('a promise keeps one with all WAL since, and one dated in the future counts for nothing', () => {
    const promised = base(100, { promise: 'in use' });
    const reasons = told([promised, base(9), base(-30)]);
    expect(reasons).toEqual([
      'keep since: in use',
      'keep since: the youngest good base backup of the cluster',
      'keep since: dated in the future',
    ]);
  });

  it("another server's are looked at for themselves", () => {
    const other = base(90);
    const { facts } = other;
    if (facts === null) throw new Error('it has facts');
    const foreign = { ...other, facts: { ...facts, systemIdentifier: '2' } };
    expect(told([foreign, base(1)])[0]).toBe(
      'keep since: the youngest good base backup of the cluster',
    );
  });
});
