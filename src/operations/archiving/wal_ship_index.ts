/** Writes the indexes that are missing in a WAL archive, and takes away what killed runs left. */

import { openWalArchive, type WalArchive } from '../../catalog/wal_archive.ts';
import { segmentsOfRun, walTree } from '../../core/wal_ranges.ts';
import { processExists } from '../../process/identity.ts';
import type { RepositoryContext } from '../context.ts';
import { plainSegments } from './streamed_archive.ts';
import { indexSegments } from './wal_index.ts';

/** What was done. */
export interface IndexResult {
  readonly cluster: string;
  /** Segments that were read. */
  readonly indexed: number;
  /** Segments that could not be read, and why. */
  readonly problems: readonly { readonly segment: string; readonly message: string }[];
}

/** So many are read between two looks at the signal. */
const stepSegments = 8;
/** What nobody has written to for so long was left by a killed run. */
const abandonedMs = 5 * 60_000;
const hookTemporary = /^\..+\.(\d+)\.(?:data|sha256|whole)\.tmp$/;

/**
 * Indexes the segments that have no index: last commit, transaction ids, restore points. The newest
 * come first: they tell how far a recovery reaches.
 *
 * @throws HoldfastError TOOL_TOO_OLD without pg_waldump of the server's version; what the store
 *   throws
 */
export async function indexArchive(
  context: RepositoryContext,
  cluster: string,
): Promise<IndexResult> {
  const { local } = context.repository;
  const listing = await openWalArchive(local, cluster).list();
  const plain = await plainSegments(context, cluster, listing);
  const archive = openWalArchive(local, cluster, new Map(), plain);
  const missing = new Set(
    listing.segments.flatMap(({ name, isPartial, hasIndex }) =>
      isPartial || hasIndex ? [] : [name],
    ),
  );
  const { segmentBytes } = listing;
  let indexed = 0;
  const problems: { segment: string; message: string }[] = [];
  for (const way of walTree(listing).timelines) {
    for (const walRun of way.runs) {
      const run = segmentsOfRun(walRun, segmentBytes);
      const isMissing = (at: number) => missing.has(run[at]?.name ?? '');
      for (let to = run.length; to > 0; to -= 1) {
        if (!isMissing(to - 1)) continue;
        let from = to - 1;
        while (from > 0 && to - from < stepSegments && isMissing(from - 1)) from -= 1;
        context.signal.throwIfAborted();
        const read = await indexSegments(context, { archive, run, from, to, segmentBytes });
        for (const { segment, problem } of read) {
          if (problem === null) indexed += 1;
          // What only a key opens by now is indexed by whoever has one.
          else if (problem.code !== 'WRONG_KEY')
            problems.push({ segment: segment.name, message: problem.message });
        }
        for (const { name } of run.slice(from, to)) missing.delete(name);
        to = from + 1;
      }
    }
  }
  return { cluster, indexed, problems };
}

/** Removes what killed runs of wal_push and wal_ship.ts were writing when they ended. */
export async function tidyArchive(context: RepositoryContext, archive: WalArchive): Promise<void> {
  const { storage, folder } = archive;
  for (const { key, modifiedAt } of await storage.unfinishedObjects(folder)) {
    if (context.clock().getTime() - modifiedAt.getTime() < abandonedMs) continue;
    await storage.removeUnfinished(key);
  }
  for (const name of await storage.children(folder)) {
    const writer = hookTemporary.exec(name)?.[1];
    if (writer === undefined || processExists(Number(writer))) continue;
    await storage.remove(`${folder}/${name}`);
  }
}
