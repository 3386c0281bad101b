import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { makeLabel, type Tier, tiers } from '../../../src/core/label.ts';
import {
  planRetention,
  type RetentionBackup,
  type RetentionPlan,
  type RetentionPolicy,
  retentionPolicy,
} from '../../../src/core/retention.ts';

const dayMs = 86_400_000;
const now = new Date('2026-11-21T12:00:00.000Z');
const defaults = retentionPolicy({
  retention_days: null,
  retention_daily: 7,
  retention_weekly: 4,
  retention_monthly: 12,
});

let serial = 0;
/** A backup that began so many days before a moment. */
function backup(
  ageDays: number,
  tier: Tier = 'daily',
  health: RetentionBackup['health'] = 'good',
  from = now,
): RetentionBackup {
  serial += 1;
  const startedAt = new Date(Math.floor((from.getTime() - ageDays * dayMs) / 1000) * 1000);
  const random = [serial, serial / 36, serial / 1296, serial / 46_656].map((digit) => digit % 36);
  return { label: makeLabel(startedAt, tier, Uint8Array.from(random)), tier, startedAt, health };
}

const labels = (backups: readonly RetentionBackup[]) => backups.map(({ label }) => label).sort();

function removedOf({ decisions }: RetentionPlan): RetentionBackup[] {
  return decisions.filter(({ action }) => action === 'remove').map((each) => each.backup);
}

function keptOf({ decisions }: RetentionPlan): RetentionBackup[] {
  return decisions.filter(({ action }) => action === 'keep').map((each) => each.backup);
}

const reasons = ({ decisions }: RetentionPlan) =>
  decisions.map(({ action, reason }) => `${action}: ${reason}`);

const nightly = (count: number, from = 0) =>
  Array.from({ length: count }, (_, night) => backup(from + night + 0.5));

describe('the rules of the tiers', () => {
  it('come from the settings: a week is 7 days, a month 31, manual ones stay 30 days', () => {
    expect(defaults).toEqual({
      daily: { days: 7, count: 7 },
      weekly: { days: 28, count: 4 },
      monthly: { days: 372, count: 12 },
      manual: { days: 30, count: 1 },
    });
  });

  it('have RETENTION_DAYS as their floor where it is set', () => {
    const settings = { retention_daily: 3, retention_weekly: 10, retention_monthly: 1 };
    expect(retentionPolicy({ retention_days: 40, ...settings })).toEqual({
      daily: { days: 40, count: 3 },
      weekly: { days: 70, count: 10 },
      monthly: { days: 40, count: 1 },
      manual: { days: 40, count: 1 },
    });
  });
});

