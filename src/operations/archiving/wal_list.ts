/** What list_backups.ts --wal tells about the WAL archives of a repository. */

import { readStreamClaim, streamFolder } from '../../catalog/stream_folder.ts';
import { type WalArchive, walClusters } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { formatLsn, type Lsn, segmentName } from '../../core/lsn.ts';
import type { WalClaim } from '../../core/wal_claim.ts';
import { endOfIndex, type IndexedCommit } from '../../core/wal_index.ts';
import type { ArchiveListing } from '../../core/wal_listing.ts';
import {
  type RunSegment,
  segmentCountOf,
  segmentsOfRun,
  type TimelineWay,
  type WalGap,
  type WalRun,
} from '../../core/wal_ranges.ts';
import type { RepositoryContext } from '../context.ts';
import { treeWithLosses } from './incremental_scene.ts';
import { openStreamedArchive } from './streamed_archive.ts';
import { indexSegments } from './wal_index.ts';

/** WAL that can be replayed without a break. Positions as PostgreSQL writes them. */
export interface RangeFacts {
  /** Of this timeline or of an ancestor. */
  readonly first_segment: string;
  readonly last_segment: string;
  readonly segments: number;
  readonly begin_lsn: string;
  readonly end_lsn: string;
  /** Its last segment is there in its unfinished form alone. */
  readonly ends_unfinished: boolean;
  readonly first_commit: IndexedCommit | null;
  /** The newest transaction that a recovery brings back. */
  readonly last_commit: IndexedCommit | null;
}

/** Segments that are missing between two ranges. */
export interface GapFacts {
  readonly timeline: number;
  readonly first_segment: string;
  readonly last_segment: string;
  readonly segments: number;
}

/** One timeline. */
export interface TimelineFacts {
  readonly timeline: number;
  /** `unknown`: its history file is missing, or cannot be used. */
  readonly origin: 'first' | 'branch' | 'unknown';
  readonly parent: number | null;
  readonly switch_lsn: string | null;
  /** Why its history cannot be used. */
  readonly problem: string | null;
  /** Its own, complete or not. */
  readonly segments: number;
  /** On the way to it, from the oldest WAL on. */
  readonly ranges: readonly RangeFacts[];
  /** Without what retention has removed between base backups that it keeps. */
  readonly gaps: readonly GapFacts[];
}

/** The archive of one cluster. */
export interface ArchiveFacts {
  readonly cluster: string;
  /** Who may write; `null` when nobody has claimed it, or when the claim cannot be used. */
  readonly claim: WalClaim | null;
  readonly claim_problem: string | null;
  readonly segment_bytes: number;
  /** Which server is streamed, and the segments that lie in the stream alone; or `null`. */
  readonly stream: {
    readonly server: string;
    readonly slot: string;
    readonly segments: readonly string[];
  } | null;
  /** Each behind its parent. */
  readonly timelines: readonly TimelineFacts[];
  /** Why the times of transactions are not known, or not all; `null` where they are. */
  readonly times_unknown: string | null;
  readonly foreign: readonly string[];
  readonly unfinished: readonly string[];
}

type Ends = Pick<RangeFacts, 'first_commit' | 'last_commit'>;

/** So many segments without a commit are indexed at once, to find one that has some. */
const stepSegments = 8;

/** Finds the commits at the two ends of a run; each segment is looked at once for all timelines. */
class CommitFinder {
  /** Why some could not be found. */
  problem: string | null = null;
  readonly #context: RepositoryContext;
  readonly #archive: WalArchive;
  readonly #segmentBytes: number;
  readonly #known = new Map<string, Ends>();

  constructor(context: RepositoryContext, archive: WalArchive, segmentBytes: number) {
    this.#context = context;
    this.#archive = archive;
    this.#segmentBytes = segmentBytes;
  }

