import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  baseKinds,
  makeLabel,
  parseBaseLabel,
  parseLabel,
  requireBaseLabel,
  requireLabel,
  tiers,
} from '../../../src/core/label.ts';

describe('a label', () => {
  it('tells the start, the tier and four random characters', () => {
    const label = makeLabel(
      new Date('2026-11-21T02:00:00.987Z'),
      'daily',
      Buffer.from([10, 3, 35, 36]),
    );
    expect(label).toBe('20261121T020000Z-daily-kd9a');
    expect(parseLabel(label)).toEqual({
      text: label,
      startedAt: new Date('2026-11-21T02:00:00Z'),
      tier: 'daily',
    });
  });

  it('comes back from its text, and sorts by time', () => {
    const time = fc.date({
      min: new Date('2000-01-01'),
      max: new Date('2999-12-31'),
      noInvalidDate: true,
    });
    const random = fc.uint8Array({ minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(time, time, fc.constantFrom(...tiers), random, (a, b, tier, bytes) => {
        const [first, second] = [makeLabel(a, tier, bytes), makeLabel(b, tier, bytes)];
        expect(parseLabel(first)?.startedAt.getTime()).toBe(Math.floor(a.getTime() / 1000) * 1000);
        if (first < second) expect(a.getTime()).toBeLessThan(b.getTime());
      }),
    );
  });

  it('is none with a date that does not exist, another tier, or anything around it', () => {
    for (const text of [
      '20260230T020000Z-daily-k3f9',
      '20261121T250000Z-daily-k3f9',
      '20261121T020000Z-hourly-k3f9',
      '20261121T020000Z-daily-K3F9',
      '20261121T020000Z-daily-k3f9/..',
      ' 20261121T020000Z-daily-k3f9',
      '',
    ]) {
      expect(parseLabel(text)).toBeNull();
    }
    expect(() => requireLabel('../../etc')).toThrow('"../../etc" is not a backup\'s label');
  });
});

describe('the label of a base backup', () => {
  const at = new Date('2026-11-21T02:00:00.987Z');

  it('tells its kind, and is never that of a backup of a database', () => {
    for (const kind of baseKinds) {
      const label = makeLabel(at, kind, Buffer.from([10, 3, 35, 36]));
      expect(label).toBe(`20261121T020000Z-${kind}-kd9a`);
      const startedAt = new Date('2026-11-21T02:00:00Z');
      expect(parseBaseLabel(label)).toEqual({ text: label, startedAt, kind });
      expect(parseLabel(label)).toBeNull();
    }
    for (const tier of tiers) {
      expect(parseBaseLabel(makeLabel(at, tier, Buffer.from([1, 2, 3, 4])))).toBeNull();
    }
    expect(() => requireBaseLabel('20261121T020000Z-daily-k3f9')).toThrow('not a base backup');
  });
});