describe('a plan', () => {
  it('removes one nightly backup a night, once there are enough younger ones', () => {
    const plan = planRetention(nightly(9), defaults, now);
    expect(reasons(plan)).toEqual([
      'remove: 8 days old, and 7 younger good daily ones stay',
      'remove: 7 days old, and 7 younger good daily ones stay',
      'keep: 6 days old, kept for 7 days',
      'keep: 5 days old, kept for 7 days',
      'keep: 4 days old, kept for 7 days',
      'keep: 3 days old, kept for 7 days',
      'keep: 2 days old, kept for 7 days',
      'keep: 1 day old, kept for 7 days',
      'keep: the youngest good backup of the database',
    ]);
    expect(plan.guards).toEqual([]);
  });

  it('keeps by number what is old when no new ones come', () => {
    const plan = planRetention(nightly(8, 100), defaults, now);
    expect(reasons(plan)[0]).toBe('remove: 107 days old, and 7 younger good daily ones stay');
    expect(reasons(plan)[1]).toBe('keep: one of the last 7 daily');
    expect(removedOf(plan)).toHaveLength(1);
  });

  it('counts each tier for itself: many daily ones do not push a weekly one out', () => {
    const weekly = [200, 207, 214].map((age) => backup(age, 'weekly'));
    const kept = keptOf(planRetention([...nightly(7), ...weekly], defaults, now));
    expect(labels(kept)).toEqual(expect.arrayContaining(labels(weekly)));
  });

  it('keeps a backup of exactly so many days, and lets it go a second later', () => {
    const young = nightly(7);
    const edge = backup(7);
    expect(removedOf(planRetention([...young, edge], defaults, now))).toEqual([]);
    const later = new Date(now.getTime() + 1000);
    expect(removedOf(planRetention([...young, edge], defaults, later))).toEqual([edge]);
  });

  it('does not count a damaged one, and lets it go only for a younger good one', () => {
    const damaged = backup(20, 'daily', 'damaged');
    const all = [damaged, ...nightly(6, 30), backup(90)];
    expect(reasons(planRetention(all, defaults, now)).at(-1)).toBe(
      'keep: damaged, but no younger good backup of the database stays',
    );
    expect(removedOf(planRetention(all, defaults, now))).toEqual([]);
    const withGood = planRetention([...all, backup(1, 'manual')], defaults, now);
    expect(removedOf(withGood)).toEqual([damaged]);
    expect(reasons(withGood)).toContain(
      'remove: damaged, 20 days old, and a younger good backup stays',
    );
  });

  it('does not count one that was never read back, which goes by the same rule', () => {
    const unread = Array.from({ length: 9 }, (_, night) => backup(night, 'daily', 'unread'));
    const old = nightly(8, 20);
    const plan = planRetention([...unread, ...old], defaults, now);
    expect(removedOf(plan)).toEqual([old.at(-1)]);
    expect(reasons(plan)).toContain('keep: the youngest good backup of the database');
    expect(reasons(planRetention(unread, defaults, now))[0]).toBe(
      'keep: never read back, and no younger good backup of the database stays',
    );
    const later = planRetention([backup(60, 'daily', 'unread'), ...nightly(7)], defaults, now);
    expect(reasons(later)[0]).toBe('remove: 60 days old, and 7 younger good daily ones stay');
  });

  it('keeps all that is left of a database when everything of it is damaged', () => {
    const all = [100, 200, 300].map((age) => backup(age, 'daily', 'damaged'));
    expect(removedOf(planRetention(all, defaults, now))).toEqual([]);
  });

  it('keeps what is promised and says why, and it counts as a good one', () => {
    const [oldest, ...others] = [...nightly(9)].reverse();
    const promised = new Map([[oldest?.label ?? '', 'an increment needs it']]);
    const plan = planRetention([...others, ...(oldest ? [oldest] : [])], defaults, now, promised);
    expect(reasons(plan)[0]).toBe('keep: an increment needs it');
    expect(removedOf(plan)).toHaveLength(1);
  });
});

describe('a guard stops', () => {
  it('a plan that would remove more than half, but not a small one', () => {
    const many = planRetention(nightly(60), defaults, now);
    expect(many.guards).toEqual(['53 of 60 backups would go: more than half']);
    const few = [1, 40, 50, 60].map((age) => backup(age, 'manual'));
    const plan = planRetention(few, defaults, now);
    expect(removedOf(plan)).toHaveLength(3);
    expect(plan.guards).toEqual([]);
    const half = [...few, backup(70, 'manual'), ...nightly(3)];
    expect(planRetention(half, defaults, now)).toMatchObject({ guards: [] });
    expect(planRetention([...half, backup(80, 'manual')], defaults, now).guards).toEqual([
      '5 of 9 backups would go: more than half',
    ]);
  });

  it('where a backup is dated in the future, which itself stays and does not count', () => {
    const ahead = [backup(-300), backup(-301)];
    const plan = planRetention([...nightly(8), ...ahead], defaults, now);
    expect(removedOf(plan)).toHaveLength(1);
    expect(plan.guards).toEqual([
      `${labels(ahead)[0]} and 1 more are dated in the future (now: 2026-11-21T12:00:00.000Z): ` +
        'a clock is or was wrong',
    ]);
    expect(reasons(plan).slice(-2)).toEqual(Array(2).fill('keep: dated in the future'));
    expect(removedOf(planRetention([...nightly(7), ...ahead], defaults, now))).toEqual([]);
    const justAhead = planRetention([...nightly(8), backup(-0.01)], defaults, now);
    expect(justAhead.guards).toEqual([]);
  });

  it('nothing where nothing would be removed', () => {
    expect(planRetention([backup(-300), backup(3)], defaults, now).guards).toEqual([]);
    expect(planRetention([], defaults, now)).toEqual({ decisions: [], guards: [] });
  });
});

