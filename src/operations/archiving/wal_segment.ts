/** Reads one segment of a WAL archive whole, and tells what is wrong with it. */

import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { openStreamed } from '../../catalog/stream_folder.ts';
import { storedSuffix, type WalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { formatLsn, segmentNumber, segmentStart } from '../../core/lsn.ts';
import type { FilterSpec, MeasuredBytes } from '../../core/manifest.ts';
import type { WalDigests } from '../../core/wal_digest.ts';
import {
  parseSegmentHeader,
  type SegmentHeader,
  segmentHeaderBytes,
} from '../../core/wal_header.ts';
import { archivedPath, type SegmentSuffix } from '../../core/wal_listing.ts';
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
  /** It is encrypted and there is no key for it here: only its stored bytes were compared. */
  readonly isSealed: boolean;
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

/** The bytes of a segment, wherever it lies, and how they are compressed and encrypted there. */
async function openSegment(
  archive: WalArchive,
  name: string,
): Promise<Pick<ReadBackInput, 'body' | 'filters'> & { readonly isPlain: boolean }> {
  for (const paths of [archive.streamed, archive.plain]) {
    const path = paths.get(name);
    const body = path === undefined ? null : await openStreamed(path);
    if (body !== null) return { body, filters: [], isPlain: true };
  }
  // What has left the stream since is complete.
  const moved = archive.streamed.has(name) ? name.replace(/\.partial$/, '') : name;
  const stored = await archive.stat(moved);
  if (stored === null) {
    throw new HoldfastError('BACKUP_NOT_FOUND', `${moved} is not in the WAL archive`);
  }
  const filters = walFilters(storedSuffix(stored));
  return { body: await archive.storage.get(stored.key), filters, isPlain: false };
}

/**
 * The filters of a segment that is stored so. For whom it is encrypted its own bytes tell, and how
 * well it is compressed its decompression does not ask.
 */
export function walFilters(suffix: SegmentSuffix | null): FilterSpec[] {
  if (suffix === null) return [];
  const zstd: FilterSpec = { name: 'zstd', level: 1 };
  if (suffix === '.zst') return [zstd];
  return [zstd, { name: suffix === '.zst.age' ? 'age' : 'gpg', recipients: [] }];
}

/** Whether an error says that no key for it is at hand. */
export function isKeyMissing(error: unknown): error is HoldfastError {
  if (!(error instanceof HoldfastError)) return false;
  if (error.code === 'WRONG_KEY') return true;
  return error.code === 'USAGE' && error.details?.encryption !== undefined;
}

/** What can be known of a segment that nobody here can decrypt. */
async function readSealed(
  archive: WalArchive,
  name: string,
  digests: WalDigests | null,
): Promise<Pick<SegmentReading, 'storedBytes'> & { readonly message: string | null }> {
  const found = await archive.stat(name);
  const hash = createHash('sha256');
  let storedBytes = 0;
  if (found !== null) {
    for await (const piece of await archive.storage.get(found.key)) {
      hash.update(piece);
      storedBytes += piece.length;
    }
  }
  const isSame = digests?.stored == null || digests.stored === hash.digest('hex');
  return { storedBytes, message: isSame ? null : 'differs from its stored digest' };
}

/**
 * Reads a segment: it can be decompressed, agrees with its digests, its name and its server. Of one
 * that nobody here can decrypt the stored bytes are compared with their digest.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND when it is gone; what the store throws
 */
export async function readSegment(context: Context, input: SegmentInput): Promise<SegmentReading> {
  const { archive, segment, file } = input;
  const path = archivedPath(segment.name) ?? segment.name;
  const none = { header: null, plain: null, storedBytes: 0, hasDigest: true, isSealed: false };
  const damaged = (check: WalFinding['check'], message: string): SegmentReading => ({
    ...none,
    findings: [{ file: path, check, message }],
  });
  let digests: WalDigests | null;
  const isStreamed = archive.streamed.has(segment.name);
  try {
    // One of the stream may still grow; what the archive keeps beside its own is of that one.
    digests = isStreamed ? null : await archive.digests(segment.name);
  } catch (error) {
    return damaged('digest', messageOfDamage(error));
  }
  const keeper = createHeadKeeper(segmentHeaderBytes);
  const { isPlain, ...source } = await openSegment(archive, segment.name);
  try {
    const reading = { ...source, observers: [keeper], file, context: flowContext(context) };
    const { plain, stored } = await readBack(reading);
    const digest = digests?.plain ?? null;
    const { problem, header } = compareSegment(input, plain, digest, keeper.head());
    const isStoredSame = isPlain || digests?.stored == null || digests.stored === stored.sha256;
    const found: typeof problem = isStoredSame
      ? problem
      : ['digest', 'differs from its stored digest'];
    const findings = found === null ? [] : damaged(...found).findings;
    const hasDigest = digests !== null;
    return { findings, header, plain, isSealed: false, storedBytes: stored.bytes, hasDigest };
  } catch (error) {
    if (!isKeyMissing(error)) return damaged('bytes', messageOfDamage(error));
    const { message, storedBytes } = await readSealed(archive, segment.name, digests);
    const { findings } = message === null ? { findings: [] } : damaged('digest', message);
    return { ...none, findings, storedBytes, hasDigest: digests !== null, isSealed: true };
  }
}
