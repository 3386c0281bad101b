import { describe, expect, it } from 'vitest';
import { parseLabel } from '../../../src/core/label.ts';
import { missingCopies } from '../../../src/core/missing_copies.ts';
import type { RetentionBackup } from '../../../src/core/retention.ts';

const now = new Date('2026-11-21T12:00:00Z');
const rule = { days: 3, count: 2 };
const policy = { daily: rule, weekly: rule, monthly: rule, manual: rule };

function backup(day: number, health: RetentionBackup['health'] = 'good'): RetentionBackup {
  const label = `202611${String(day).padStart(2, '0')}T020000Z-daily-aaaa`;
  const startedAt = parseLabel(label)?.startedAt ?? now;
  return { label, tier: 'daily', startedAt, health };
}

function missing(days: readonly RetentionBackup[], held: readonly number[]): number[] {
  const labels = new Set(held.map((day) => backup(day).label));
  return missingCopies(days, labels, policy, now).map((label) => Number(label.slice(6, 8)));
}

describe('the copies that a store should have', () => {
  it('are those that its retention keeps, younger than the first that it has', () => {
    const all = [10, 17, 18, 19, 20, 21].map((day) => backup(day));
    expect(missing(all, [18, 20])).toEqual([19, 21]);
    // Its oldest one is outside of its own retention: what that would let go is not missed.
    expect(missing(all, [10])).toEqual([18, 19, 20, 21].filter((day) => day > 18));
    expect(missing(all, [18, 19, 20, 21])).toEqual([]);
  });

  it('are the youngest alone in a store that has none, and never a damaged one', () => {
    expect(missing([backup(20), backup(21)], [])).toEqual([21]);
    expect(missing([backup(20), backup(21, 'damaged')], [])).toEqual([20]);
    expect(missing([], [])).toEqual([]);
  });
});
