/**
 * Which gaps of a WAL archive retention has left, and which are losses. Of a base backup that is
 * kept as a weekly or monthly one only the WAL stays that makes it consistent: behind it no segment
 * is missing that anything kept would read. Pure.
 */

import type { RetainedBase } from './retained_base.ts';
import { type TimelineWay, type WalGap, walTree } from './wal_ranges.ts';
import {
  type IncrementalScene,
  isCovered,
  type KeepRule,
  keepRules,
  planIncremental,
} from './wal_retention.ts';

/** Whether all of the run before a gap is kept, and no recovery goes on behind it. */
function isIsland(way: TimelineWay, gap: WalGap, rules: readonly KeepRule[]): boolean {
  const before = way.runs.filter(({ parts }) => parts.every(({ last }) => last < gap.first)).at(-1);
  if (before === undefined) return false;
  return before.parts.every(({ timeline, first, last }) => {
    const on = rules.filter((rule) => rule.timeline === timeline);
    const isReadOn = (rule: KeepRule) => rule.readFor === way.timeline;
    if (on.some((rule) => isReadOn(rule) && isCovered(rule, first, last))) return false;
    for (let number = first; number <= last; number += 1n) {
      if (!on.some((rule) => isCovered(rule, number))) return false;
    }
    return true;
  });
}

/**
 * Tells the gaps that retention has left from losses. One that anything kept would read is a loss,
 * and so is one behind WAL that no prune has touched yet.
 *
 * @returns whether a gap on a way is one of retention
 */
export function gapsOfRetention<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
): (way: TimelineWay, gap: WalGap) => boolean {
  if (walTree(scene.listing).timelines.every(({ gaps }) => gaps.length === 0)) return () => false;
  const kept = planIncremental(scene).bases.filter(({ action }) => action === 'keep');
  const rules = keepRules(scene, kept);
  return (way, gap) => {
    const isWanted = rules.some(
      (rule) => rule.timeline === gap.timeline && isCovered(rule, gap.first, gap.last),
    );
    return !isWanted && isIsland(way, gap, rules);
  };
}
