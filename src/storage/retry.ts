/** Does again what a network has lost. */

import { setTimeout as sleep } from 'node:timers/promises';

const firstDelayMs = 400;
const delayMsMax = 20_000;

/** What a failure means for a further attempt. */
export interface Verdict {
  /** Whether the same request may succeed later. */
  readonly isTransient: boolean;
  /** How long the store asks to be left alone; `null`: it does not say. */
  readonly retryAfterMs: number | null;
}

export interface RetryOptions {
  /** How often something is tried, all in all. */
  readonly attemptsMax: number;
  readonly judge: (error: unknown, attempt: number) => Verdict;
  /** From 0 up to 1. */
  readonly random: () => number;
  /** Ends the waiting; its reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * How long to wait after a failed attempt: twice as long each time, and only between a half and the
 * whole of it, so that many who failed at once do not come back at once.
 *
 * @param attempt 1 for the first
 */
export function delayAfterMs(attempt: number, random: number): number {
  const whole = Math.min(delayMsMax, firstDelayMs * 2 ** (attempt - 1));
  return Math.round(whole * (0.5 + random / 2));
}

/**
 * Works until it succeeds, fails for good, or has been tried often enough.
 *
 * @throws the last failure as it is; the signal's reason
 */
export async function withRetries<T>(
  work: (attempt: number) => Promise<T>,
  { attemptsMax, judge, random, signal }: RetryOptions,
): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      const { isTransient, retryAfterMs } = judge(error, attempt);
      if (signal?.aborted === true || !isTransient || attempt >= attemptsMax) throw error;
      const delayMs = Math.max(delayAfterMs(attempt, random()), retryAfterMs ?? 0);
      await sleep(delayMs, undefined, signal === undefined ? {} : { signal }).catch(() => {
        throw signal?.reason;
      });
    }
  }
}
