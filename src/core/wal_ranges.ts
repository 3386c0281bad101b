/**
 * What can be replayed from a WAL archive: the timelines as a tree, and on the way to each of them
 * the unbroken runs of segments and the gaps (PostgreSQL manual, "Timelines"; which file a recovery
 * reads at a switch: XLogFileReadAnyTLI in src/backend/access/transam/xlogrecovery.c).
 */

import { type Lsn, segmentName, segmentNumber, segmentStart } from './lsn.ts';
import { type Ancestor, stretchesOf } from './timeline.ts';
import type { ArchiveListing } from './wal_listing.ts';

/** Segments of one timeline, each there, from number `first` to number `last`. */
export interface WalPart {
  readonly timeline: number;
  readonly first: bigint;
  readonly last: bigint;
  /** It is one segment, of which only the unfinished form is there. */
  readonly isPartial: boolean;
}

/** WAL that can be replayed from its begin to its end without a break. */
export interface WalRun {
  /** In the order in which they are replayed; at least one. */
  readonly parts: readonly WalPart[];
  readonly begin: Lsn;
  /**
   * Where its last segment ends; of an unfinished one the highest position that is known to be in
   * it, from the timelines that branched off there.
   */
  readonly end: Lsn;
}

/** Segments that are missing between two runs, on the timeline that should have them. */
export interface WalGap {
  readonly timeline: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** Where a timeline comes from. */
export type TimelineOrigin =
  | { readonly kind: 'first' }
  | { readonly kind: 'branch'; readonly parent: number; readonly switchLsn: Lsn }
  /** Its history file is missing, or cannot be used: then the reason is told. */
  | { readonly kind: 'unknown'; readonly problem: string | null };

/** A timeline, and what there is on the way from the oldest WAL to its end. */
export interface TimelineWay {
  readonly timeline: number;
  readonly origin: TimelineOrigin;
  /** Oldest first. */
  readonly ancestors: readonly Ancestor[];
  /** Its own segments that were archived, complete or not. */
  readonly segmentCount: number;
  /** Along the way, oldest first; those of the ancestors too. */
  readonly runs: readonly WalRun[];
  /** Between the runs, oldest first. */
  readonly gaps: readonly WalGap[];
}

/** All timelines of an archive. */
export interface WalTree {
  readonly segmentBytes: number;
  /** Each behind its parent, and with all of its descendants right behind it. */
  readonly timelines: readonly TimelineWay[];
}

/** What there is of one timeline. */
interface Holding {
  /** Complete segments, in stretches without a break. */
  readonly complete: readonly WalPart[];
  /** Numbers of unfinished segments whose complete form is missing. */
  readonly partials: readonly bigint[];
  readonly count: number;
}

/** Segment numbers that one timeline is responsible for on a way. */
export interface Turn {
  readonly timeline: number;
  readonly first: bigint;
  /** `null`: without end. */
  readonly last: bigint | null;
}

const nothing: Holding = { complete: [], partials: [], count: 0 };

/** @param segments sorted */
function holdings({ segments }: ArchiveListing): Map<number, Holding> {
  const found = new Map<number, { complete: WalPart[]; partials: bigint[]; count: number }>();
  for (const { timeline, number, isPartial } of segments) {
    const holding = found.get(timeline) ?? { complete: [], partials: [], count: 0 };
    found.set(timeline, holding);
    holding.count += 1;
    const last = holding.complete.at(-1);
    if (isPartial) {
      if (last?.last !== number) holding.partials.push(number);
    } else if (last !== undefined && last.last + 1n === number) {
      holding.complete[holding.complete.length - 1] = { ...last, last: number };
    } else {
      holding.complete.push({ timeline, first: number, last: number, isPartial: false });
    }
  }
  return found;
}

/**
 * Which timeline's files are read where: the segment in which a timeline begins is read from that
 * timeline, which has copied what its parent wrote into it before the switch.
 *
 * @returns oldest first
 */
export function turnsOf(
  timeline: number,
  ancestors: readonly Ancestor[],
  segmentBytes: number,
): readonly Turn[] {
  return stretchesOf(timeline, ancestors)
    .map(({ timeline: each, begin, end }): Turn => {
      const first = segmentNumber(begin, segmentBytes);
      return {
        timeline: each,
        first,
        last: end === null ? null : segmentNumber(end, segmentBytes) - 1n,
      };
    })
    .filter(({ first, last }) => last === null || first <= last);
}

function clip(part: WalPart, { first, last }: Turn): WalPart | null {
  const from = part.first > first ? part.first : first;
  const to = last !== null && part.last > last ? last : part.last;
  return from > to ? null : { ...part, first: from, last: to };
}

/** The parts that lie on a way, in the order of their numbers. */
function partsOn(turns: readonly Turn[], held: ReadonlyMap<number, Holding>): WalPart[] {
  const parts: WalPart[] = [];
  for (const turn of turns) {
    const { complete, partials } = held.get(turn.timeline) ?? nothing;
    for (const part of complete) {
      const clipped = clip(part, turn);
      if (clipped !== null) parts.push(clipped);
    }
    // An unfinished segment is the end of its timeline: only the way to that timeline ends there.
    if (turn.last !== null) continue;
    for (const number of partials) {
      if (number < turn.first) continue;
      parts.push({ timeline: turn.timeline, first: number, last: number, isPartial: true });
    }
  }
  return parts.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
}

/** The numbers from `first` to `last`, by the timeline that should have them. */
function gapsBetween(turns: readonly Turn[], first: bigint, last: bigint): WalGap[] {
  if (first > last) return [];
  return turns
    .map((turn) => {
      return clip({ timeline: turn.timeline, first, last, isPartial: false }, turn);
    })
    .filter((part) => part !== null)
    .map(({ timeline, first: from, last: to }) => ({ timeline, first: from, last: to }));
}

/** The highest position that the unfinished segment of a timeline is known to hold. */
function partialEnd(tree: ArchiveListing, timeline: number, number: bigint): Lsn {
  const { segmentBytes, histories } = tree;
  let end = segmentStart(number, segmentBytes);
  for (const { ancestors } of histories) {
    const left = ancestors?.find((ancestor) => ancestor.timeline === timeline)?.switchLsn;
    if (left !== undefined && left > end && (left - 1n) / BigInt(segmentBytes) === number) {
      end = left;
    }
  }
  return end;
}

/** Joins the parts of a way into runs, and tells what lies between them. */
function joinParts(listing: ArchiveListing, turns: readonly Turn[], parts: readonly WalPart[]) {
  const groups: WalPart[][] = [];
  const gaps: WalGap[] = [];
  let previous: WalPart | undefined;
  for (const part of parts) {
    const group = groups.at(-1);
    // Behind an unfinished segment nothing can be replayed: its complete form is what is missing.
    const reached = previous === undefined ? part.first : previous.last + 1n;
    if (group !== undefined && previous?.isPartial === false && reached === part.first) {
      group.push(part);
    } else {
      const missing = previous?.isPartial === true ? previous.last : reached;
      gaps.push(...gapsBetween(turns, missing, part.first - 1n));
      groups.push([part]);
    }
    previous = part;
  }
  const runs = groups.map((group): WalRun => {
    const [first, last] = [group[0], group.at(-1)] as [WalPart, WalPart];
    return {
      parts: group,
      begin: segmentStart(first.first, listing.segmentBytes),
      end: last.isPartial
        ? partialEnd(listing, last.timeline, last.last)
        : segmentStart(last.last + 1n, listing.segmentBytes),
    };
  });
  return { runs, gaps };
}

function originOf(
  timeline: number,
  history: ArchiveListing['histories'][number] | undefined,
): TimelineOrigin {
  const last = history?.ancestors?.at(-1);
  if (last !== undefined) {
    return { kind: 'branch', parent: last.timeline, switchLsn: last.switchLsn };
  }
  if (timeline === 1) return { kind: 'first' };
  return { kind: 'unknown', problem: history?.problem ?? null };
}

/** Puts each timeline behind its parent; one whose parent is not there stands by itself. */
function inTreeOrder(ways: readonly TimelineWay[]): TimelineWay[] {
  const known = new Set(ways.map(({ timeline }) => timeline));
  const children = new Map<number | null, TimelineWay[]>();
  for (const way of ways) {
    const { origin } = way;
    const parent = origin.kind === 'branch' && known.has(origin.parent) ? origin.parent : null;
    children.set(parent, [...(children.get(parent) ?? []), way]);
  }
  const below = (parent: number | null): TimelineWay[] =>
    (children.get(parent) ?? []).flatMap((way) => [way, ...below(way.timeline)]);
  return below(null);
}

/** Works out what can be replayed from an archive. */
export function walTree(listing: ArchiveListing): WalTree {
  const { segmentBytes, histories } = listing;
  const held = holdings(listing);
  const byTimeline = new Map(histories.map((history) => [history.timeline, history]));
  const numbers = [...new Set([...held.keys(), ...byTimeline.keys()])].sort((a, b) => a - b);
  const ways = numbers.map((timeline): TimelineWay => {
    const history = byTimeline.get(timeline);
    const ancestors = history?.ancestors ?? [];
    const turns = turnsOf(timeline, ancestors, segmentBytes);
    const { runs, gaps } = joinParts(listing, turns, partsOn(turns, held));
    const segmentCount = held.get(timeline)?.count ?? 0;
    return { timeline, origin: originOf(timeline, history), ancestors, segmentCount, runs, gaps };
  });
  return { segmentBytes, timelines: inTreeOrder(ways) };
}

/** Something that two history files tell differently. */
export interface Contradiction {
  readonly timeline: number;
  readonly message: string;
}

/**
 * Compares history files: that of a timeline repeats all of its parent's and adds one line
 * (writeTimeLineHistory).
 */
export function contradictions(
  histories: readonly { readonly timeline: number; readonly ancestors: readonly Ancestor[] }[],
): Contradiction[] {
  const byTimeline = new Map(histories.map((each) => [each.timeline, each.ancestors]));
  const textOf = (ancestors: readonly Ancestor[]) =>
    ancestors.map(({ timeline, switchLsn }) => `${timeline} ${switchLsn}`).join(', ');
  return histories.flatMap(({ timeline, ancestors }) => {
    const parent = ancestors.at(-1)?.timeline;
    const own = parent === undefined ? undefined : byTimeline.get(parent);
    if (own === undefined || textOf(own) === textOf(ancestors.slice(0, -1))) return [];
    return [{ timeline, message: `tells other ancestors than that of timeline ${parent}` }];
  });
}

/** Whether WAL of a timeline at that position leads to the end of a way. */
export function isOnWay(way: TimelineWay, timeline: number, lsn: Lsn): boolean {
  return stretchesOf(way.timeline, way.ancestors).some(
    ({ timeline: each, begin, end }) =>
      each === timeline && lsn >= begin && (end === null || lsn <= end),
  );
}

/** The run of a way that holds the segment with the byte at a position, or `null` for none. */
export function runAt(way: TimelineWay, lsn: Lsn, segmentBytes: number): WalRun | null {
  const number = segmentNumber(lsn, segmentBytes);
  return (
    way.runs.find(({ parts }) =>
      parts.some(({ first, last }) => first <= number && number <= last),
    ) ?? null
  );
}

/** One segment of a run. */
export interface RunSegment {
  /** With `.partial` where only that form is there. */
  readonly name: string;
  readonly timeline: number;
  readonly number: bigint;
}

/** The segments of a run, in the order in which they are replayed. */
export function segmentsOfRun(run: WalRun, segmentBytes: number): RunSegment[] {
  return run.parts.flatMap(({ timeline, first, last, isPartial }) =>
    Array.from({ length: Number(last - first) + 1 }, (_, index) => {
      const number = first + BigInt(index);
      const name = segmentName(timeline, number, segmentBytes);
      return { name: isPartial ? `${name}.partial` : name, timeline, number };
    }),
  );
}

/** How many segments a gap or a part of a run has. */
export function segmentCountOf({ first, last }: Pick<WalGap, 'first' | 'last'>): number {
  return Number(last - first) + 1;
}
