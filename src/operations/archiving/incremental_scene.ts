/** What retention has to know of a cluster, from the store: little, also of a large archive. */

import { type BaseEntry, listBaseBackups } from '../../catalog/base_catalog.ts';
import { mapBounded } from '../../catalog/map_bounded.ts';
import { listStream, streamFolder } from '../../catalog/stream_folder.ts';
import type { WalArchive } from '../../catalog/wal_archive.ts';
import { incrementalPolicy } from '../../core/base_retention.ts';
import { HoldfastError } from '../../core/errors.ts';
import { type RetainedBase, retainedBase } from '../../core/retained_base.ts';
import { gapsOfRetention, gapsOfSilence } from '../../core/retention_gaps.ts';
import { type ArchiveListing, archivedPath, suffixOf } from '../../core/wal_listing.ts';
import { type WalTree, walTree } from '../../core/wal_ranges.ts';
import { type IncrementalScene, timesNeeded } from '../../core/wal_retention.ts';
import type { RepositoryContext } from '../context.ts';

const readsMax = 8;

/** When the files were last changed; what is gone has no time. */
async function timesOf(archive: WalArchive, names: readonly string[]): Promise<Map<string, Date>> {
  const found = await mapBounded(names, readsMax, async (name) => {
    const stored = await archive.stat(name);
    return stored === null ? [] : [[name, stored.modifiedAt] as const];
  });
  return new Map(found.flat());
}

/** The server that has claimed an archive; a claim that cannot be read tells nothing. */
async function claimedBy(archive: WalArchive): Promise<string | null> {
  try {
    return (await archive.claim())?.system_identifier ?? null;
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'DAMAGED') throw error;
    return null;
  }
}

/** The timelines of which pg_receivewal has something that may not be in the archive yet. */
async function streamedTimelines(root: string, cluster: string): Promise<Set<number>> {
  const files = await listStream(streamFolder(root, cluster));
  const segments = files.filter(({ name }) => /^[0-9A-F]{24}(\.partial)?$/.test(name));
  return new Set(segments.map(({ name }) => Number.parseInt(name.slice(0, 8), 16)));
}

/**
 * Reads it.
 *
 * @param toBase what retention sees of a base backup
 * @throws HoldfastError when the store cannot be read
 */
export async function readIncrementalScene<Base extends RetainedBase>(
  context: RepositoryContext,
  archive: WalArchive,
  {
    entries,
    listing,
  }: { readonly entries: readonly BaseEntry[]; readonly listing: ArchiveListing },
  toBase: (entry: BaseEntry) => Base,
): Promise<IncrementalScene<Base>> {
  const bases = entries.map(toBase);
  return {
    bases,
    listing,
    times: await timesOf(archive, timesNeeded(bases, listing)),
    claimedBy: await claimedBy(archive),
    streaming: await streamedTimelines(context.repository.root, archive.cluster),
    policy: incrementalPolicy(context.config.settings),
    now: context.clock(),
    isTimed: false,
  };
}

function lossesOf(tree: WalTree, isOurs: ReturnType<typeof gapsOfRetention>): WalTree {
  const timelines = tree.timelines.map((way) => {
    return { ...way, gaps: way.gaps.filter((gap) => !isOurs(way, gap)) };
  });
  return { ...tree, timelines };
}

/** When every file of an archive was last changed, by the names that PostgreSQL gives them. */
async function allTimes({ storage, folder }: WalArchive): Promise<Map<string, Date>> {
  const times = new Map<string, Date>();
  for await (const page of storage.list(folder)) {
    for (const { key, modifiedAt } of page) {
      const file = key.slice(key.lastIndexOf('/') + 1);
      const suffix = suffixOf(file);
      const name = suffix === null ? file : file.slice(0, -suffix.length);
      if (archivedPath(name) !== null) times.set(name, modifiedAt);
    }
  }
  return times;
}

/**
 * The timelines of an archive, with those of its gaps that are losses: between base backups that
 * are kept as weekly or monthly ones retention has removed what nobody reads.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function treeWithLosses(
  context: RepositoryContext,
  archive: WalArchive,
  listing: ArchiveListing,
): Promise<WalTree> {
  const tree = walTree(listing);
  if (tree.timelines.every(({ gaps }) => gaps.length === 0)) return tree;
  const { cluster, storage } = archive;
  const entries = await listBaseBackups(storage, { cluster });
  const scene = await readIncrementalScene(context, archive, { entries, listing }, (entry) =>
    retainedBase(entry, null),
  );
  const lost = lossesOf(tree, gapsOfRetention(scene));
  if (lost.timelines.every(({ gaps }) => gaps.length === 0)) return lost;
  // A look at every file, where only an earlier silence can tell.
  return lossesOf(lost, gapsOfSilence(scene, await allTimes(archive)));
}
