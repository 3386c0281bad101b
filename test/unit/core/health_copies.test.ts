import { describe, expect, it } from 'vitest';
import type { WatchedDatabase } from '../../../src/core/health_backups.ts';
import { drillAge, missingCopies } from '../../../src/core/health_copies.ts';
import { makeLabel } from '../../../src/core/label.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const now = new Date('2026-11-21T12:00:00.000Z');
const graceHours = 25;
const retention = {
  retention_days: null,
  retention_daily: 7,
  retention_weekly: 4,
  retention_monthly: 12,
  wal_retention_days: 7,
};
const label = (ageMs: number, tier: 'daily' | 'base' = 'daily') =>
  makeLabel(new Date(now.getTime() - ageMs), tier, Buffer.from('abcd'));

function look(
  own: string[],
  others: string[],
  parts: { whole?: string[]; required?: boolean } = {},
) {
  const { whole = others, required = true } = parts;
  const stores = [
    { name: 'local', labels: new Set(others), whole: new Set(whole) },
    { name: 'nas', labels: new Set(own), whole: new Set(own) },
  ];
  const store = { name: 'nas', isRequired: required, retention };
  return missingCopies(store, [{ name: 'main/shop', stores }], graceHours, now);
}

describe('copies in other stores', () => {
  const [old, young] = [label(30 * hourMs), label(hourMs)];

  it('are fine where all are there, and where the last one is on its way', () => {
    expect(look([old, young], [old, young])).toMatchObject({ level: 'ok', values: { missing: 0 } });
    expect(look([old], [old, young]).level).toBe('ok');
    expect(look([old], [old, label(25 * hourMs)]).level).toBe('ok');
  });

  it('are missed after their time, to the second of their label', () => {
    const due = label(25 * hourMs + 1000);
    const finding = look([old], [old, due]);
    expect(finding).toMatchObject({
      level: 'warning',
      message: 'the store "nas" lacks 1 backup',
      values: { missing: 1 },
      since: new Date(now.getTime() - 1000).toISOString(),
    });
    expect(finding.found).toBe(`it lacks 1 of main/shop; the oldest is ${due}`);
    expect(finding.mend).toContain('scripts/doctor.ts');
  });

  it('are critical where a store that is needed has had nothing new for twice as long', () => {
    const lacking = label(50 * hourMs + 1000);
    expect(look([label(80 * hourMs)], [label(80 * hourMs), lacking]).level).toBe('critical');
    expect(look([], [lacking], { required: false }).level).toBe('warning');
    expect(look([young], [lacking, young]).level, 'it takes new ones').toBe('warning');
  });

  it('are not missed of what no retention keeps, nor of what is damaged everywhere', () => {
    const daily = Array.from({ length: 9 }, (_, day) => label(day * dayMs + hourMs));
    expect(look(daily.slice(0, 8), daily).level).toBe('ok');
    expect(look([young], [old, young], { whole: [young] }).level).toBe('ok');
  });

  it('are missed of base backups, too', () => {
    expect(look([], [label(3 * dayMs, 'base')]).level).toBe('critical');
  });
});

describe('proofs by restores', () => {
  const database: WatchedDatabase = {
    cluster: 'main',
    database: 'shop',
    backups: [],
    failure: null,
    notWatched: null,
  };
  it.each([
    [30 * dayMs, 'ok'],
    [30 * dayMs + 1, 'warning'],
  ] as const)('that are %d ms old are %s', (ageMs, level) => {
    const at = new Date(now.getTime() - ageMs);
    expect(drillAge(database, at, 30, now)).toMatchObject({
      level,
      values: { age_seconds: ageMs / 1000 },
    });
  });

  it('are missed where there never was one', () => {
    expect(drillAge(database, null, 30, now)).toMatchObject({ level: 'warning', found: 'none' });
  });
});