const tierRule = fc.record({
  days: fc.integer({ min: 1, max: 60 }),
  count: fc.integer({ min: 1, max: 8 }),
});
const policies: fc.Arbitrary<RetentionPolicy> = fc.record({
  daily: tierRule,
  weekly: tierRule,
  monthly: tierRule,
  manual: tierRule,
});
const backups = fc
  .array(
    fc.record({
      // Some lie in the future of now, and some at the same moment.
      ageHours: fc.oneof(
        fc.integer({ min: -400, max: 2400 }),
        fc.integer({ min: 0, max: 90 }).map((days) => days * 24),
      ),
      tier: fc.constantFrom(...tiers),
      health: fc.constantFrom<RetentionBackup['health'][]>('good', 'good', 'unread', 'damaged'),
    }),
    { maxLength: 40 },
  )
  .map((all) => all.map(({ ageHours, tier, health }) => backup(ageHours / 24, tier, health)));
const histories = fc.record({
  backups,
  policy: policies,
  promised: fc.func(fc.integer({ min: 0, max: 9 })),
  rotation: fc.integer({ min: 0, max: 40 }),
});
const runs = { numRuns: 2000 };

/** Some of the backups, by their labels. */
function promisesOf(all: readonly RetentionBackup[], chosen: (label: string) => number) {
  return new Map(
    all.filter(({ label }) => chosen(label) === 0).map(({ label }) => [label, 'promised']),
  );
}

