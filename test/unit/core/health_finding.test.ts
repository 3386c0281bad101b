import { describe, expect, it } from 'vitest';
import { healthFinding, secondsBetween } from '../../../src/core/health_finding.ts';

const about = { check: 'clock', subject: 'db', cluster: null, database: null } as const;
const now = new Date('2026-11-21T02:00:00Z');

describe('a finding', () => {
  it('says what is wrong, since when, and what to type', () => {
    const words = { message: 'off', expected: 'on', since: now, mend: 'type it' };
    expect(healthFinding(about, { level: 'warning', ...words })).toEqual({
      ...about,
      level: 'warning',
      message: 'off',
      expected: 'on',
      found: 'off',
      since: '2026-11-21T02:00:00.000Z',
      mend: 'type it',
      values: {},
    });
  });

  it('has nothing to mend where all is well', () => {
    const words = { message: 'on', expected: 'on', found: 'yes', since: now, mend: 'type it' };
    const well = healthFinding(about, { level: 'ok', ...words });
    expect(well).toMatchObject({ found: 'yes', since: null, mend: null });
  });

  it('counts the seconds between two times', () => {
    expect(secondsBetween(now, new Date(now.getTime() + 1500))).toBe(1.5);
    expect(secondsBetween(new Date(now.getTime() + 1500), now)).toBe(-1.5);
  });
});
