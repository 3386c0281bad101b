/**
 * Which base backups are kept, and why. A recovery window keeps those in it, and before it, on
 * every timeline that goes on in it, the last one from which each moment of it is reached. Beyond
 * it the first of each week and month are kept as weekly and monthly full backups are (PRODUCT.md,
 * "Retention, so that it never hurts"). Whatever a kept one needs is kept. Pure.
 */

import { previousSegmentNumber } from './lsn.ts';
import type { RetainedBase, RetainedFacts } from './retained_base.ts';
import { type RetentionSettings, retentionPolicy, type TierRule } from './retention.ts';
import { formatCount } from './units.ts';
import { isOnWay, type TimelineWay, type WalTree } from './wal_ranges.ts';

/** What is kept, and for how long. */
export interface IncrementalPolicy {
  /** Every moment of so many days can be recovered to. */
  readonly windowDays: number;
  readonly weekly: TierRule;
  readonly monthly: TierRule;
}

/** How much of the WAL a base backup keeps: all since it began, what makes it consistent, none. */
export type WalNeed = 'since' | 'own' | 'none';

/** What becomes of one base backup. */
export interface BaseDecision<Base extends RetainedBase = RetainedBase> {
  readonly base: Base;
  readonly action: 'keep' | 'remove';
  readonly reason: string;
  readonly wal: WalNeed;
}

/** Where the base backups lie, and when. */
export interface BaseScene {
  readonly tree: WalTree;
  /**
   * When files of the archive were last changed, which is never before what is in them: by their
   * names as PostgreSQL gives them. One that is missing may be of any time.
   */
  readonly times: ReadonlyMap<string, Date>;
  readonly policy: IncrementalPolicy;
  readonly now: Date;
}

const dayMs = 86_400_000;
/** Clocks of several hosts differ a little; a backup further ahead has a wrong date. */
const aheadMs = 3_600_000;

/**
 * The policy that the settings say. `RETENTION_DAYS`, where it is set, is the least of every rule:
 * after an accident everything has to stay.
 *
 * @param settings with `wal_retention_days`, in days
 */
export function incrementalPolicy(
  settings: RetentionSettings & { readonly wal_retention_days: number },
): IncrementalPolicy {
  const { weekly, monthly } = retentionPolicy(settings);
  const windowDays = Math.max(settings.wal_retention_days, settings.retention_days ?? 0);
  return { windowDays, weekly, monthly };
}

/** Whether its label says a time that has not come. */
export function isAhead({ startedAt }: Pick<RetainedBase, 'startedAt'>, now: Date): boolean {
  return startedAt.getTime() - now.getTime() > aheadMs;
}

/** The first moment that has to be recoverable. */
export function windowStart({ policy, now }: Pick<BaseScene, 'policy' | 'now'>): number {
  return now.getTime() - policy.windowDays * dayMs;
}

/** A base backup that can be restored. */
type Usable<Base extends RetainedBase> = Base & { readonly facts: RetainedFacts };

/** Those whose whole chain is there and no worse than asked for, newest first. */
function restorable<Base extends RetainedBase>(
  bases: readonly Base[],
  worst: 'good' | 'usable',
): Usable<Base>[] {
  const byLabel = new Map(bases.map((base) => [base.label, base]));
  const isFit = (base: Base | undefined): base is Usable<Base> => {
    if (base === undefined || base.facts === null || base.health === 'damaged') return false;
    if (worst === 'good' && base.health !== 'good') return false;
    // A parent is always older, so this ends.
    return base.facts.parent === null || isFit(byLabel.get(base.facts.parent));
  };
  return bases.filter(isFit).sort((a, b) => (a.label < b.label ? 1 : -1));
}

/** The base backups that can be restored, newest first. */
export function usableBases<Base extends RetainedBase>(bases: readonly Base[]): Usable<Base>[] {
  return restorable(bases, 'usable');
}

/** The name of the file that a recovery on a way reads for a segment; `null`: there is none. */
function fileOnWay(way: TimelineWay, number: bigint, nameOf: NameOf): string | null {
  for (const { parts } of way.runs) {
    const part = parts.find(({ first, last }) => first <= number && number <= last);
    if (part === undefined) continue;
    const name = nameOf(part.timeline, number);
    return part.isPartial ? `${name}.partial` : name;
  }
  return null;
}

/** Names a segment. */
export type NameOf = (timeline: number, number: bigint) => string;

/** The last file of a timeline, by what was archived of it. */
export interface TimelineEnd {
  readonly timeline: number;
  /** Its last segment and its history, as far as they are there. */
  readonly files: readonly string[];
}

/** What is asked of the scene again and again. */
export interface Outlook extends BaseScene {
  readonly ends: readonly TimelineEnd[];
  /** Timelines of which more is on its way into the archive. */
  readonly streaming: ReadonlySet<number>;
  readonly nameOf: NameOf;
}

