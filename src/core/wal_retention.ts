/**
 * Which files of a WAL archive are kept, and why. Kept is what a base backup that stays needs: all
 * since it began, on every timeline that it leads to, or only what makes it consistent. What goes
 * lies before that or beside it, so that no gap is made: what stays begins at a base backup that
 * stays. Pure.
 */

import {
  type BaseDecision,
  type BaseScene,
  decideBases,
  isAhead,
  isAlive,
  leadsTo,
  type NameOf,
  type Outlook,
  type TimelineEnd,
  usableBases,
  windowStart,
} from './base_retention.ts';
import { previousSegmentNumber, segmentName, segmentNumber } from './lsn.ts';
import type { RetainedBase } from './retained_base.ts';
import { formatCount } from './units.ts';
import type { ArchiveListing } from './wal_listing.ts';
import { turnsOf, type WalTree, walTree } from './wal_ranges.ts';

/** What is known of the incremental side of a cluster. */
export interface IncrementalScene<Base extends RetainedBase>
  extends Pick<BaseScene, 'times' | 'policy' | 'now'> {
  readonly bases: readonly Base[];
  readonly listing: ArchiveListing;
  /** Of the server that has claimed the archive; `null` where that is not known. */
  readonly claimedBy: string | null;
  /** Timelines of which the stream holds what is not in the archive yet. */
  readonly streaming: ReadonlySet<number>;
  /** Whether `times` has every segment: only then holes in time are looked for. */
  readonly isTimed: boolean;
}

/** Files of one timeline that follow each other, with the same fate. */
export interface WalDecision {
  readonly timeline: number;
  /** As PostgreSQL names the files, oldest first; at least one segment or backup history. */
  readonly names: readonly string[];
  readonly action: 'keep' | 'remove';
  readonly reason: string;
}

/** What becomes of the base backups and the WAL of one cluster. */
export interface IncrementalPlan<Base extends RetainedBase = RetainedBase> {
  /** Oldest first. */
  readonly bases: readonly BaseDecision<Base>[];
  /** By timeline and position. History files of timelines always stay. */
  readonly wal: readonly WalDecision[];
  /** Why nothing of it may be done without a word from the operator; empty: go on. */
  readonly guards: readonly string[];
}

const dayMs = 86_400_000;
/** A plan that removes so few base backups is never too large. */
const unguardedMax = 3;
/** No server that works leaves so many windows of time without a trace. */
const holeWindows = 2;

/** Segments that are kept, from `first` to `last`; `null`: without end. */
export interface KeepRule {
  readonly timeline: number;
  readonly first: bigint;
  readonly last: bigint | null;
  /** The timeline on the way to which recoveries go on behind it; `null`: none does. */
  readonly readFor: number | null;
  readonly reason: string;
}

function nameOfSegments(segmentBytes: number): NameOf {
  return (timeline, number) => segmentName(timeline, number, segmentBytes);
}

/** What was archived last of each timeline, complete and unfinished, and its history. */
function endsOf({ segments, histories }: ArchiveListing): TimelineEnd[] {
  const last = new Map(segments.map(({ timeline, number }) => [timeline, number]));
  const ends = segments.filter(({ timeline, number }) => last.get(timeline) === number);
  const timelines = new Set([...segments, ...histories].map(({ timeline }) => timeline));
  return [...timelines].map((timeline) => ({
    timeline,
    files: [...ends, ...histories].filter((file) => file.timeline === timeline).map((f) => f.name),
  }));
}

/** What the base backups are looked at with. */
function outlookOf<Base extends RetainedBase>(scene: IncrementalScene<Base>): Outlook {
  const { listing, times, streaming, policy, now } = scene;
  const nameOf = nameOfSegments(listing.segmentBytes);
  const ends = endsOf(listing);
  return { tree: walTree(listing), times, streaming, policy, now, ends, nameOf };
}

/**
 * Of which files of the archive the time has to be known for a plan: few, also of a large one.
 *
 * @returns names as PostgreSQL gives them
 */
export function timesNeeded(bases: readonly RetainedBase[], listing: ArchiveListing): string[] {
  const { timelines, segmentBytes } = walTree(listing);
  const nameOf = nameOfSegments(segmentBytes);
  const present = new Set(listing.segments.map(({ name }) => name));
  const names = new Set(endsOf(listing).flatMap(({ files }) => files));
  for (const { facts } of bases) {
    if (facts === null) continue;
    const number = previousSegmentNumber(facts.stop, segmentBytes);
    for (const { timeline } of timelines) {
      const name = nameOf(timeline, number);
      for (const form of [name, `${name}.partial`]) if (present.has(form)) names.add(form);
    }
  }
  return [...names];
}

