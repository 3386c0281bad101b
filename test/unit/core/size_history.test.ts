import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { historyMin, unusualSize } from '../../../src/core/size_history.ts';

const size = fc.integer({ min: 1, max: 1e12 });

describe('the size of a backup', () => {
  it('is not judged before there is a history', () => {
    expect(unusualSize(1, [100, 100])).toBeNull();
  });

  it('is ordinary while the database grows day by day', () => {
    const history = Array.from({ length: 60 }, (_, day) => Math.round(1000 * 1.02 ** day));
    expect(unusualSize(Math.round(1000 * 1.02 ** 60), history)).toBeNull();
  });

  it('is reported when most of the data is gone, or when it has doubled over night', () => {
    const history = [1000, 1010, 1020, 1030];
    expect(unusualSize(400, history)).toEqual({ kind: 'smaller', medianBytes: 1015 });
    expect(unusualSize(2100, history)).toEqual({ kind: 'larger', medianBytes: 1015 });
  });

  it('is judged by the middle of its history: one odd backup moves nothing', () => {
    expect(unusualSize(1000, [1000, 1, 1010, 1005])).toBeNull();
    expect(unusualSize(100, [1000, 1, 1010, 1005])?.kind).toBe('smaller');
  });

  it('is ordinary when it is what it always was', () => {
    fc.assert(
      fc.property(size, fc.integer({ min: historyMin, max: 40 }), (bytes, count) => {
        expect(unusualSize(bytes, Array(count).fill(bytes))).toBeNull();
      }),
    );
  });

  it('is reported when it is nothing at all after a history of something', () => {
    fc.assert(
      fc.property(size, (bytes) => {
        expect(unusualSize(0, Array(5).fill(bytes))?.kind).toBe('smaller');
      }),
    );
  });
});
