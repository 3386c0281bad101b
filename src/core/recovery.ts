/**
 * From a recovery target to the base backup, the timeline and the range of WAL that reach it, or
 * why nothing does. The rules are those of recoveryStopsBefore and recoveryStopsAfter in
 * PostgreSQL's xlogrecovery.c: a target is reached at a record, so one that lies behind the last
 * such record ends in FATAL, and so does one before the cluster is consistent. Pure: what segments
 * hold is read step by step, and only as far as it decides.
 */

import { chainOf } from './base_chain.ts';
import type { BaseManifest } from './base_manifest.ts';
import { type Lsn, requireLsn, segmentNumber } from './lsn.ts';
import type { RecoveryTarget, TargetTimeline } from './recovery_target.ts';
import { hasTransaction, type WalIndex } from './wal_index.ts';
import {
  isOnWay,
  type RunSegment,
  runAt,
  segmentsOfRun,
  type TimelineWay,
  type WalGap,
  type WalTree,
} from './wal_ranges.ts';

/** What counts of a base backup here. */
export interface RecoveryBase {
  readonly label: string;
  /** `null`: it cannot be used. */
  readonly manifest: Pick<
    BaseManifest,
    | 'parent'
    | 'server'
    | 'damaged_pages'
    | 'start_lsn'
    | 'stop_lsn'
    | 'start_timeline'
    | 'stop_timeline'
    | 'started_at'
    | 'finished_at'
  > | null;
  /** What the latest check has found it to be. */
  readonly check: { readonly kind: string } | null;
}

/** What is wanted. */
export interface RecoveryRequest {
  readonly target: RecoveryTarget;
  /** Whether the target itself is recovered too: only for a time, an LSN, a transaction. */
  readonly isInclusive: boolean;
  readonly timeline: TargetTimeline;
}

/** A base backup, and the WAL that can be replayed upon it. */
export interface Candidate<Base extends RecoveryBase> {
  readonly base: Base;
  /** What is put together: the whole one first, `base` itself last. */
  readonly chain: readonly [Base, ...Base[]];
  /** Which is followed. */
  readonly timeline: number;
  readonly start: Lsn;
  /** Where the cluster is consistent. */
  readonly stop: Lsn;
  /**
   * From the segment with `start` on, without a break, complete ones; empty where the archive lacks
   * that segment: then the backup alone is all that can be recovered.
   */
  readonly segments: readonly RunSegment[];
  /** What is missing right behind them while later WAL is there; `null` where they are all. */
  readonly gap: WalGap | null;
}

/**
 * Segments from the one with a position on. An unfinished one is the last; the server takes it for
 * the end of the WAL, so up to the end of the backup all are complete.
 */
function segmentsFrom(
  way: TimelineWay,
  lsn: Lsn,
  lastNumber: bigint,
  segmentBytes: number,
): RunSegment[] {
  const run = runAt(way, lsn, segmentBytes);
  if (run === null) return [];
  const first = segmentNumber(lsn, segmentBytes);
  return segmentsOfRun(run, segmentBytes).filter(
    ({ number, name }) => number >= first && (number > lastNumber || !name.endsWith('.partial')),
  );
}

/** The ways that a request may go for one base backup: none, or one. */
function wayFor(
  { timelines }: WalTree,
  wanted: TargetTimeline,
  stopTimeline: number,
): TimelineWay | null {
  const newest = Math.max(stopTimeline, ...timelines.map(({ timeline }) => timeline));
  const number = wanted === 'current' ? stopTimeline : wanted === 'latest' ? newest : wanted;
  const way = timelines.find(({ timeline }) => timeline === number);
  if (way !== undefined) return way;
  // Of a backup whose timeline has no WAL in the archive, the backup itself is there.
  if (number !== stopTimeline) return null;
  const origin = { kind: 'unknown', problem: null } as const;
  return { timeline: number, origin, ancestors: [], segmentCount: 0, runs: [], gaps: [] };
}