/** Why nothing of the WAL can go, whatever its age; `null`: nothing of the kind. */
function holdOf<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
  kept: readonly BaseDecision<Base>[],
): string | null {
  const usable = usableBases(kept.map(({ base }) => base));
  if (usable.length === 0) return 'no base backup can be used';
  const systems = new Set(
    scene.bases.flatMap(({ facts }) => (facts === null ? [] : [facts.systemIdentifier])),
  );
  if (scene.claimedBy !== null) systems.add(scene.claimedBy);
  if (systems.size > 1) {
    const identifiers = [...systems].sort().join(', ');
    return `nobody knows which of several servers wrote it (system identifiers ${identifiers})`;
  }
  const unknown = kept.find(
    ({ base }) => base.facts === null && !usable.some(({ label }) => label < base.label),
  );
  return unknown === undefined ? null : `nobody knows what ${unknown.base.label} needs`;
}

/** What one base backup keeps. */
function rulesOf({ base, wal }: BaseDecision, { timelines, segmentBytes }: WalTree): KeepRule[] {
  const { facts, label } = base;
  if (facts === null || wal === 'none') return [];
  const own = facts.walRanges.map(({ timeline, start, end }): KeepRule => {
    const first = segmentNumber(start, segmentBytes);
    const last = previousSegmentNumber(end, segmentBytes);
    return { timeline, first, last, readFor: null, reason: `makes ${label} consistent` };
  });
  if (wal === 'own') return own;
  const begin = segmentNumber(facts.start, segmentBytes);
  const since = timelines
    .filter((way) => leadsTo(base, way))
    .flatMap((way) => {
      const turns = turnsOf(way.timeline, way.ancestors, segmentBytes);
      return turns.map((turn) => ({ ...turn, readFor: way.timeline }));
    })
    .filter(({ last }) => last === null || last >= begin)
    .map(({ first, ...rest }): KeepRule => {
      const from = first > begin ? first : begin;
      return { ...rest, first: from, reason: `recoveries from ${label} read it` };
    });
  return [...since, ...own];
}

/** What is kept although no base backup asks for it. */
function rulesOfTimelines(kept: readonly BaseDecision[], outlook: Outlook): KeepRule[] {
  const { timelines, segmentBytes } = outlook.tree;
  const since = new Set(kept.filter(({ wal }) => wal === 'since').map(({ base }) => base));
  const reaching = usableBases(kept.map(({ base }) => base)).filter((base) => since.has(base));
  return timelines.flatMap((way): KeepRule[] => {
    const { timeline, origin, ancestors } = way;
    const all = { timeline, first: 0n, last: null, readFor: null };
    if (origin.kind === 'unknown') {
      const why = origin.problem ?? 'its history file is missing';
      return [{ ...all, reason: `where timeline ${timeline} comes from is not known: ${why}` }];
    }
    const isReached = reaching.some((base) => leadsTo(base, way));
    if (isReached || !isAlive(outlook, timeline)) return [];
    const first = turnsOf(timeline, ancestors, segmentBytes).at(-1)?.first ?? 0n;
    return [{ ...all, first, reason: `no base backup leads to timeline ${timeline} yet` }];
  });
}

interface WalItem {
  readonly timeline: number;
  readonly number: bigint;
  readonly name: string;
}

/** Joins files that follow each other and have the same fate. */
function toDecisions(items: readonly WalItem[], reasonOf: (item: WalItem) => string | null) {
  const decisions: {
    timeline: number;
    names: string[];
    action: 'keep' | 'remove';
    reason: string;
  }[] = [];
  for (const item of items) {
    const kept = reasonOf(item);
    const action = kept === null ? 'remove' : 'keep';
    const reason = kept ?? 'nothing that stays needs it';
    const last = decisions.at(-1);
    const { timeline, name } = item;
    if (last?.timeline === timeline && last.action === action && last.reason === reason) {
      last.names.push(name);
    } else decisions.push({ timeline, names: [name], action, reason });
  }
  return decisions;
}

/** Segments, and the histories of backups, in the order of their positions. */
function itemsOf({ segments, backups }: ArchiveListing): WalItem[] {
  return [...segments, ...backups].sort((a, b) => {
    if (a.timeline !== b.timeline) return a.timeline - b.timeline;
    if (a.number !== b.number) return a.number < b.number ? -1 : 1;
    return a.name < b.name ? -1 : 1;
  });
}

