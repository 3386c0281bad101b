/**
 * The WAL archive of a cluster together with what its stream holds beyond it: what a recovery can
 * use is both (REPOSITORY.md, "The WAL archive").
 */

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readStream, streamFolder } from '../../catalog/stream_folder.ts';
import { openWalArchive, type WalArchive } from '../../catalog/wal_archive.ts';
import { type ListingWithStream, withStream } from '../../core/stream_files.ts';
import { endOfIndex } from '../../core/wal_index.ts';
import {
  type ArchivedSegment,
  type ArchiveListing,
  archivedPath,
  segmentSuffix,
} from '../../core/wal_listing.ts';
import type { RunSegment } from '../../core/wal_ranges.ts';
import type { RepositoryContext } from '../context.ts';
import { indexSegments } from './wal_index.ts';

/** An archive whose segments may lie in the stream. */
export interface StreamedArchive {
  readonly archive: WalArchive;
  readonly listing: ArchiveListing;
}

/** How far an unfinished segment goes, by its records. */
async function endOf(
  context: RepositoryContext,
  archive: WalArchive,
  segment: ArchivedSegment,
  segmentBytes: number,
): Promise<bigint> {
  const request = { archive, run: [segment], from: 0, to: 1, segmentBytes };
  const [found] = await indexSegments(context, request);
  return found?.index == null ? 0n : (endOfIndex(found.index) ?? 0n);
}

/** Which unfinished segments of both hold more in the stream. */
async function longerInStream(
  context: RepositoryContext,
  { contested, listing }: ListingWithStream,
  archives: { readonly plain: WalArchive; readonly streamed: WalArchive },
): Promise<string[]> {
  const longer: string[] = [];
  for (const segment of contested) {
    const { segmentBytes } = listing;
    const inArchive = await endOf(context, archives.plain, segment, segmentBytes);
    const inStream = await endOf(context, archives.streamed, segment, segmentBytes);
    if (inStream > inArchive) longer.push(segment.name);
  }
  return longer;
}

const noStream = { segmentBytes: null, segments: [], histories: [] };

/**
 * Opens the archive of a cluster and lists it with its stream.
 *
 * @param withStream `false`: the archive alone
 * @throws HoldfastError when the store cannot be read; Node's errors of the stream's folder
 */
export async function openStreamedArchive(
  context: RepositoryContext,
  cluster: string,
  { withStream: isMerged = true }: { readonly withStream?: boolean } = {},
): Promise<StreamedArchive> {
  const { root, storage } = context.repository;
  const folder = streamFolder(root, cluster);
  // The stream first: what moves goes from there into the archive.
  const stream = isMerged ? await readStream(folder) : noStream;
  const listed = openWalArchive(storage, cluster);
  const archived = await listed.list();
  const stillHere = await plainSegments(context, cluster, archived);
  const nothing = new Map<string, string>();
  const plain =
    stillHere.size === 0 ? listed : openWalArchive(storage, cluster, nothing, stillHere);
  if (stream.segments.length === 0 && stream.histories.length === 0) {
    return { archive: plain, listing: archived };
  }
  const hasOwnSize = archived.segments.length > 0 || stream.segmentBytes === null;
  const segmentBytes = hasOwnSize ? archived.segmentBytes : stream.segmentBytes;
  const merged = withStream({ ...archived, segmentBytes }, stream);
  const pathsOf = (names: Iterable<string>) =>
    new Map([...names].map((name) => [name, join(folder, name)]));
  const contested = merged.contested.map(({ name }) => name);
  const paths = pathsOf([...merged.streamed, ...contested]);
  const all = openWalArchive(storage, cluster, paths, stillHere);
  const longer = await longerInStream(context, merged, { plain, streamed: all });
  const streamed = pathsOf([...merged.streamed, ...longer]);
  const archive = openWalArchive(storage, cluster, streamed, stillHere);
  return { archive, listing: merged.listing };
}

/**
 * Where the plain bytes of encrypted segments still lie on this machine: in the server's own
 * folder, until it uses the files again. Nothing else can be read of them without a key.
 */
export async function plainSegments(
  { repository, host }: RepositoryContext,
  cluster: string,
  { segments }: Pick<ArchiveListing, 'segments'>,
): Promise<ReadonlyMap<string, string>> {
  const sealed = segments.filter(({ suffix, isPartial }) => suffix !== segmentSuffix && !isPartial);
  if (sealed.length === 0) return new Map();
  const claim = await openWalArchive(repository.local, cluster)
    .claim()
    .catch(() => null);
  if (claim === null || claim.host !== host) return new Map();
  const folder = join(claim.data_directory, 'pg_wal');
  const here = new Set(await readdir(folder).catch((): string[] => []));
  return new Map(
    sealed.flatMap(({ name }) => (here.has(name) ? [[name, join(folder, name)] as const] : [])),
  );
}

/**
 * The file that stands for the last segment of a recovery where only its unfinished form is there:
 * a path within the cluster's folder, as wal_fetch takes it; `null` where none is needed.
 */
export function unfinishedFile(
  archive: WalArchive,
  segments: readonly RunSegment[],
): string | null {
  const last = segments.at(-1);
  if (last === undefined || !last.name.endsWith('.partial')) return null;
  if (archive.streamed.has(last.name)) return `stream/${last.name}`;
  // An encrypted one is brought beside the data directory, decrypted.
  return `wal/${archivedPath(last.name)}`;
}