/** Whether something on a timeline may be of the window: what nobody knows may be. */
export function isAlive(outlook: Outlook, timeline: number): boolean {
  if (outlook.streaming.has(timeline)) return true;
  const files = outlook.ends.find((end) => end.timeline === timeline)?.files ?? [];
  const times = files.map((file) => outlook.times.get(file)?.getTime());
  const since = windowStart(outlook);
  return times.length === 0 || times.some((time) => time === undefined || time >= since);
}

/** Whether all that comes behind a base backup on a way lies behind the start of the window too. */
function isBefore({ facts }: Usable<RetainedBase>, way: TimelineWay, outlook: Outlook): boolean {
  const since = windowStart(outlook);
  if (facts.finishedAt.getTime() > since) return false;
  const { tree, times, nameOf } = outlook;
  const file = fileOnWay(way, previousSegmentNumber(facts.stop, tree.segmentBytes), nameOf);
  // Without that segment nothing older gets past it either.
  return file === null || (times.get(file)?.getTime() ?? Number.POSITIVE_INFINITY) <= since;
}

/** Whether a base backup leads to the end of a way. */
export function leadsTo({ facts }: RetainedBase, way: TimelineWay): boolean {
  return facts !== null && isOnWay(way, facts.timeline, facts.stop);
}

function oldText({ startedAt }: RetainedBase, now: Date): string {
  const days = Math.floor((now.getTime() - startedAt.getTime()) / dayMs);
  return `${formatCount(Math.max(0, days), 'day')} old`;
}

/** Some of the base backups, newest first, and what they are. */
type Pools<Base extends RetainedBase> = readonly (readonly [
  what: string,
  pool: readonly Usable<Base>[],
])[];

interface Kept {
  readonly reason: string;
  readonly wal: WalNeed;
}

const needs: readonly WalNeed[] = ['none', 'own', 'since'];

/** One look at base backups of one cluster. */
class Keeping<Base extends RetainedBase> {
  readonly kept = new Map<string, Kept>();
  readonly #bases: readonly Base[];
  readonly #outlook: Outlook;
  readonly #good: readonly Usable<Base>[];
  readonly #usable: readonly Usable<Base>[];

  constructor(bases: readonly Base[], outlook: Outlook) {
    this.#bases = bases;
    this.#outlook = outlook;
    this.#good = restorable(bases, 'good');
    this.#usable = restorable(bases, 'usable');
  }

