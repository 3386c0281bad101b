/**
 * Positions in the WAL: LSNs, timelines, and the arithmetic of segments (PostgreSQL manual, "WAL
 * Internals" and the type pg_lsn). All of it is exact: an LSN has 64 bits, so it is a bigint.
 */

import { HoldfastError } from './errors.ts';

/** A byte position in the WAL. */
export type Lsn = bigint;

/** What initdb takes for `--wal-segsize`: a power of two from 1 MB to 1 GB. */
export const segmentBytesDefault = 16 * 1024 * 1024;
const segmentBytesMin = 1024 * 1024;
const segmentBytesMax = 1024 * 1024 * 1024;
/** Segments are numbered within "logs" of 4 GB: the middle eight digits of a name. */
const logBytes = 0x1_0000_0000n;

const lsnPattern = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/;

/** `16/B374D848` → its position, or `null` when the text is no LSN. */
export function parseLsn(text: string): Lsn | null {
  const match = lsnPattern.exec(text);
  if (match === null) return null;
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** Like {@link parseLsn}. @throws HoldfastError USAGE when the text is no LSN */
export function requireLsn(text: string): Lsn {
  const lsn = parseLsn(text);
  if (lsn !== null) return lsn;
  throw new HoldfastError('USAGE', `${JSON.stringify(text)} is no LSN`, {
    hint: 'An LSN looks like 16/B374D848: SELECT pg_current_wal_lsn() shows one.',
  });
}

/** The mirror of {@link parseLsn}, as PostgreSQL writes it: without leading zeros. */
export function formatLsn(lsn: Lsn): string {
  const hex = (part: bigint) => part.toString(16).toUpperCase();
  return `${hex(lsn >> 32n)}/${hex(lsn & 0xffff_ffffn)}`;
}

/** Whether a server can have segments of that size. */
export function isSegmentSize(bytes: number): boolean {
  return (
    Number.isInteger(bytes) &&
    bytes >= segmentBytesMin &&
    bytes <= segmentBytesMax &&
    Number.isInteger(Math.log2(bytes))
  );
}

/** The number of the segment that holds the byte at an LSN. */
export function segmentNumber(lsn: Lsn, segmentBytes: number): bigint {
  return lsn / BigInt(segmentBytes);
}

/**
 * The number of the segment that holds the byte *before* an LSN: WAL that ends exactly at a border
 * does not reach into the next segment (XLByteToPrevSeg).
 */
export function previousSegmentNumber(lsn: Lsn, segmentBytes: number): bigint {
  return lsn === 0n ? 0n : (lsn - 1n) / BigInt(segmentBytes);
}

/** The LSN at which a segment begins. */
export function segmentStart(number: bigint, segmentBytes: number): Lsn {
  return number * BigInt(segmentBytes);
}

const hex8 = (part: bigint) => part.toString(16).toUpperCase().padStart(8, '0');

/** The name of a segment: timeline, log, segment, eight digits each (XLogFileName). */
export function segmentName(timeline: number, number: bigint, segmentBytes: number): string {
  const perLog = logBytes / BigInt(segmentBytes);
  return hex8(BigInt(timeline)) + hex8(number / perLog) + hex8(number % perLog);
}

/** A segment taken apart. */
export interface SegmentName {
  readonly timeline: number;
  readonly number: bigint;
}

/**
 * The parts of a segment's name, or `null` when no segment of a server with that segment size is
 * called so. {@link segmentName} is its mirror.
 */
export function parseSegmentName(name: string, segmentBytes: number): SegmentName | null {
  const match = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/.exec(name);
  if (match === null) return null;
  const perLog = logBytes / BigInt(segmentBytes);
  const inLog = BigInt(`0x${match[3]}`);
  const timeline = Number.parseInt(match[1] ?? '', 16);
  if (inLog >= perLog || timeline === 0) return null;
  return { timeline, number: BigInt(`0x${match[2]}`) * perLog + inLog };
}

/**
 * The size of a server's segments, told by one of them and where something in it ends: a small
 * number may mean several sizes, of which the default one is taken first.
 *
 * @param name of the segment
 * @param end the position behind a byte in it
 * @returns `null` where no size fits
 */
export function segmentBytesOf(name: string, end: Lsn): number | null {
  const sizes = [segmentBytesDefault];
  for (let size = segmentBytesMin; size <= segmentBytesMax; size *= 2) sizes.push(size);
  const found = sizes.find((size) => {
    const parsed = parseSegmentName(name, size);
    return parsed !== null && parsed.number === previousSegmentNumber(end, size);
  });
  return found ?? null;
}
