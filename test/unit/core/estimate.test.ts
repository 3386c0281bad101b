import { describe, expect, it } from 'vitest';
import { estimateRestore, formatRough, type RestoreRate } from '../../../src/core/estimate.ts';

const rate = (changes: Partial<RestoreRate> = {}): RestoreRate => ({
  dump_bytes: 1e9,
  jobs: 2,
  compare: 'counts',
  seconds: { verifying: 10, filling: 60, comparing: 5, analyzing: 5 },
  ...changes,
});
const wish = { dumpBytes: 1e9, jobs: 2, compare: 'counts' };

describe('the estimate of a restore', () => {
  it('is nothing without a restore like it', () => {
    expect(estimateRestore([], wish)).toBeNull();
    expect(estimateRestore([rate({ jobs: 1 }), rate({ compare: 'none' })], wish)).toBeNull();
  });

  it('is scaled by the bytes', () => {
    expect(estimateRestore([rate()], wish)).toEqual({ seconds: 80, restores: 1 });
    expect(estimateRestore([rate()], { ...wish, dumpBytes: 4e9 })).toEqual({
      seconds: 320,
      restores: 1,
    });
  });

  it('says nothing from a restore of another order of magnitude', () => {
    expect(estimateRestore([rate()], { ...wish, dumpBytes: 8e9 })?.restores).toBe(1);
    expect(estimateRestore([rate()], { ...wish, dumpBytes: 8.1e9 })).toBeNull();
    expect(estimateRestore([rate()], { ...wish, dumpBytes: 0.12e9 })).toBeNull();
    expect(estimateRestore([rate({ dump_bytes: 0 })], { ...wish, dumpBytes: 0 })).toBeNull();
  });

  it('is the median of the last five, step by step: one odd restore does not move it', () => {
    const slow = rate({ seconds: { verifying: 10, filling: 9000, comparing: 5, analyzing: 5 } });
    const rates = [slow, slow, slow, rate(), rate(), slow, rate(), rate()];
    expect(estimateRestore(rates, wish)).toEqual({ seconds: 80, restores: 5 });
  });
});

describe('a rough duration', () => {
  it.each([
    [0, 'a few seconds'],
    [7.4, 'a few seconds'],
    [7.6, 'about 10 s'],
    [44, 'about 40 s'],
    [58, 'about 1 min'],
    [252, 'about 4 min'],
    [3590, 'about 1 h'],
    [5000, 'about 1 h 20 min'],
    [7200, 'about 2 h'],
    [7190, 'about 2 h'],
  ])('%d s is %j', (seconds, text) => {
    expect(formatRough(seconds)).toBe(text);
  });
});
