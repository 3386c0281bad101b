import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  daysUntilFull,
  horizonDays,
  type SpaceSeries,
  trendOf,
} from '../../../src/core/space_forecast.ts';

const dayMs = 86_400_000;
const now = new Date('2026-11-21T12:00:00Z');

/** One backup a day until ten hours ago, of sizes that a function of the day tells. */
function daily(days: number, bytesOf: (day: number) => number): SpaceSeries {
  const stored = Array.from({ length: days }, (_, index) => {
    const at = new Date(now.getTime() - (days - 1 - index) * dayMs - 10 * 3_600_000);
    return { at, bytes: bytesOf(index) };
  });
  return { stored, keepDays: 7, keepCount: 7, everyDays: 1 };
}

const size = fc.integer({ min: 1, max: 1e12 });

describe('the trend of sizes', () => {
  it('is a line through them, whatever a few odd ones say', () => {
    const odd = daily(20, (day) => (day === 5 || day === 19 ? 9e9 : 1000 + 10 * day));
    const trend = trendOf(odd.stored);
    expect(trend.bytesPerMs * dayMs).toBeCloseTo(10, 6);
    expect(trend.bytes).toBeCloseTo(1190, 6);
  });

  it('is level where there is too little to tell', () => {
    expect(trendOf(daily(3, (day) => 100 * day).stored).bytesPerMs).toBe(0);
    expect(trendOf([])).toEqual({ atMs: 0, bytes: 0, bytesPerMs: 0 });
  });
});

describe('the day on which a disk is full', () => {
  it('never comes when retention removes as much as comes', () => {
    fc.assert(
      fc.property(size, fc.integer({ min: 8, max: 40 }), (bytes, days) => {
        expect(daysUntilFull([daily(days, () => bytes)], bytes, now)).toBeNull();
      }),
    );
  });

  it('is the next one when one more does not fit beside the others', () => {
    fc.assert(
      fc.property(size, fc.integer({ min: 8, max: 40 }), (bytes, days) => {
        expect(daysUntilFull([daily(days, () => bytes)], bytes - 1, now)).toBe(0);
      }),
    );
  });

  it('comes before the first backups are old enough to go', () => {
    // One is there: until the seventh younger one is written nothing is removed.
    expect(daysUntilFull([daily(1, () => 100)], 699, now)).toBe(6);
    expect(daysUntilFull([daily(1, () => 100)], 700, now)).toBeNull();
    expect(daysUntilFull([daily(1, () => 100)], 299, now)).toBe(2);
  });

  it('comes when the backups grow, although as many are removed', () => {
    const { stored, ...rest } = daily(30, (day) => 1000 + 10 * day);
    const growing = { ...rest, stored: stored.slice(-7) };
    // Each day one that is 70 larger than the one that goes, and 10 more have to fit beside it.
    const days = daysUntilFull([growing], 1300 + 80 * 20, now);
    expect(days).toBeGreaterThanOrEqual(20);
    expect(days).toBeLessThanOrEqual(21);
  });

  it('never comes when they shrink', () => {
    expect(daysUntilFull([daily(30, (day) => 1e6 - 1000 * day)], 1e6, now)).toBeNull();
  });

  it('does not come by what has ended, or by what nobody knows to come again', () => {
    const ended = daily(10, () => 1e9);
    const long = new Date(now.getTime() + 5 * dayMs);
    expect(daysUntilFull([ended], 1, long)).toBeNull();
    const manual = { ...daily(1, () => 1e9), everyDays: null };
    expect(daysUntilFull([manual], 1, now)).toBeNull();
    expect(daysUntilFull([{ ...manual, stored: [] }], 1, now)).toBeNull();
    expect(daysUntilFull([], 0, now)).toBeNull();
  });

  it('comes no earlier with more room, and no later with more backups', () => {
    const history = fc.array(size, { minLength: 1, maxLength: 40 });
    const orNever = (days: number | null) => days ?? horizonDays;
    fc.assert(
      fc.property(history, size, size, size, (sizes, other, free, more) => {
        const of = (list: number[]) => daily(list.length, (day) => list[day] ?? 0);
        const days = orNever(daysUntilFull([of(sizes)], free, now));
        expect(orNever(daysUntilFull([of(sizes)], free + more, now))).toBeGreaterThanOrEqual(days);
        // Of the second one nothing goes for a week.
        const both = orNever(daysUntilFull([of(sizes), of([other])], free, now));
        expect(Math.min(both, 6)).toBeLessThanOrEqual(Math.min(days, 6));
      }),
      { numRuns: 50 },
    );
  });

  it('goes on as often as it did, and ends what comes without end', () => {
    const minutes: SpaceSeries = {
      stored: Array.from({ length: 60 }, (_, index) => {
        return { at: new Date(now.getTime() - (60 - index) * 60_000), bytes: 10 };
      }),
      keepDays: 1,
      keepCount: 1,
      everyDays: null,
    };
    expect(
      daysUntilFull(
        Array.from({ length: 20 }, () => minutes),
        1e6,
        now,
      ),
    ).toBeNull();
  });
});
