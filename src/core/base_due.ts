/** Whether a base backup is due, and which kind. */

import { type ChainLink, chainOf, isGood } from './base_chain.ts';

const dayMs = 86_400_000;
/** Clocks differ by seconds; a job of every day must not find yesterday's a moment too young. */
const slackMs = 3_600_000;

/** A base backup, as far as this asks. */
export type DueBase = ChainLink & {
  readonly manifest: { readonly started_at: string; readonly parent: string | null } | null;
};

/** What decides. */
export interface DueRequest {
  readonly now: Date;
  /** So many days after the last whole one the next whole one is due. */
  readonly days: number;
  /** Whether the server tells what has changed since the last one (PostgreSQL 17+). */
  readonly hasSummaries: boolean;
}

/**
 * A damaged one, one that needs a damaged or missing one, and one dated in the future count for
 * nothing. One with damaged pages is no base to rely on, but as long as the cluster itself is
 * damaged the next one will have them too: it is tried once a day, not every hour.
 *
 * @param bases of one cluster
 * @returns `null` when none is due
 */
export function dueBase(
  bases: readonly DueBase[],
  { now, days, hasSummaries }: DueRequest,
): 'full' | 'incremental' | null {
  const restorable = bases.filter(({ label }) => chainOf(bases, label).links !== null);
  const isYoung = (days: number) => (base: DueBase) => {
    const ageMs = now.getTime() - Date.parse(base.manifest?.started_at ?? '');
    return ageMs > -slackMs && ageMs < days * dayMs - slackMs;
  };
  const ofToday = restorable.filter(isYoung(1));
  const whole = restorable.filter((base) => isGood(base) && base.manifest?.parent === null);
  if (!whole.some(isYoung(days))) return ofToday.every(isGood) ? 'full' : null;
  return hasSummaries && ofToday.length === 0 ? 'incremental' : null;
}
