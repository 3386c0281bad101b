/**
 * The header of a WAL segment: the first 40 bytes of its first page, which is a long page header
 * (XLogLongPageHeaderData in src/include/access/xlog_internal.h). All numbers are in the byte order
 * of the server, which is little-endian wherever Holdfast runs.
 */

import { HoldfastError } from './errors.ts';
import { isSegmentSize, type Lsn } from './lsn.ts';

/** So many bytes tell whose segment it is. */
export const segmentHeaderBytes = 40;
/** The first page of a segment has the long header. */
const longHeaderFlag = 0x0002;
/** A page that begins within a record. */
const continuedFlag = 0x0001;

/** Which major version of the server writes a magic number (XLOG_PAGE_MAGIC of its releases). */
const majorOfMagic: ReadonlyMap<number, number> = new Map([
  [0xd10d, 14],
  [0xd110, 15],
  [0xd113, 16],
  [0xd116, 17],
  [0xd118, 18],
]);

/** The major version of the server that wrote a segment, or `null` where it is not known. */
export function majorOfSegment({ magic }: Pick<SegmentHeader, 'magic'>): number | null {
  return majorOfMagic.get(magic) ?? null;
}

/** Whose segment it is, and which. */
export interface SegmentHeader {
  /** Changes with the major version of the server. */
  readonly magic: number;
  readonly timeline: number;
  /** Where the segment begins. */
  readonly pageAddress: Lsn;
  readonly systemIdentifier: string;
  readonly segmentBytes: number;
  /** Of each page of the WAL: 8192 unless the server was built otherwise. */
  readonly pageBytes: number;
  /** So many bytes of a record that began in an earlier segment follow; 0 for none. */
  readonly continuedBytes: number;
}

/**
 * Reads the header.
 *
 * @param bytes the first {@link segmentHeaderBytes} bytes of a segment, or more
 * @throws HoldfastError DAMAGED when they are no header of a segment
 */
export function parseSegmentHeader(bytes: Uint8Array): SegmentHeader {
  const damaged = (why: string) => new HoldfastError('DAMAGED', `no WAL segment: ${why}`);
  if (bytes.length < segmentHeaderBytes) throw damaged(`it has only ${bytes.length} bytes`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const magic = view.getUint16(0, true);
  const segmentBytes = view.getUint32(32, true);
  if (magic < 0xd000 || (view.getUint16(2, true) & longHeaderFlag) === 0)
    throw damaged('it does not begin with a page of the WAL');
  if (!isSegmentSize(segmentBytes)) throw damaged(`a size of ${segmentBytes} bytes stands in it`);
  return {
    magic,
    timeline: view.getUint32(4, true),
    pageAddress: view.getBigUint64(8, true),
    systemIdentifier: view.getBigUint64(24, true).toString(),
    segmentBytes,
    pageBytes: view.getUint32(36, true),
    continuedBytes: (view.getUint16(2, true) & continuedFlag) === 0 ? 0 : view.getUint32(16, true),
  };
}
