import { describe, expect, it } from 'vitest';
import { delayAfterMs, withRetries } from '../../../src/storage/retry.ts';

const transient = { isTransient: true, retryAfterMs: 0 };
const final = { isTransient: false, retryAfterMs: null };

describe('doing again', () => {
  it('waits longer each time, never all of it at the same moment, and never for ever', () => {
    expect([1, 2, 3, 4].map((attempt) => delayAfterMs(attempt, 0))).toEqual([200, 400, 800, 1600]);
    expect(delayAfterMs(1, 0.999)).toBe(400);
    expect(delayAfterMs(50, 0.999)).toBeLessThanOrEqual(20_000);
  });

  it('goes on as long as it is worth it, and gives the first answer', async () => {
    const attempts: number[] = [];
    const work = async (attempt: number) => {
      attempts.push(attempt);
      if (attempt < 3) throw new Error(`number ${attempt}`);
      return 'done';
    };
    const options = { attemptsMax: 5, judge: () => transient, random: () => 0 };
    expect(await withRetries(work, options)).toBe('done');
    expect(attempts).toEqual([1, 2, 3]);
  });

  it('ends with the last failure, or at once with one that stays', async () => {
    let count = 0;
    const work = async () => {
      count += 1;
      throw new Error(`number ${count}`);
    };
    const random = () => 0;
    const often = { attemptsMax: 2, judge: () => transient, random };
    await expect(withRetries(work, often)).rejects.toThrow('number 2');
    const never = { attemptsMax: 9, judge: () => final, random };
    await expect(withRetries(work, never)).rejects.toThrow('number 3');
    expect(count).toBe(3);
  });

  it('stops waiting when it is told to', async () => {
    const stop = new AbortController();
    const judge = () => ({ isTransient: true, retryAfterMs: 60_000 });
    const working = withRetries(
      async () => {
        setTimeout(() => stop.abort(new Error('the run was interrupted')), 10);
        throw new Error('503');
      },
      { attemptsMax: 9, judge, random: () => 0, signal: stop.signal },
    );
    await expect(working).rejects.toThrow('the run was interrupted');
  });
});
