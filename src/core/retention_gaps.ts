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
  timesNeeded,
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

type IsOurs = (way: TimelineWay, gap: WalGap) => boolean;

/** By the rules of one moment. */
function gapsAt<Base extends RetainedBase>(scene: IncrementalScene<Base>): IsOurs {
  const kept = planIncremental(scene).bases.filter(({ action }) => action === 'keep');
  const rules = keepRules(scene, kept);
  return (way, gap) => {
    const isWanted = rules.some(
      (rule) => rule.timeline === gap.timeline && isCovered(rule, gap.first, gap.last),
    );
    return !isWanted && isIsland(way, gap, rules);
  };
}

/**
 * Tells the gaps that retention has left from losses. One that anything kept would read is a loss,
 * and so is one behind WAL that no prune has touched yet.
 *
 * @returns whether a gap on a way is one of retention
 */
export function gapsOfRetention<Base extends RetainedBase>(scene: IncrementalScene<Base>): IsOurs {
  if (walTree(scene.listing).timelines.every(({ gaps }) => gaps.length === 0)) return () => false;
  return gapsAt(scene);
}

const dayMs = 86_400_000;

/** The scene as it was at a moment: without what has come since. */
function sceneAt<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
  times: ReadonlyMap<string, Date>,
  moment: number,
): IncrementalScene<Base> {
  const { listing, bases } = scene;
  const wasThere = ({ name }: { readonly name: string }) =>
    (times.get(name)?.getTime() ?? Number.POSITIVE_INFINITY) <= moment;
  return {
    ...scene,
    now: new Date(moment),
    streaming: new Set(),
    times: new Map([...times].filter(([name]) => wasThere({ name }))),
    bases: bases.filter(({ startedAt }) => startedAt.getTime() <= moment),
    listing: {
      ...listing,
      segments: listing.segments.filter(wasThere),
      histories: listing.histories.filter(wasThere),
      backups: listing.backups.filter(wasThere),
    },
  };
}

/**
 * The moments of a silence after which retention decides otherwise than before: whenever something
 * leaves the window, or a tier's days.
 */
function turningPoints<Base extends RetainedBase>(
  { bases, times, policy, listing }: IncrementalScene<Base>,
  from: number,
  to: number,
): number[] {
  const { windowDays, weekly, monthly } = policy;
  const births = [
    ...bases.flatMap(({ startedAt, facts }) => [startedAt, ...(facts ? [facts.finishedAt] : [])]),
    ...timesNeeded(bases, listing).flatMap((name) => times.get(name) ?? []),
  ].map((time) => time.getTime());
  const points = [windowDays, weekly.days, monthly.days].flatMap((days) =>
    births.map((birth) => birth + days * dayMs + 1),
  );
  return [...new Set([...points, to - 1])].filter((point) => point > from && point < to);
}

/**
 * Tells the gaps that a prune has rightly left while the server was silent for longer than the
 * window: nothing needed that WAL then, and since the server writes again, rules would keep it that
 * nobody could have kept by.
 *
 * @param times when the files of the archive were last changed: all of them
 * @returns whether a gap on a way is one of retention at any moment of such a silence
 */
export function gapsOfSilence<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
  times: ReadonlyMap<string, Date>,
): IsOurs {
  const windowMs = scene.policy.windowDays * dayMs;
  const traces = [...times.values()].map((time) => time.getTime()).sort((a, b) => a - b);
  const moments = traces.flatMap((to, place) => {
    const from = traces[place - 1] ?? to;
    return to - from < windowMs ? [] : turningPoints(sceneAt(scene, times, to - 1), from, to);
  });
  const views = moments.map((moment) => {
    const then = sceneAt(scene, times, moment);
    return { ways: walTree(then.listing).timelines, isOurs: gapsAt(then) };
  });
  return (way, gap) =>
    views.some(({ ways, isOurs }) => {
      const before = ways.find(({ timeline }) => timeline === way.timeline);
      // It may have been told on another way only, where nothing came behind it on this one yet.
      const wasMissing = ways.some(({ gaps }) =>
        gaps.some(
          ({ timeline, first, last }) =>
            timeline === gap.timeline && first <= gap.first && last >= gap.last,
        ),
      );
      return before !== undefined && wasMissing && isOurs(before, gap);
    });
}