  /** Looks from one end for a segment with a commit. */
  async #search(run: readonly RunSegment[], fromEnd: boolean): Promise<IndexedCommit | null> {
    for (let done = 0; done < run.length; done += stepSegments) {
      const count = Math.min(stepSegments, run.length - done);
      const from = fromEnd ? run.length - done - count : done;
      const range = { from, to: from + count, segmentBytes: this.#segmentBytes };
      const indexes = await indexSegments(this.#context, { archive: this.#archive, run, ...range });
      const broken = indexes.findIndex(({ problem }) => problem !== null);
      if (broken !== -1) this.problem ??= indexes[broken]?.problem?.message ?? null;
      // What lies behind a segment that cannot be read to its end cannot be replayed.
      const usable = indexes.slice(0, broken === -1 ? undefined : broken + 1);
      const commits = usable.map(({ index }) =>
        fromEnd ? index?.last_commit : index?.first_commit,
      );
      const commit = fromEnd ? commits.findLast(Boolean) : commits.find(Boolean);
      if (commit != null) return commit;
    }
    return null;
  }

  /** Where the records of an unfinished segment end; `null` where that cannot be told. */
  async endOf(run: readonly RunSegment[]): Promise<Lsn | null> {
    const range = { from: run.length - 1, to: run.length, segmentBytes: this.#segmentBytes };
    try {
      const [last] = await indexSegments(this.#context, { archive: this.#archive, run, ...range });
      return last?.index == null ? null : endOfIndex(last.index);
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code === 'INTERRUPTED') throw error;
      this.problem ??= error.message;
      return null;
    }
  }

  async find(run: readonly RunSegment[]): Promise<Ends> {
    const key = `${run[0]?.name}-${run.at(-1)?.name}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    let ends: Ends = { first_commit: null, last_commit: null };
    try {
      const last = await this.#search(run, true);
      ends = {
        first_commit: last === null ? null : await this.#search(run, false),
        last_commit: last,
      };
    } catch (error) {
      // Without pg_waldump the ranges and gaps are told all the same.
      if (!(error instanceof HoldfastError) || error.code === 'INTERRUPTED') throw error;
      this.problem ??= error.message;
    }
    this.#known.set(key, ends);
    return ends;
  }
}

function gapFacts(gap: WalGap, segmentBytes: number): GapFacts {
  return {
    timeline: gap.timeline,
    first_segment: segmentName(gap.timeline, gap.first, segmentBytes),
    last_segment: segmentName(gap.timeline, gap.last, segmentBytes),
    segments: segmentCountOf(gap),
  };
}

async function rangeFacts(
  run: WalRun,
  segmentBytes: number,
  finder: CommitFinder,
): Promise<RangeFacts> {
  const segments = segmentsOfRun(run, segmentBytes);
  const isUnfinished = run.parts.at(-1)?.isPartial === true;
  const found = isUnfinished ? await finder.endOf(segments) : null;
  return {
    first_segment: segments[0]?.name ?? '',
    last_segment: segments.at(-1)?.name ?? '',
    segments: segments.length,
    begin_lsn: formatLsn(run.begin),
    end_lsn: formatLsn(found !== null && found > run.end ? found : run.end),
    ends_unfinished: isUnfinished,
    ...(await finder.find(segments)),
  };
}

async function timelineFacts(
  way: TimelineWay,
  segmentBytes: number,
  finder: CommitFinder,
): Promise<TimelineFacts> {
  const { timeline, origin, segmentCount, runs, gaps } = way;
  const ranges: RangeFacts[] = [];
  for (const run of runs) ranges.push(await rangeFacts(run, segmentBytes, finder));
  const isBranch = origin.kind === 'branch';
  return {
    timeline,
    origin: origin.kind,
    parent: isBranch ? origin.parent : null,
    switch_lsn: isBranch ? formatLsn(origin.switchLsn) : null,
    problem: origin.kind === 'unknown' ? origin.problem : null,
    segments: segmentCount,
    ranges,
    gaps: gaps.map((gap) => gapFacts(gap, segmentBytes)),
  };
}

function isEmpty({ segments, histories, backups, foreign, unfinished }: ArchiveListing): boolean {
  return [segments, histories, backups, foreign, unfinished].every(({ length }) => length === 0);
}

async function claimFacts(
  archive: WalArchive,
): Promise<Pick<ArchiveFacts, 'claim' | 'claim_problem'>> {
  try {
    return { claim: await archive.claim(), claim_problem: null };
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'DAMAGED') throw error;
    return { claim: null, claim_problem: error.message };
  }
}

/** A claim that cannot be read is told by wal_stream.ts: what was streamed counts all the same. */
async function streamFacts(
  { repository }: RepositoryContext,
  { cluster, streamed }: WalArchive,
): Promise<ArchiveFacts['stream']> {
  const claim = await readStreamClaim(streamFolder(repository.root, cluster)).catch(ofDamage);
  const segments = [...streamed.keys()].sort();
  if (claim === null && segments.length === 0) return null;
  return { server: claim?.server ?? 'unknown', slot: claim?.slot ?? 'unknown', segments };
}

function ofDamage(error: unknown): null {
  if (error instanceof HoldfastError && error.code === 'DAMAGED') return null;
  throw error;
}

/**
 * Tells what can be replayed from the WAL archives.
 *
 * @param cluster only this one
 * @param withStream whether what lies in the stream alone counts, which is on this machine
 * @returns only archives that are there
 * @throws HoldfastError when the store cannot be read
 */
export async function listWal(
  context: RepositoryContext,
  cluster: string | undefined,
  { withStream = true }: { readonly withStream?: boolean } = {},
): Promise<ArchiveFacts[]> {
  const { storage } = context.repository;
  const found: ArchiveFacts[] = [];
  for (const each of await walClusters(storage)) {
    if (cluster !== undefined && cluster !== each) continue;
    const { archive, listing } = await openStreamedArchive(context, each, { withStream });
    const claimed = await claimFacts(archive);
    if (claimed.claim === null && claimed.claim_problem === null && isEmpty(listing)) continue;
    const { segmentBytes, foreign, unfinished } = listing;
    const finder = new CommitFinder(context, archive, segmentBytes);
    const timelines: TimelineFacts[] = [];
    const { timelines: ways } = await treeWithLosses(context, archive, listing);
    for (const way of ways) {
      timelines.push(await timelineFacts(way, segmentBytes, finder));
    }
    found.push({
      cluster: each,
      ...claimed,
      segment_bytes: segmentBytes,
      stream: await streamFacts(context, archive),
      timelines,
      times_unknown: finder.problem,
      foreign,
      unfinished,
    });
  }
  return found;
}
