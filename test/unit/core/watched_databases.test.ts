import { describe, expect, it } from 'vitest';
import { type KnownDatabase, notWatchedBecause } from '../../../src/core/watched_databases.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const now = Date.UTC(2026, 10, 21, 12);
const ago = (...ms: number[]) => ms.map((each) => new Date(now - each));
const database = (attempts: Date[], isNamed = false, cluster = 'main'): KnownDatabase => {
  return { isNamed, cluster, attempts };
};
const all = { takesAll: true, namesSome: false };
const some = { takesAll: false, namesSome: true };
const none = { takesAll: false, namesSome: false };
const daily = (days: number, from = 0) =>
  ago(...Array.from({ length: days }, (_, day) => (from + day) * dayMs));

describe('which databases are watched', () => {
  it('those that the settings name, whatever was ever tried', () => {
    for (const rule of [all, some, none]) {
      expect(notWatchedBecause(database([], true), [database(daily(5))], rule)).toBeNull();
    }
  });

  it('with --all those of a cluster that the runs still take, to the very hour', () => {
    const others = [database(ago(0))];
    expect(notWatchedBecause(database(ago(12 * hourMs)), others, all)).toBeNull();
    expect(notWatchedBecause(database(ago(12 * hourMs + 1)), others, all)).toContain('no longer');
    const elsewhere = [database(ago(0), false, 'other')];
    expect(notWatchedBecause(database(ago(2 * dayMs)), elsewhere, all)).toBeNull();
  });

  it('all of them where everything stops: nobody has gone on without them', () => {
    const dead = daily(5, 100);
    for (const rule of [all, some, none]) {
      expect(notWatchedBecause(database(dead), [database(dead)], rule)).toBeNull();
      expect(notWatchedBecause(database(dead), [], rule)).toBeNull();
    }
  });

  it('none that was not tried for 7 days while others were', () => {
    const others = [database(ago(0), true)];
    expect(notWatchedBecause(database(daily(3, 7)), others, some)).toBeNull();
    const late = database([...daily(3, 8), ...ago(7 * dayMs + 1)]);
    expect(notWatchedBecause(late, others, some)).toContain('for 7 days');
    expect(notWatchedBecause(late, others, none)).toContain('for 7 days');
  });

  it('none that was backed up by hand now and then, beside those that the settings name', () => {
    const others = [database(ago(0), true)];
    expect(notWatchedBecause(database(daily(2)), others, some)).toContain(
      'not backed up regularly',
    );
    expect(notWatchedBecause(database(daily(3)), others, some)).toBeNull();
    expect(notWatchedBecause(database(ago(0, 1, 2)), others, some)).toContain('regularly');
    expect(notWatchedBecause(database(daily(1)), others, none)).toBeNull();
  });
});
