import { describe, expect, it } from 'vitest';
import { parseUnits, parseUnitTime } from '../../../src/core/systemd_show.ts';

describe('what systemctl show prints', () => {
  it('is one unit between two empty lines, with values that may hold an equals sign', () => {
    const text = 'Id=a.timer\nResult=success\n\nId=b.service\nDescription=x=y = z\nResult=\n';
    expect(parseUnits(text)).toEqual([
      { Id: 'a.timer', Result: 'success' },
      { Id: 'b.service', Description: 'x=y = z', Result: '' },
    ]);
  });

  it('may be nothing at all', () => {
    expect(parseUnits('')).toEqual([]);
    expect(parseUnits('\n\n')).toEqual([]);
  });

  it('tells times in UTC, where there are any', () => {
    expect(parseUnitTime('Sun 2026-11-22 02:03:11 UTC')).toBe('2026-11-22T02:03:11Z');
    for (const none of [undefined, '', 'n/a', 'Sun 2026-11-22 02:03:11 CET', '@1795312873']) {
      expect(parseUnitTime(none)).toBeNull();
    }
  });
});
