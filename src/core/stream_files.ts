/**
 * The files of pg_receivewal in the stream's folder: which of them go into the archive, which it
 * still needs to know where it has to go on (FindStreamingStart in its pg_receivewal.c), and which
 * of them continue what the archive holds.
 */

import { segmentName } from './lsn.ts';
import { parseWalFile } from './wal_files.ts';
import {
  type ArchivedHistory,
  type ArchivedSegment,
  type ArchiveListing,
  segmentSuffix,
} from './wal_listing.ts';

/** A file of the WAL in the stream's folder. */
export interface StreamFile {
  readonly name: string;
  readonly bytes: number;
}

/** A segment there, complete or not. */
export interface StreamSegment extends StreamFile {
  readonly timeline: number;
  readonly number: bigint;
  readonly isPartial: boolean;
}

/** What is there, sorted by what it is. */
export interface StreamFiles {
  /** In the order of their numbers, then of their timelines: as pg_receivewal compares them. */
  readonly segments: readonly StreamSegment[];
  readonly histories: readonly StreamFile[];
}

function byPosition(a: StreamSegment, b: StreamSegment): number {
  if (a.number !== b.number) return a.number < b.number ? -1 : 1;
  if (a.timeline !== b.timeline) return a.timeline - b.timeline;
  return Number(b.isPartial) - Number(a.isPartial);
}

/**
 * Sorts the files of a stream's folder. Other names are nobody's business here.
 *
 * @param segmentBytes of the server; a complete segment of another size is none
 */
export function sortStream(files: readonly StreamFile[], segmentBytes: number): StreamFiles {
  const segments: StreamSegment[] = [];
  const histories: StreamFile[] = [];
  for (const file of files) {
    const parsed = parseWalFile(file.name, segmentBytes);
    if (parsed?.kind === 'history') histories.push(file);
    if (parsed?.kind !== 'segment' && parsed?.kind !== 'partial') continue;
    const { timeline, number } = parsed;
    const isPartial = parsed.kind === 'partial';
    if (isPartial || file.bytes === segmentBytes) {
      segments.push({ ...file, timeline, number, isPartial });
    }
  }
  return { segments: segments.sort(byPosition), histories };
}

/** Where pg_receivewal will go on: in its unfinished segment, or behind its last complete one. */
export function nextStart({ segments }: StreamFiles): {
  readonly timeline: number;
  readonly number: bigint;
} | null {
  const last = segments.at(-1);
  if (last === undefined) return null;
  const { timeline, number, isPartial } = last;
  return { timeline, number: isPartial ? number : number + 1n };
}

/**
 * What may be removed: what the archive has, but for the last file, by which pg_receivewal knows
 * where to go on.
 *
 * @param archived names of complete segments that the archive holds durably
 */
export function superfluous(
  { segments }: StreamFiles,
  archived: ReadonlySet<string>,
): StreamSegment[] {
  return segments.slice(0, -1).filter(({ name }) => archived.has(name.replace(/\.partial$/, '')));
}

/**
 * Unfinished segments of a size that pg_receivewal refuses. It fills a new one with zeros before
 * anything is written into it; a disk that was full then leaves it shorter, and empty.
 */
export function brokenPartials({ segments }: StreamFiles, segmentBytes: number): StreamSegment[] {
  return segments.filter(
    ({ isPartial, bytes }) => isPartial && bytes !== 0 && bytes !== segmentBytes,
  );
}

/** The name of the empty file that makes pg_receivewal begin with a segment. */
export function startMarker(timeline: number, number: bigint, segmentBytes: number): string {
  return `${segmentName(timeline, number, segmentBytes)}.partial`;
}

/** What of a stream counts beside an archive. */
export interface StreamContent {
  /** Those in which something is written. */
  readonly segments: readonly StreamSegment[];
  readonly histories: readonly ArchivedHistory[];
}

/** An archive and what its stream adds to it. */
export interface ListingWithStream {
  readonly listing: ArchiveListing;
  /** Names of the segments that lie in the stream alone. */
  readonly streamed: ReadonlySet<string>;
  /** Names of unfinished segments of which the archive has another form. */
  readonly contested: readonly ArchivedSegment[];
}

function bySegment(a: ArchivedSegment, b: ArchivedSegment): number {
  if (a.timeline !== b.timeline) return a.timeline - b.timeline;
  if (a.number !== b.number) return a.number < b.number ? -1 : 1;
  return Number(a.isPartial) - Number(b.isPartial);
}

/**
 * Adds what a stream holds and the archive does not. What the archive has counts, but for
 * unfinished segments of both: which of them holds more only their records tell.
 */
export function withStream(listing: ArchiveListing, stream: StreamContent): ListingWithStream {
  const held = new Set(listing.segments.map(({ name }) => name));
  const complete = new Set([
    ...held,
    ...stream.segments.filter(({ isPartial }) => !isPartial).map(({ name }) => name),
  ]);
  const found = stream.segments
    .filter(({ name, isPartial }) =>
      isPartial ? !complete.has(name.replace(/\.partial$/, '')) : !held.has(name),
    )
    .map(({ name, timeline, number, isPartial }): ArchivedSegment => {
      const form = { suffix: segmentSuffix, hasDigest: false, hasIndex: false } as const;
      return { name, timeline, number, isPartial, ...form };
    });
  const added = found.filter(({ name }) => !held.has(name));
  const known = new Set(listing.histories.map(({ timeline }) => timeline));
  const histories = stream.histories.filter(({ timeline }) => !known.has(timeline));
  return {
    listing: {
      ...listing,
      segments: [...listing.segments, ...added].sort(bySegment),
      histories: [...listing.histories, ...histories].sort((a, b) => a.timeline - b.timeline),
    },
    streamed: new Set(added.map(({ name }) => name)),
    contested: found.filter(({ name }) => held.has(name)),
  };
}
