/** Reads one segment of a WAL archive whole, and tells what is wrong with it. */

import type { FileHandle } from 'node:fs/promises';
import { openStreamed } from '../../catalog/stream_folder.ts';
import type { WalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { formatLsn, segmentNumber, segmentStart } from '../../core/lsn.ts';
import type { MeasuredBytes } from '../../core/manifest.ts';
import {
  parseSegmentHeader,
  type SegmentHeader,
  segmentHeaderBytes,
} from '../../core/wal_header.ts';
import { archivedPath } from '../../core/wal_listing.ts';
import type { RunSegment, TimelineWay } from '../../core/wal_ranges.ts';
import type { Observer } from '../../pipeline/measure.ts';
import { type ReadBackInput, readBack } from '../../pipeline/read_back.ts';
import { type Context, flowContext } from '../context.ts';

/** Something that is wrong in a WAL archive. */
export interface WalFinding {
  /** Its path in the archive. */
  readonly file: string;
  /** Which check it did not pass. */
  readonly check:
    | 'bytes'
    | 'digest'
    | 'size'
    | 'header'
    | 'history'
    | 'claim'
    | 'missing'
    | 'records';
  /** What is wrong, to be read after the file's path. */
  readonly message: string;
}

/** What a segment has to agree with. */
export interface SegmentExpectation {
  readonly segmentBytes: number;
  /** Of the server whose archive it is; `null` where nobody knows. */
  readonly systemIdentifier: string | null;
  /** The way to the segment's own timeline, where that is known. */
  readonly way: TimelineWay | null;
}

/** What a reading of a segment has told. */
export interface SegmentReading {
  /** Nothing is wrong where there are none. */
  readonly findings: readonly WalFinding[];
  /** `null` where it cannot be read. */
  readonly header: SegmentHeader | null;
  readonly plain: MeasuredBytes | null;
  readonly storedBytes: number;
  readonly hasDigest: boolean;
}

/** Where a segment lies, and the plan of its bytes. */
export interface SegmentInput {
  readonly archive: WalArchive;
  readonly segment: RunSegment;
  readonly expected: SegmentExpectation;
  /** Takes the plain bytes; open for reading and writing, empty. The caller closes it. */
  readonly file?: FileHandle;
}

/** Keeps the first bytes that go by. */
function createHeadKeeper(bytes: number): Observer & { head(): Buffer } {
  let head = Buffer.alloc(0);
  return {
    update(chunk) {
      if (head.length < bytes) head = Buffer.concat([head, chunk.subarray(0, bytes - head.length)]);
    },
    head: () => head,
  };
}

/**
 * Whether a segment may begin with a page of another timeline: the first one of a timeline is a
 * copy of what its parent has written up to the switch.
 */
function isCopied(segment: RunSegment, header: SegmentHeader, way: TimelineWay | null): boolean {
  if (way === null || way.origin.kind === 'unknown') return header.timeline < segment.timeline;
  const begin = way.ancestors.at(-1)?.switchLsn;
  return (
    begin !== undefined &&
    segmentNumber(begin, header.segmentBytes) === segment.number &&
    way.ancestors.some(({ timeline }) => timeline === header.timeline)
  );
}

/**
 * What the header of a segment says that its name or the server does not.
 *
 * @returns to be read after the name of the file; `null` where they agree
 */
export function compareHeader(
  segment: RunSegment,
  header: SegmentHeader,
  { segmentBytes, systemIdentifier, way }: SegmentExpectation,
): string | null {
  if (systemIdentifier !== null && header.systemIdentifier !== systemIdentifier) {
    return `comes from another server (system identifier ${header.systemIdentifier})`;
  }
  if (header.segmentBytes !== segmentBytes) {
    return `is of a server with segments of ${header.segmentBytes} bytes`;
  }
  const begin = segmentStart(segment.number, segmentBytes);
  if (header.pageAddress !== begin) {
    return `begins at ${formatLsn(header.pageAddress)} instead of ${formatLsn(begin)}`;
  }
  if (header.timeline === segment.timeline || isCopied(segment, header, way)) return null;
  return `is of timeline ${header.timeline}`;
}

/** Errors that are about the file; any other says that nothing can be known about it now. */
function messageOfDamage(error: unknown): string {
  if (error instanceof HoldfastError && error.code === 'DAMAGED') return error.message;
  throw error;
}

/** What the bytes tell once they could be read. */
function compareSegment(
  input: SegmentInput,
  plain: MeasuredBytes,
  digest: string | null,
  head: Buffer,
): { problem: [WalFinding['check'], string] | null; header: SegmentHeader | null } {
  const { segment, expected } = input;
  if (digest !== null && digest !== plain.sha256) {
    return { problem: ['digest', 'differs from its digest'], header: null };
  }
  if (plain.bytes !== expected.segmentBytes) {
    const message = `has ${plain.bytes} bytes instead of ${expected.segmentBytes}`;
    return { problem: ['size', message], header: null };
  }
  try {
    const header = parseSegmentHeader(head);
    const message = compareHeader(segment, header, expected);
    return { problem: message === null ? null : ['header', message], header };
  } catch (error) {
    return { problem: ['header', messageOfDamage(error)], header: null };
  }
}

/** The bytes of a segment, wherever it lies, and how they are compressed there. */
async function openSegment(
  archive: WalArchive,
  name: string,
): Promise<Pick<ReadBackInput, 'body' | 'filters'>> {
  const path = archive.streamed.get(name);
  const body = path === undefined ? null : await openStreamed(path);
  if (body !== null) return { body, filters: [] };
  // What has left the stream since is complete.
  const moved = path === undefined ? name : name.replace(/\.partial$/, '');
  const stored = await archive.storage.get(`${archive.folder}/${archivedPath(moved)}`);
  return { body: stored, filters: [{ name: 'zstd', level: 1 }] };
}

/**
 * Reads a segment: it can be decompressed, agrees with its digest, its name and its server.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND when it is gone; what the store throws
 */
export async function readSegment(context: Context, input: SegmentInput): Promise<SegmentReading> {
  const { archive, segment, file } = input;
  const path = archivedPath(segment.name) ?? segment.name;
  const reading = { findings: [], header: null, plain: null, storedBytes: 0, hasDigest: true };
  const damaged = (check: WalFinding['check'], message: string): SegmentReading => ({
    ...reading,
    findings: [{ file: path, check, message }],
  });
  let digest: string | null;
  const isStreamed = archive.streamed.has(segment.name);
  try {
    // One of the stream may still grow; what the archive keeps beside its own is of that one.
    digest = isStreamed ? null : await archive.digest(segment.name);
  } catch (error) {
    return damaged('digest', messageOfDamage(error));
  }
  const keeper = createHeadKeeper(segmentHeaderBytes);
  try {
    const { plain, stored } = await readBack({
      ...(await openSegment(archive, segment.name)),
      observers: [keeper],
      file,
      context: flowContext(context),
    });
    const { problem, header } = compareSegment(input, plain, digest, keeper.head());
    const findings = problem === null ? [] : damaged(...problem).findings;
    return {
      findings,
      header,
      plain,
      storedBytes: stored.bytes,
      hasDigest: digest !== null,
    };
  } catch (error) {
    return damaged('bytes', messageOfDamage(error));
  }
}