/**
 * The base backups from which the wanted timeline can be followed, newest first: of incremental
 * ones those whose whole chain is there. Where a link of it is lost, an older backup and the WAL
 * since have all that the younger one has.
 *
 * @param bases of one cluster, in any order
 */
export function candidatesFor<Base extends RecoveryBase>(
  bases: readonly Base[],
  tree: WalTree,
  timeline: TargetTimeline,
): Candidate<Base>[] {
  return bases
    .toSorted((a, b) => (a.label < b.label ? 1 : -1))
    .flatMap((base) => {
      const { manifest } = base;
      const { links: chain } = chainOf(bases, base.label);
      if (manifest === null || chain === null) return [];
      const [start, stop] = [requireLsn(manifest.start_lsn), requireLsn(manifest.stop_lsn)];
      const way = wayFor(tree, timeline, manifest.stop_timeline);
      if (way === null || !isOnWay(way, manifest.stop_timeline, stop)) return [];
      const lastNumber = (stop === 0n ? 0n : stop - 1n) / BigInt(tree.segmentBytes);
      const found = segmentsFrom(way, start, lastNumber, tree.segmentBytes);
      // Without the WAL up to its end the server would not get past a gap.
      const segments = (found.at(-1)?.number ?? -1n) >= lastNumber ? found : [];
      const firstNumber = segmentNumber(start, tree.segmentBytes);
      const gap = way.gaps.find(({ last }) => last >= firstNumber) ?? null;
      return [{ base, chain, timeline: way.timeline, start, stop, segments, gap }];
    });
}

/** What a segment holds, or why nobody can tell: then nothing behind it can be replayed. */
export interface KnownSegment {
  readonly segment: RunSegment;
  readonly index: WalIndex | null;
  readonly problem: { readonly message: string } | null;
}

/** What is known so far. */
export interface Verdict {
  readonly kind: /** The server stops there. */
    | 'reached'
    /** The target lies before the backup is consistent: an older one is needed. */
    | 'too-early'
    /** All WAL is replayed, and no record is the one to stop at. */
    | 'beyond'
    /** Of more segments has to be known what they hold. */
    | 'undecided';
  /** The segment in which the server stops; `null` unless it is known. */
  readonly stopsIn: RunSegment | null;
}

const undecided: Verdict = { kind: 'undecided', stopsIn: null };
const beyond: Verdict = { kind: 'beyond', stopsIn: null };
const tooEarly: Verdict = { kind: 'too-early', stopsIn: null };

/** Whether every end of a transaction in a segment surely lies behind a position. */
function isAllBehind(index: WalIndex, stop: Lsn): boolean {
  const { first_commit: first, aborts } = index;
  return first !== null && aborts === 0 && requireLsn(first.lsn) >= stop;
}

/** Where the recovery stops for a record in a segment, seen from the backup's end. */
function place(
  candidate: Candidate<RecoveryBase>,
  { segment, index }: KnownSegment,
  segmentBytes: number,
  lsn: Lsn | null,
): Verdict {
  const { stop } = candidate;
  const begin = segment.number * BigInt(segmentBytes);
  const isBehind =
    begin >= stop || (lsn !== null ? lsn >= stop : index !== null && isAllBehind(index, stop));
  return isBehind ? { kind: 'reached', stopsIn: segment } : tooEarly;
}

/** Where in a segment the server stops: the record's position, `null` if unknown; or not at all. */
type Hit = { readonly lsn: Lsn | null } | undefined;

function hitIn(request: RecoveryRequest, index: WalIndex): Hit {
  const { target, isInclusive } = request;
  switch (target.kind) {
    case 'time': {
      const { latest_at: latest } = index;
      const isHit = latest !== null && (isInclusive ? latest > target.at : latest >= target.at);
      return isHit ? { lsn: null } : undefined;
    }
    case 'xid': {
      if (!hasTransaction(index, target.xid)) return undefined;
      const known = [index.first_commit, index.last_commit].find((c) => c?.xid === target.xid);
      return { lsn: known == null ? null : requireLsn(known.lsn) };
    }
    case 'name': {
      const point = index.restore_points.find(({ name }) => name === target.name);
      return point === undefined ? undefined : { lsn: requireLsn(point.lsn) };
    }
    case 'lsn': {
      const { last_record_lsn: last } = index;
      return last !== null && requireLsn(last) >= target.lsn ? { lsn: target.lsn } : undefined;
    }
    case 'immediate':
    case 'newest':
      return undefined;
  }
}