  /** The first reason is told; the largest need counts. */
  #keep({ label, facts }: Base, reason: string, wal: WalNeed): void {
    const before = this.kept.get(label);
    const need = facts === null ? 'none' : wal;
    const larger = needs[Math.max(needs.indexOf(need), needs.indexOf(before?.wal ?? 'none'))];
    this.kept.set(label, { reason: before?.reason ?? reason, wal: larger ?? need });
  }

  look(): void {
    const { now, policy } = this.#outlook;
    for (const base of this.#bases) {
      if (base.promise !== null) this.#keep(base, base.promise, 'since');
      if (isAhead(base, now)) this.#keep(base, 'dated in the future', 'since');
    }
    const systems = new Set(this.#usable.map(({ facts }) => facts.systemIdentifier));
    const pools = [...systems].map((system) => this.#poolsOf(system));
    for (const each of pools) this.#keepNewest(each);
    for (const base of this.#bases) {
      if (base.startedAt.getTime() < windowStart(this.#outlook)) continue;
      const days = formatCount(policy.windowDays, 'day');
      this.#keep(base, `${oldText(base, now)}, kept for ${days}`, 'since');
    }
    for (const each of pools) this.#keepWindow(each);
    this.#keepDamaged();
    this.#keepTier('weekly', policy.weekly, weekOf);
    this.#keepTier('monthly', policy.monthly, monthOf);
    this.#keepParents();
    this.#keepBehindUnknown();
    this.#keepParents();
  }

  /**
   * Those of one server: another one's WAL is of no use for them. An increment reaches all that its
   * whole backup reaches, as long as no link of it is lost: so the whole ones count for themselves.
   */
  #poolsOf(system: string): Pools<Base> {
    const isOf = ({ facts }: Usable<Base>) => facts.systemIdentifier === system;
    const isWhole = ({ facts }: Usable<Base>) => facts.parent === null;
    const [good, usable] = [this.#good.filter(isOf), this.#usable.filter(isOf)];
    return [
      ['good', good],
      ['good whole', good.filter(isWhole)],
      ['usable', usable],
      ['usable whole', usable.filter(isWhole)],
    ];
  }

  #keepNewest(pools: Pools<Base>): void {
    for (const [what, pool] of pools) {
      const newest = pool.find((base) => !isAhead(base, this.#outlook.now));
      if (newest === undefined) continue;
      this.#keep(newest, `the youngest ${what} base backup of the cluster`, 'since');
    }
  }

  #keepWindow(pools: Pools<Base>): void {
    for (const way of this.#outlook.tree.timelines) {
      if (!isAlive(this.#outlook, way.timeline)) continue;
      for (const [, pool] of pools) {
        this.#keepAnchor(pool, way);
        this.#keepYoungOn(pool, way);
      }
    }
  }

  /** The last one before the window: every moment of it is reached from there, as far as any. */
  #keepAnchor(pool: readonly Usable<Base>[], way: TimelineWay): void {
    const before = pool.filter((base) => leadsTo(base, way) && isBefore(base, way, this.#outlook));
    const [first, ...rest] = before;
    if (first === undefined) return;
    const last = rest.reduce(
      (best, base) => (base.facts.start > best.facts.start ? base : best),
      first,
    );
    const text = `the recovery window of timeline ${way.timeline} begins behind it`;
    this.#keep(last, text, 'since');
  }

  /** Begun before the window, but a moment of the window may only be reached from it. */
  #keepYoungOn(pool: readonly Usable<Base>[], way: TimelineWay): void {
    for (const base of pool) {
      if (!leadsTo(base, way) || isBefore(base, way, this.#outlook)) continue;
      this.#keep(base, 'what was written behind it lies in the recovery window', 'since');
    }
  }

  /** A damaged one may be all that is left. */
  #keepDamaged(): void {
    const { now } = this.#outlook;
    const newestGood = this.#good.find((base) => !isAhead(base, now));
    const good = new Set(this.#good.map(({ label }) => label));
    for (const base of this.#bases) {
      if (good.has(base.label)) continue;
      if (newestGood !== undefined && newestGood.label > base.label) continue;
      this.#keep(base, 'damaged, but no younger good base backup stays', 'since');
    }
  }

  /** The first of each week or month: a younger one never takes its place. */
  #keepTier(tier: string, rule: TierRule, bucketOf: (at: Date) => string): void {
    const { now } = this.#outlook;
    const firsts = new Map<string, Usable<Base>>();
    // Newest first, so that the oldest of a bucket stays in the map.
    for (const base of this.#good) {
      if (base.facts.parent !== null || isAhead(base, now)) continue;
      firsts.set(bucketOf(base.startedAt), base);
    }
    let younger = 0;
    for (const base of firsts.values()) {
      const isYoung = now.getTime() - base.startedAt.getTime() <= rule.days * dayMs;
      if (!isYoung && younger >= rule.count) continue;
      younger += 1;
      const until = `kept for ${formatCount(rule.days, 'day')}`;
      const reason = isYoung ? until : `one of the last ${rule.count}`;
      this.#keep(base, `${tier}: ${reason}`, 'own');
    }
  }

  /** Nobody knows what an unreadable one needs: at the most what the one before it does. */
  #keepBehindUnknown(): void {
    for (const { label, facts } of this.#bases) {
      if (facts !== null || !this.kept.has(label)) continue;
      const older = this.#usable.find((base) => base.label < label);
      if (older !== undefined) this.#keep(older, `${label} may need what is behind it`, 'since');
    }
  }

  #keepParents(): void {
    const byLabel = new Map(this.#bases.map((base) => [base.label, base]));
    // A parent is older, so that all that it needs comes behind it.
    for (const { label, facts } of this.#bases.toSorted((a, b) => (a.label < b.label ? 1 : -1))) {
      const parent = byLabel.get(facts?.parent ?? '');
      if (parent !== undefined && this.kept.has(label)) {
        this.#keep(parent, `${label} builds upon it`, 'own');
      }
    }
  }
}

/** Weeks of seven days from Monday, UTC: the first of January 1970 was a Thursday. */
function weekOf(at: Date): string {
  return String(Math.floor((at.getTime() / dayMs + 3) / 7));
}

function monthOf(at: Date): string {
  return at.toISOString().slice(0, 7);
}

function removal(base: RetainedBase, { now, policy }: Outlook): string {
  const old = oldText(base, now);
  if (base.health === 'damaged') return `damaged, ${old}, and a younger good one stays`;
  const days = formatCount(policy.windowDays, 'day');
  return `${old}, and neither the window of ${days} nor a tier needs it`;
}

/**
 * Decides about the base backups of one cluster. What is left is asked again, until nothing more
 * goes: after the plan was carried out the same question removes nothing.
 *
 * @param bases in any order; no label stands twice
 * @returns oldest first
 */
export function decideBases<Base extends RetainedBase>(
  bases: readonly Base[],
  outlook: Outlook,
): BaseDecision<Base>[] {
  const gone = new Set<Base>();
  for (;;) {
    const left = bases.filter((base) => !gone.has(base));
    const keeping = new Keeping(left, outlook);
    keeping.look();
    const going = left.filter(({ label }) => !keeping.kept.has(label));
    for (const base of going) gone.add(base);
    if (going.length > 0) continue;
    return bases
      .toSorted((a, b) => (a.label < b.label ? -1 : 1))
      .map((base): BaseDecision<Base> => {
        const kept = keeping.kept.get(base.label);
        return kept === undefined
          ? { base, action: 'remove', reason: removal(base, outlook), wal: 'none' }
          : { base, action: 'keep', ...kept };
      });
  }
}
