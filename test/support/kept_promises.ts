/** Whether retention has kept what it promises, told without asking how it decides. */

import { parseLabel } from '../../src/core/label.ts';
import type { RetentionPolicy } from '../../src/core/retention.ts';

const dayMs = 86_400_000;

/**
 * What retention should not have removed: younger than the days of its tier, or without so many
 * younger ones of the tier as are promised. Told by what was taken and what is there, not by how
 * retention decides.
 */
export function brokenPromises(
  taken: readonly string[],
  present: ReadonlySet<string>,
  policy: RetentionPolicy,
  now: Date,
): string[] {
  const labels = taken.flatMap((text) => parseLabel(text) ?? []);
  return labels
    .filter(({ text }) => !present.has(text))
    .filter(({ tier, startedAt }) => {
      const { days, count } = policy[tier];
      const younger = labels.filter((other) => other.tier === tier && other.startedAt > startedAt);
      const there = younger.filter((other) => present.has(other.text));
      const isYoung = now.getTime() - startedAt.getTime() < days * dayMs;
      return isYoung || there.length < count;
    })
    .map(({ text }) => text);
}
