import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkClock,
  checkDates,
  fileSkewSeconds,
  sureSkewSeconds,
} from '../../../src/core/health_clock.ts';

const now = new Date('2026-11-21T12:00:00Z');
const at = (seconds: number) => new Date(now.getTime() + seconds * 1000);
const about = { check: 'clock', subject: 'db:5432', cluster: null, database: null } as const;

describe('another clock', () => {
  it.each([
    [0, 'ok'],
    [60, 'ok'],
    [-60, 'ok'],
    [60.1, 'warning'],
    [-900, 'warning'],
    [900.1, 'critical'],
  ])('is %f s ahead: %s', (ahead, level) => {
    expect(checkClock(about, ahead, 60)).toMatchObject({ level, values: { skew_seconds: ahead } });
  });

  it('is ahead or behind, in words', () => {
    expect(checkClock(about, 120, 60).message).toBe(
      "its clock is 2 min 0 s ahead of this machine's",
    );
    expect(checkClock(about, -120, 60).message).toContain('behind');
    // A larger limit is not passed by what buckets refuse.
    expect(checkClock(about, 3600, 7200).level).toBe('ok');
    expect(checkClock(about, 7201, 7200).level).toBe('critical');
  });

  it('is off only as far as the time of the answer leaves no doubt', () => {
    const skew = (other: number) =>
      sureSkewSeconds({ asked: at(0), answered: at(10), other: at(other) });
    expect([skew(0), skew(10), skew(12), skew(-3)]).toEqual([0, 0, 2, -3]);
    fc.assert(
      fc.property(fc.nat(60), fc.nat(60), fc.integer({ min: -900, max: 900 }), (go, back, off) => {
        const answered = at(go + back);
        const found = sureSkewSeconds({ asked: at(0), answered, other: at(go + off) });
        expect(Math.abs(found)).toBeLessThanOrEqual(Math.abs(off));
        expect(found * off).toBeGreaterThanOrEqual(0);
      }),
    );
  });

  it('of a file server is told by a file that was written there', () => {
    const skew = (modified: number) =>
      fileSkewSeconds({ finishedAt: at(-100), modifiedAt: at(modified) }, now);
    expect([skew(-100), skew(-50), skew(0), skew(90), skew(-400)]).toEqual([0, 0, 0, 90, -300]);
  });
});

describe('the dates of backups', () => {
  it('lie in the past, or a little ahead', () => {
    const backups = [{ label: 'a', startedAt: at(300) }];
    expect(checkDates(about, backups, now).level).toBe('ok');
    expect(checkDates(about, [], now).level).toBe('ok');
  });

  it('lie in the future: a warning that names the first', () => {
    const backups = [
      { label: 'a', startedAt: at(301) },
      { label: 'b', startedAt: at(900) },
    ];
    const finding = checkDates(about, backups, now);
    expect(finding).toMatchObject({ level: 'warning', values: { backups: 2 } });
    expect(finding.message).toBe('a and 1 more are dated in the future');
  });
});