/** Whether a rule speaks of a segment, or of any from `number` to `last`. */
export function isCovered(rule: KeepRule, number: bigint, last = number): boolean {
  return rule.first <= last && (rule.last === null || number <= rule.last);
}

/**
 * What is kept of an archive.
 *
 * @param kept base backups that stay
 */
export function keepRules<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
  kept: readonly BaseDecision<Base>[],
): KeepRule[] {
  const outlook = outlookOf(scene);
  const hold = holdOf(scene, kept);
  if (hold !== null) {
    const timelines = new Set(itemsOf(scene.listing).map(({ timeline }) => timeline));
    const all = { first: 0n, last: null, readFor: null, reason: hold };
    return [...timelines].map((timeline) => ({ timeline, ...all }));
  }
  return [
    ...rulesOfTimelines(kept, outlook),
    ...kept.flatMap((decision) => rulesOf(decision, outlook.tree)),
  ];
}

function decideWal<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
  kept: readonly BaseDecision<Base>[],
): WalDecision[] {
  // What reaches farthest back and has no end tells of most: so there are few ranges.
  const isLonger = (a: KeepRule, b: KeepRule) => {
    if ((a.last === null) !== (b.last === null)) return a.last === null ? -1 : 1;
    return a.first < b.first ? -1 : Number(a.first > b.first);
  };
  const byTimeline = new Map<number, KeepRule[]>();
  for (const rule of keepRules(scene, kept).sort(isLonger)) {
    byTimeline.set(rule.timeline, [...(byTimeline.get(rule.timeline) ?? []), rule]);
  }
  return toDecisions(itemsOf(scene.listing), ({ timeline, number }) => {
    const rules = byTimeline.get(timeline) ?? [];
    return rules.find((rule) => isCovered(rule, number))?.reason ?? null;
  });
}

/** Why the clock may be wrong, or the server was away: a long time that has left no trace. */
function holeGuard<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
  kept: readonly BaseDecision<Base>[],
): string[] {
  const { now, policy, isTimed, times } = scene;
  const finished = kept.flatMap(({ base, wal }) =>
    wal === 'since' && base.facts !== null ? [base.facts.finishedAt.getTime()] : [],
  );
  if (!isTimed || finished.length === 0) return [];
  const begin = Math.min(windowStart(scene), ...finished);
  const archived = scene.listing.segments.map(({ name }) => times.get(name)?.getTime() ?? 0);
  const traces = [...finished, ...archived, now.getTime()]
    .filter((time) => time >= begin && time <= now.getTime())
    .sort((a, b) => a - b);
  const hole = traces.findIndex(
    (time, at) => time - (traces[at - 1] ?? begin) > holeWindows * policy.windowDays * dayMs,
  );
  if (hole === -1) return [];
  const [from, to] = [traces[hole - 1] ?? begin, traces[hole] ?? begin];
  const [since, until] = [new Date(from).toISOString(), new Date(to).toISOString()];
  return [
    `nothing was archived from ${since} to ${until}: ` +
      'a clock is or was wrong, or the server was away',
  ];
}

function guardsOf<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
  bases: readonly BaseDecision<Base>[],
  wal: readonly WalDecision[],
): string[] {
  const removed = bases.filter(({ action }) => action === 'remove').length;
  if (removed === 0 && wal.every(({ action }) => action === 'keep')) return [];
  const { now } = scene;
  const guards: string[] = [];
  const ahead = bases.filter(({ base }) => isAhead(base, now));
  const [first] = ahead;
  if (first !== undefined) {
    const more = ahead.length > 1 ? ` and ${ahead.length - 1} more are` : ' is';
    guards.push(
      `${first.base.label}${more} dated in the future (now: ${now.toISOString()}): ` +
        'a clock is or was wrong',
    );
  }
  if (removed > unguardedMax && removed * 2 > bases.length) {
    const all = formatCount(bases.length, 'base backup');
    guards.push(`${removed} of ${all} would go: more than half`);
  }
  const kept = bases.filter(({ action }) => action === 'keep');
  return [...guards, ...holeGuard(scene, kept)];
}

/**
 * Decides about the base backups and the WAL of one cluster. After the plan was carried out, by
 * half or whole, the same question never asks for what a kept base backup needs.
 */
export function planIncremental<Base extends RetainedBase>(
  scene: IncrementalScene<Base>,
): IncrementalPlan<Base> {
  const bases = decideBases(scene.bases, outlookOf(scene));
  const kept = bases.filter(({ action }) => action === 'keep');
  const wal = decideWal(scene, kept);
  return { bases, wal, guards: guardsOf(scene, bases, wal) };
}
