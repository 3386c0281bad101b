import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  objectBytesMax,
  partBytes,
  partsInFlight,
  partsMax,
} from '../../../src/core/part_sizes.ts';

const mib = 1024 * 1024;
const tib = 1024 * 1024 * mib;

describe('the parts of an upload', () => {
  it('hold 5 TiB in 10,000 of them, whatever their lower limit', () => {
    for (const least of [5 * mib, 8 * mib, 100 * mib, 5120 * mib]) {
      expect(objectBytesMax(least, false)).toBeGreaterThanOrEqual(5 * tib);
    }
  });

  it('are small as long as they can be: 64 MiB up to 90 GiB', () => {
    let bytes = 0;
    let number = 1;
    for (; bytes < 90 * 1024 * mib; number += 1) bytes += partBytes(number, 8 * mib, false);
    expect(partBytes(number, 8 * mib, false)).toBe(64 * mib);
    expect(partBytes(1, 5 * mib, false)).toBe(5 * mib);
    expect(partBytes(800, 5 * mib, false)).toBe(5 * mib);
    expect(partBytes(801, 5 * mib, false)).toBe(16 * mib);
  });

  it('never shrink, keep the lower limit, and are 5 GiB at the most', () => {
    const least = fc.integer({ min: 5 * mib, max: 5120 * mib });
    const number = fc.integer({ min: 1, max: partsMax - 1 });
    fc.assert(
      fc.property(least, number, (bytes, at) => {
        const [one, next] = [partBytes(at, bytes, false), partBytes(at + 1, bytes, false)];
        expect(one).toBeGreaterThanOrEqual(bytes);
        expect(next).toBeGreaterThanOrEqual(one);
        expect(next).toBeLessThanOrEqual(5120 * mib);
      }),
    );
  });

  it('are all alike where the store wants it, and then hold 10,000 times as much', () => {
    expect(partBytes(partsMax, 8 * mib, true)).toBe(8 * mib);
    expect(objectBytesMax(8 * mib, true)).toBe(80_000 * mib);
  });

  it('are refused beyond the last', () => {
    expect(() => partBytes(partsMax + 1, 8 * mib, false)).toThrow('10,000');
    expect(() => partBytes(0, 8 * mib, false)).toThrow('10,000');
  });

  it('are fewer on their way, the larger they are, but one at least', () => {
    expect(partsInFlight(8 * mib, 4)).toBe(4);
    expect(partsInFlight(8 * mib, 64)).toBe(12);
    expect(partsInFlight(64 * mib, 4)).toBe(1);
    expect(partsInFlight(1024 * mib, 4)).toBe(1);
  });
});
