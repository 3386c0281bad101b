import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../src/core/token_bucket.ts';

describe('a token bucket', () => {
  it('gives what a tenth of a second brings at once, and the rest in time', () => {
    const bucket = new TokenBucket(1000);
    expect(bucket.take(100, 0)).toBe(0);
    expect(bucket.take(1, 0)).toBe(1);
    expect(bucket.take(999, 0)).toBe(1000);
  });

  it('serves takers one after the other', () => {
    const bucket = new TokenBucket(1000);
    bucket.take(100, 0);
    expect([500, 500, 500].map((tokens) => bucket.take(tokens, 0))).toEqual([500, 1000, 1500]);
    expect(bucket.take(0, 1500)).toBe(0);
  });

  it('does not save up what was not used', () => {
    const bucket = new TokenBucket(1000);
    bucket.take(100, 0);
    expect(bucket.take(100, 60_000)).toBe(0);
    expect(bucket.take(100, 60_000)).toBe(100);
  });

  it('keeps to the rate over a long time, in pieces of any size', () => {
    const bucket = new TokenBucket(1_000_000);
    let now = 0;
    let passed = 0;
    for (let piece = 1; passed < 50_000_000; piece = (piece * 7 + 13) % 200_000) {
      now += bucket.take(piece, now);
      passed += piece;
    }
    expect(now).toBeGreaterThan(49_000);
    expect(now).toBeLessThan(51_000);
  });

  it('gets nothing from a clock that goes back', () => {
    const bucket = new TokenBucket(1000);
    bucket.take(100, 5000);
    expect(bucket.take(10, 1000)).toBe(10);
    expect(bucket.take(0, 1010)).toBe(0);
  });

  it('has a rate', () => {
    expect(() => new TokenBucket(0)).toThrow('more than nothing');
  });
});
