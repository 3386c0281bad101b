/** A limit on a rate, without a clock of its own: who asks says what time it is. */

import { assert } from './assert.ts';

/**
 * Fills with so many tokens a second, up to what a tenth of a second brings: what was not used does
 * not add up to a burst. A taker of more than there is takes a debt, and waits until it is paid;
 * so takers are served in their order, and the rate holds for all of them together.
 */
export class TokenBucket {
  readonly #perMs: number;
  readonly #most: number;
  #tokens: number;
  #at: number | null = null;

  /** @param perSecond more than 0 */
  constructor(perSecond: number) {
    assert(perSecond > 0, 'a rate is more than nothing');
    this.#perMs = perSecond / 1000;
    this.#most = perSecond / 10;
    this.#tokens = this.#most;
  }

  /**
   * Takes tokens.
   *
   * @param nowMs of a clock that never goes back; one that does gives nothing
   * @returns how many milliseconds to wait before they may be used
   */
  take(tokens: number, nowMs: number): number {
    const passed = this.#at === null ? 0 : Math.max(0, nowMs - this.#at);
    this.#at = nowMs;
    this.#tokens = Math.min(this.#most, this.#tokens + passed * this.#perMs) - tokens;
    return this.#tokens >= 0 ? 0 : Math.ceil(-this.#tokens / this.#perMs);
  }
}
