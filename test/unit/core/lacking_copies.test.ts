import { describe, expect, it } from 'vitest';
import { type KeepSettings, lackingCopies } from '../../../src/core/lacking_copies.ts';

const now = new Date('2026-11-21T12:00:00Z');
const settings: KeepSettings = {
  retention_days: null,
  retention_daily: 3,
  retention_weekly: 1,
  retention_monthly: 1,
  wal_retention_days: 5,
};

const label = (day: number, word: string) =>
  `202611${String(day).padStart(2, '0')}T020000Z-${word}-aaaa`;

/** The days of what a store lacks. */
function lacking(own: readonly string[], other: readonly string[], more: readonly string[] = []) {
  const store = { name: 'nas', labels: new Set(own) };
  const others = [
    { name: 'local', labels: new Set(other) },
    { name: 's3', labels: new Set(more) },
  ];
  return lackingCopies(store, others, settings, now);
}

const dailies = [10, 11, 12, 19, 20, 21].map((day) => label(day, 'daily'));
const bases = [1, 8, 15, 18].map((day) => label(day, 'base'));

describe('what a store is brought', () => {
  it('is what it lacks and would keep, from whichever store has it, oldest first', () => {
    expect(lacking([], dailies)).toEqual(dailies.slice(3));
    expect(lacking(dailies.slice(4, 5), dailies.slice(0, 5), dailies.slice(5))).toEqual([
      label(19, 'daily'),
      label(21, 'daily'),
    ]);
    expect(lacking(dailies, dailies)).toEqual([]);
    expect(lacking(dailies, [])).toEqual([]);
  });

  it('goes by number too where the backups are old', () => {
    const old = [1, 2, 3, 4].map((day) => label(day, 'daily'));
    expect(lacking([], old)).toEqual(old.slice(1));
    expect(lacking([], [label(1, 'weekly'), label(2, 'manual')])).toEqual([
      label(1, 'weekly'),
      label(2, 'manual'),
    ]);
  });

  it('is never what its retention has removed from it', () => {
    // In it the youngest three are kept, with which it could have removed the others.
    expect(lacking(dailies.slice(3), dailies)).toEqual([]);
  });

  it('of base backups is the window of its WAL and what the window begins with', () => {
    expect(lacking([], bases)).toEqual([label(15, 'base'), label(18, 'base')]);
    expect(lacking([label(18, 'base')], bases)).toEqual([label(15, 'base')]);
    expect(lacking([], [label(1, 'base')])).toEqual([label(1, 'base')]);
  });

  it('is nothing that is no backup', () => {
    expect(lacking([], ['lost+found', '20261131T020000Z-daily-aaaa', 'x'])).toEqual([]);
  });
});
