/** The last commit in a run of WAL, found from its end with as few reads as can be. */

import type { WalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { Lsn } from '../../core/lsn.ts';
import { endOfIndex, type WalIndex } from '../../core/wal_index.ts';
import type { RunSegment } from '../../core/wal_ranges.ts';
import { indexSegments, readKeptIndex } from '../archiving/wal_index.ts';
import type { RepositoryContext } from '../context.ts';

/** So many segments without a kept index are read at most. */
const readsMax = 8;
/** So many kept indexes are looked at: an idle server may have ended many empty segments. */
const looksMax = 512;

/** A run of segments without a break. */
export interface RunRequest {
  readonly archive: WalArchive;
  readonly segments: readonly RunSegment[];
  readonly segmentBytes: number;
  /** Whether segments without an index are read: not from beyond a network, every few minutes. */
  readonly mayRead: boolean;
}

/** What was found at the end of a run. */
export interface LastCommit {
  /** When it was committed; `null`: nobody can tell. */
  readonly at: Date | null;
  /** The index of its segment. */
  readonly index: WalIndex | null;
  /** Where the records of the last segment end; `null`: nobody can tell. */
  readonly end: Lsn | null;
}

/** What one segment holds; `damaged`: nothing behind it can be replayed. */
async function indexAt(
  context: RepositoryContext,
  { archive, segments, segmentBytes }: RunRequest,
  place: number,
): Promise<WalIndex | 'damaged' | null> {
  const range = { from: place, to: place + 1, segmentBytes };
  try {
    const [made] = await indexSegments(context, { archive, run: segments, ...range });
    if (made?.problem?.code === 'DAMAGED') return made.index ?? 'damaged';
    return made?.index ?? null;
  } catch (error) {
    // Without pg_waldump, or room to unpack, the time at which a segment came has to do.
    if (!(error instanceof HoldfastError) || error.code === 'INTERRUPTED') throw error;
    return null;
  }
}

/** Finds it. What cannot be read makes the answer `null`, and is no failure. */
export async function lastCommitOf(
  context: RepositoryContext,
  request: RunRequest,
): Promise<LastCommit> {
  const { archive, segments, mayRead } = request;
  let end: Lsn | null = null;
  let reads = 0;
  for (let looks = 0; looks < Math.min(looksMax, segments.length); looks += 1) {
    const place = segments.length - 1 - looks;
    const { name } = segments[place] as RunSegment;
    let index: WalIndex | 'damaged' | null = await readKeptIndex(archive, name);
    const isNear = mayRead || archive.streamed.has(name);
    if (index === null && isNear && reads < readsMax) {
      reads += 1;
      index = await indexAt(context, request, place);
    }
    if (index === null) break;
    if (index === 'damaged') continue;
    if (looks === 0) end = endOfIndex(index);
    const { last_commit: commit } = index;
    if (commit !== null) return { at: new Date(commit.at), index, end };
  }
  return { at: null, index: null, end };
}
