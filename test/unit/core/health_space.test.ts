import { describe, expect, it } from 'vitest';
import { checkSpaceOf, type SpaceFacts, usedPercent } from '../../../src/core/health_space.ts';

const about = { check: 'space', subject: 'local', cluster: null, database: null } as const;
const limits = { maxPercent: 90, keepFreeBytes: 10e9, minDays: 14 };
const disk = (free: number, total = 1000e9) => {
  return { freeBytes: free, usedBytes: total - free, totalBytes: total };
};
const good: SpaceFacts = { disk: disk(500e9), nextBytes: [1e9, 2e9], daysUntilFull: null };
const level = (facts: Partial<SpaceFacts>) =>
  checkSpaceOf(about, { ...good, ...facts }, limits).level;

describe('a file system', () => {
  it('has room, and for ever', () => {
    const finding = checkSpaceOf(about, good, limits);
    expect(finding).toMatchObject({ level: 'ok', mend: null });
    expect(finding.values).toEqual({ free_bytes: 500e9, total_bytes: 1000e9, used_percent: 50 });
  });

  it.each([
    [100e9, 'ok'],
    [99e9, 'warning'],
    [50e9, 'warning'],
    [49e9, 'critical'],
  ])('of 1 TB has %i bytes free: %s', (free, expected) => {
    expect(level({ disk: disk(free) })).toBe(expected);
  });

  it.each([
    [10e9, 'ok'],
    [10e9 - 1, 'warning'],
    [5e9, 'warning'],
    [5e9 - 1, 'critical'],
  ])('of 20 GB has %i bytes free: %s', (free, expected) => {
    expect(level({ disk: disk(free, 20e9) })).toBe(expected);
  });

  it('takes the next backup, or not', () => {
    const small = { ...limits, keepFreeBytes: 0 };
    const next = (nextBytes: number[]) =>
      checkSpaceOf(about, { ...good, disk: disk(5e9, 20e9), nextBytes }, small);
    expect(next([2e9, 3e9])).toMatchObject({ level: 'ok' });
    expect(next([2e9, 3e9 + 1])).toMatchObject({ level: 'warning' });
    const none = next([5e9 + 1]);
    expect(none.level).toBe('critical');
    expect(none.message).toContain('the next backup needs about 5.0 GB');
  });

  it.each([
    [14, 'ok'],
    [13, 'warning'],
    [4, 'warning'],
    [3, 'critical'],
  ])('is full in %i days: %s', (days, expected) => {
    const finding = checkSpaceOf(about, { ...good, daysUntilFull: days }, limits);
    expect(finding).toMatchObject({ level: expected, values: { full_in_seconds: days * 86400 } });
  });

  it('of no size at all is full', () => {
    expect(usedPercent({ freeBytes: 0, usedBytes: 0, totalBytes: 0 })).toBe(100);
    expect(level({ disk: disk(0) })).toBe('critical');
  });
});