/**
 * From which of a candidate's segments on has to be known what they hold: its place among them.
 * For an LSN those before it decide nothing.
 */
export function firstNeeded(
  { segments }: Candidate<RecoveryBase>,
  { target }: RecoveryRequest,
  segmentBytes: number,
): number {
  if (target.kind === 'immediate' || target.kind === 'newest') return segments.length;
  if (target.kind !== 'lsn') return 0;
  const number = segmentNumber(target.lsn, segmentBytes);
  const found = segments.findIndex((segment) => segment.number >= number);
  return found === -1 ? segments.length : found;
}

/** Times of a manifest and of an index alike: texts sort as the times do. */
const withMicroseconds = (iso: string) => `${iso.replace(/Z$/, '')}000Z`;

/**
 * Whether a base backup surely has nothing that was committed behind a time: it was finished by
 * then, or a transaction that is not in it had ended by then. When it was begun tells nothing: what
 * was committed until the server began with it is in it, whenever it is recovered to.
 */
function isBegunBy(
  { base, start }: Candidate<RecoveryBase>,
  known: readonly KnownSegment[],
  segmentBytes: number,
  at: string,
): boolean {
  if (at >= withMicroseconds(base.manifest?.finished_at ?? '')) return true;
  return known.some(({ segment, index }) => {
    if (index === null) return false;
    const { earliest_at: earliest, first_commit: first, last_commit: last } = index;
    const isBehind = segment.number * BigInt(segmentBytes) >= start;
    if (isBehind && earliest !== null && earliest <= at) return true;
    return [first, last].some((each) => {
      return each !== null && requireLsn(each.lsn) >= start && each.at <= at;
    });
  });
}

/** What an outside look at a candidate tells, before any segment is looked into. */
function quickVerdict(candidate: Candidate<RecoveryBase>, { target }: RecoveryRequest): Verdict {
  const { base, stop, segments, gap } = candidate;
  if (target.kind === 'immediate') return { kind: 'reached', stopsIn: null };
  const begunAt = withMicroseconds(base.manifest?.started_at ?? '');
  if (target.kind === 'time' && target.at < begunAt) return tooEarly;
  if (target.kind === 'lsn' && target.lsn < stop) return tooEarly;
  if (segments.length === 0) return beyond;
  if (target.kind === 'newest') {
    // Nobody who wants everything is given a part of it without a word.
    return gap === null ? { kind: 'reached', stopsIn: segments.at(-1) ?? null } : beyond;
  }
  return undecided;
}

/**
 * Whether a recovery from a base backup stops at the target.
 *
 * @param known what the candidate's segments hold, from {@link firstNeeded} on, in their order
 * @param isAll whether there are no more segments than these
 */
export function judge(
  candidate: Candidate<RecoveryBase>,
  request: RecoveryRequest,
  known: readonly KnownSegment[],
  { segmentBytes, isAll }: { readonly segmentBytes: number; readonly isAll: boolean },
): Verdict {
  const quick = quickVerdict(candidate, request);
  if (quick.kind !== 'undecided') return quick;
  const { target } = request;
  for (const [number, each] of known.entries()) {
    const hit = each.index === null ? undefined : hitIn(request, each.index);
    if (hit !== undefined) {
      const seen = known.slice(0, number + 1);
      const isFit = target.kind !== 'time' || isBegunBy(candidate, seen, segmentBytes, target.at);
      return isFit ? place(candidate, each, segmentBytes, hit.lsn) : tooEarly;
    }
    if (each.problem !== null) return beyond;
  }
  return isAll ? beyond : undecided;
}