describe('for any history and any policy', () => {
  it('nothing promised is removed', () => {
    let removals = 0;
    const property = fc.property(histories, ({ backups: all, policy, promised }) => {
      const promises = promisesOf(all, promised);
      const plan = planRetention(all, policy, now, promises);
      const kept = keptOf(plan);
      const keptGood = kept.filter(({ health }) => health === 'good');
      expect(labels(plan.decisions.map((each) => each.backup))).toEqual(labels(all));
      const youngestGood = all
        .filter(({ health, startedAt }) => health === 'good' && startedAt <= now)
        .toSorted((a, b) => (a.label < b.label ? -1 : 1))
        .at(-1);
      if (youngestGood !== undefined) expect(keptGood).toContain(youngestGood);
      for (const gone of removedOf(plan)) {
        removals += 1;
        const { days, count } = policy[gone.tier];
        expect(promises.has(gone.label)).toBe(false);
        expect(now.getTime() - gone.startedAt.getTime()).toBeGreaterThan(days * dayMs);
        const younger = keptGood.filter(
          ({ label, startedAt }) =>
            label > gone.label && startedAt.getTime() <= now.getTime() + 3_600_000,
        );
        expect(younger.length).toBeGreaterThan(0);
        if (gone.health === 'damaged') continue;
        const inTier = younger.filter(({ tier }) => tier === gone.tier);
        expect(inTier.length).toBeGreaterThanOrEqual(count);
      }
      if (all.length > 0) expect(kept.length).toBeGreaterThan(0);
    });
    fc.assert(property, runs);
    expect(removals).toBeGreaterThan(1000);
  });

  it('a second run removes nothing more', () => {
    const property = fc.property(histories, ({ backups: all, policy, promised }) => {
      const promises = promisesOf(all, promised);
      const kept = keptOf(planRetention(all, policy, now, promises));
      const again = planRetention(kept, policy, now, promises);
      expect(removedOf(again)).toEqual([]);
      expect(again.guards).toEqual([]);
    });
    fc.assert(property, runs);
  });

  it('a plan that was carried out by half leads to the same end', () => {
    const property = fc.property(histories, fc.nat(), ({ backups: all, policy }, seed) => {
      const plan = planRetention(all, policy, now);
      const gone = new Set(removedOf(plan).filter((_, index) => (seed >> (index % 31)) % 2 === 0));
      const rest = all.filter((each) => !gone.has(each));
      const end = keptOf(planRetention(rest, policy, now));
      expect(labels(end)).toEqual(labels(keptOf(plan)));
    });
    fc.assert(property, runs);
  });

  it('the order of the backups does not matter', () => {
    const property = fc.property(histories, ({ backups: all, policy, rotation }) => {
      const turned = [...all.slice(rotation), ...all.slice(0, rotation)].reverse();
      expect(planRetention(turned, policy, now)).toEqual(planRetention(all, policy, now));
    });
    fc.assert(property, runs);
  });

  it('no younger one goes while an older one of its tier that nobody needs stays', () => {
    const property = fc.property(histories, ({ backups: all, policy, promised }) => {
      const promises = promisesOf(all, promised);
      const plan = planRetention(all, policy, now, promises);
      for (const gone of removedOf(plan)) {
        const older = keptOf(plan).filter(
          ({ tier, health, label }) =>
            tier === gone.tier && health === gone.health && label < gone.label,
        );
        for (const { label } of older) expect(promises.has(label)).toBe(true);
      }
    });
    fc.assert(property, runs);
  });

  it('a longer policy never removes more', () => {
    const property = fc.property(histories, policies, ({ backups: all, policy }, more) => {
      const longer = Object.fromEntries(
        tiers.map((tier) => [
          tier,
          {
            days: policy[tier].days + more[tier].days,
            count: policy[tier].count + more[tier].count,
          },
        ]),
      ) as RetentionPolicy;
      const kept = labels(keptOf(planRetention(all, longer, now)));
      expect(kept).toEqual(expect.arrayContaining(labels(keptOf(planRetention(all, policy, now)))));
    });
    fc.assert(property, runs);
  });
});

/** The life of a repository: a backup, then retention, day after day, with a clock that jumps. */
const lives = fc.record({
  days: fc.integer({ min: 5, max: 60 }),
  jumpAt: fc.integer({ min: 1, max: 50 }),
  /** So long the clock is wrong. */
  wrongDays: fc.integer({ min: 1, max: 20 }),
  jumpDays: fc.constantFrom(365, -365, 366, -366, 3650, -3650),
  tiersOf: fc.func(fc.constantFrom(...tiers)),
  damagedOf: fc.func(fc.integer({ min: 0, max: 9 })),
  policy: policies,
});

describe('a clock that jumps a year and comes back', () => {
  it('never takes the good backups of a tier without a word from the operator', () => {
    const property = fc.property(lives, (life) => {
      const { days, jumpAt, wrongDays, jumpDays, policy } = life;
      let stored: RetentionBackup[] = [];
      for (let day = 0; day < days; day += 1) {
        const wrong = day >= jumpAt && day < jumpAt + wrongDays;
        const clock = new Date(now.getTime() + (day + (wrong ? jumpDays : 0)) * dayMs);
        const health = life.damagedOf(day) === 0 ? 'damaged' : 'good';
        stored.push(backup(0, life.tiersOf(day), health, clock));
        const plan = planRetention(stored, policy, clock);
        if (plan.guards.length > 0) continue;
        const before = stored;
        stored = keptOf(plan);
        for (const tier of tiers) {
          const good = (all: readonly RetentionBackup[]) =>
            all.filter((each) => each.tier === tier && each.health === 'good').length;
          expect(good(stored)).toBeGreaterThanOrEqual(Math.min(good(before), policy[tier].count));
        }
        expect(before.length - stored.length).toBeLessThanOrEqual(Math.max(3, before.length / 2));
      }
    });
    fc.assert(property, runs);
  });
});
