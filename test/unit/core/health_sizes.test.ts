import { describe, expect, it } from 'vitest';
import type { WatchedBackup, WatchedDatabase } from '../../../src/core/health_backups.ts';
import { backupCount, backupSize } from '../../../src/core/health_sizes.ts';
import type { Tier } from '../../../src/core/label.ts';
import { retentionPolicy } from '../../../src/core/retention.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const now = new Date('2026-11-21T12:00:00.000Z');
const policy = retentionPolicy({
  retention_days: null,
  retention_daily: 7,
  retention_weekly: 4,
  retention_monthly: 12,
});

function backup(ageMs: number, parts: Partial<WatchedBackup> = {}): WatchedBackup {
  const startedAt = new Date(now.getTime() - ageMs);
  return {
    label: startedAt.toISOString(),
    tier: 'daily',
    startedAt,
    finishedAt: startedAt,
    isGood: true,
    isSafety: false,
    isUnread: false,
    storedBytes: 100,
    dumpBytes: 1000,
    dumpKind: 'plain',
    warnings: [],
    ...parts,
  };
}

/** @param backups youngest first */
function database(backups: readonly WatchedBackup[]): WatchedDatabase {
  const sorted = backups.toReversed();
  return { cluster: 'm', database: 'd', backups: sorted, failure: null, notWatched: null };
}

const sizes = (...bytes: number[]) =>
  database(bytes.map((dumpBytes, day) => backup(day * dayMs, { dumpBytes })));

describe('the size of the last backup', () => {
  it.each([
    [1500, 'ok'],
    [1501, 'warning'],
    [500, 'ok'],
    [499, 'warning'],
  ] as const)('of %d bytes, where 1000 are usual, is %s', (bytes, level) => {
    const [finding] = backupSize(sizes(bytes, 1000, 1000, 1000), now);
    expect(finding?.level).toBe(level);
    if (level === 'ok') return;
    expect(finding?.expected).toBe('about 1.0 kB, as usual');
    expect(finding?.since).toBe(now.toISOString());
    expect(finding?.values).toMatchObject({ stored_bytes: 100, usual_bytes: 1000 });
  });

  it('says nothing bad without a history, nor where none is good', () => {
    expect(backupSize(sizes(1, 1000, 1000), now)[0]).toMatchObject({
      level: 'ok',
      message: 'the last dump has 1 B, with 2 dumps to compare it with',
    });
    expect(backupSize(database([backup(0, { isGood: false })]), now)).toEqual([]);
  });

  it('compares only what was counted in the same way, and tells what the backup warned of', () => {
    const stored = { dumpKind: 'zstd-3', dumpBytes: 100, warnings: ['a table\nis empty'] };
    const [finding] = backupSize(
      database([backup(0, stored), ...[1, 2, 3, 4].map((day) => backup(day * dayMs))]),
      now,
    );
    expect(finding).toMatchObject({ level: 'ok' });
    expect(finding?.found).toContain('it warned: a table is empty');
  });
});

describe('how many backups there are', () => {
  const count = (ages: readonly number[], tier: Tier = 'daily', maxAgeHours = 25) =>
    backupCount(database(ages.map((age) => backup(age, { tier }))), policy, maxAgeHours, now);
  const days = (...list: number[]) => list.map((day) => day * dayMs);

  it('is fine with as many as are promised, however old', () => {
    expect(count(days(0, 1, 2, 3, 4, 5, 80))[0]).toMatchObject({ level: 'ok', mend: null });
  });

  it('is fine as long as the history is too short for the promise, to the millisecond', () => {
    expect(count(days(0, 1, 7))[0]?.level).toBe('ok');
    const [finding] = count([0, dayMs, 7 * dayMs + 1]);
    expect(finding).toMatchObject({
      level: 'warning',
      message: 'there are only 3 daily good backups',
      expected: '7 daily good ones, as the retention promises',
      values: { backups: 3, good_backups: 3 },
    });
  });

  it('waits longer where backups may be further apart', () => {
    expect(count(days(0, 2, 4, 6, 8, 13), 'daily', 49)[0]?.level).toBe('ok');
    expect(count(days(0, 2, 4, 6, 8, 15), 'daily', 49)[0]?.level).toBe('warning');
  });

  it('asks each tier that there is: weekly ones after four weeks, manual ones never', () => {
    expect(count(days(0, 7, 28), 'weekly')[0]?.level).toBe('ok');
    expect(count(days(0, 7, 29), 'weekly')[0]?.level).toBe('warning');
    expect(count(days(0, 300), 'monthly')[0]?.level).toBe('ok');
    expect(count(days(0, 400), 'monthly')[0]?.level).toBe('warning');
    expect(count(days(0, 400), 'manual')[0]?.level).toBe('ok');
  });

  it('counts no damaged ones and none of the future', () => {
    const damaged = days(1, 2, 3, 4, 5).map((age) => backup(age, { isGood: false }));
    const all = [backup(-dayMs), backup(0), ...damaged, backup(8 * dayMs)];
    const [finding] = backupCount(database(all), policy, 25, now);
    expect(finding).toMatchObject({ level: 'warning', values: { backups: 8, good_backups: 2 } });
  });
});
