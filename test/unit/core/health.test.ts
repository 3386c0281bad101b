import { describe, expect, it } from 'vitest';
import { healthStatus, levelAbove, worstLevel } from '../../../src/core/health.ts';

describe('the worst of several levels', () => {
  it.each([
    [[], 'ok'],
    [['ok', 'ok'], 'ok'],
    [['ok', 'unknown'], 'unknown'],
    [['unknown', 'warning'], 'warning'],
    [['warning', 'critical', 'unknown', 'ok'], 'critical'],
  ] as const)('of %j is %s', (levels, expected) => {
    expect(worstLevel(levels)).toBe(expected);
  });

  it('has the status that monitoring plugins have', () => {
    expect(healthStatus).toEqual({ ok: 0, warning: 1, critical: 2, unknown: 3 });
  });
});

describe('a value with two limits', () => {
  it.each([
    [25, 'ok'],
    [25.001, 'warning'],
    [50, 'warning'],
    [50.001, 'critical'],
  ] as const)('%d beyond 25 and 50 is %s', (value, expected) => {
    expect(levelAbove(value, 25, 50)).toBe(expected);
  });
});
