/** Segments that no server wrote: a header that fits their name, and nothing behind it. */

/** What a header is made of; the rest is that of timeline 1 of some server. */
export interface SegmentWish {
  readonly number: bigint;
  readonly segmentBytes: number;
  readonly timeline?: number;
  readonly systemIdentifier?: bigint;
  readonly continuedBytes?: number;
}

/** The system identifier of segments that are not told another one. */
export const sampleSystemIdentifier = 7_301_234_567_890_123_456n;

/** The first 40 bytes of a segment of PostgreSQL 15. */
export function segmentHeader(wish: SegmentWish): Buffer {
  const { number, segmentBytes, timeline = 1, continuedBytes = 0 } = wish;
  const bytes = Buffer.alloc(40);
  bytes.writeUInt16LE(0xd110, 0);
  bytes.writeUInt16LE(continuedBytes === 0 ? 0x0002 : 0x0003, 2);
  bytes.writeUInt32LE(timeline, 4);
  bytes.writeBigUInt64LE(number * BigInt(segmentBytes), 8);
  bytes.writeUInt32LE(continuedBytes, 16);
  bytes.writeBigUInt64LE(wish.systemIdentifier ?? sampleSystemIdentifier, 24);
  bytes.writeUInt32LE(segmentBytes, 32);
  bytes.writeUInt32LE(8192, 36);
  return bytes;
}

/** A whole segment. */
export function sampleSegment(wish: SegmentWish): Buffer {
  return Buffer.concat([segmentHeader(wish)], wish.segmentBytes);
}
