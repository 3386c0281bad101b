/** Whether a base backup is due, and which kind. */

import { type ChainLink, isGood } from './base_chain.ts';

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
 * @param bases of one cluster
 * @returns `null` when none is due. A damaged one, or one dated in the future, counts for nothing
 */
export function dueBase(
  bases: readonly DueBase[],
  { now, days, hasSummaries }: DueRequest,
): 'full' | 'incremental' | null {
  const agesMs = (isWhole: boolean) =>
    bases
      .filter((base) => isGood(base) && (!isWhole || base.manifest?.parent === null))
      .map(({ manifest }) => now.getTime() - Date.parse(manifest?.started_at ?? ''))
      .filter((ageMs) => ageMs > -slackMs);
  if (!agesMs(true).some((ageMs) => ageMs < days * dayMs - slackMs)) return 'full';
  if (!hasSummaries) return null;
  return agesMs(false).some((ageMs) => ageMs < dayMs - slackMs) ? null : 'incremental';
}
