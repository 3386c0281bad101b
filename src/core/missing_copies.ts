/** Which backups a store should hold a copy of and does not. */

import { planRetention, type RetentionBackup, type RetentionPolicy } from './retention.ts';

/**
 * The labels of those that the store's own retention would keep and that are younger than what the
 * store has; where it has none at all, only the youngest counts. What is older than its first one
 * was taken before the store was there.
 *
 * @param backups of one database, wherever they lie
 * @param held the labels of those that the store has
 */
export function missingCopies(
  backups: readonly RetentionBackup[],
  held: ReadonlySet<string>,
  policy: RetentionPolicy,
  now: Date,
): string[] {
  const kept = planRetention(backups, policy, now)
    .decisions.filter(({ action }) => action === 'keep')
    .map(({ backup }) => backup)
    .filter(({ health }) => health !== 'damaged')
    .map(({ label }) => label);
  const oldest = [...held].sort()[0] ?? kept.at(-1);
  if (oldest === undefined) return [];
  return kept.filter((label) => !held.has(label) && label >= oldest);
}
