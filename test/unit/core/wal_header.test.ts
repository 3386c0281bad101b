import { describe, expect, it } from 'vitest';
import { majorOfSegment, parseSegmentHeader } from '../../../src/core/wal_header.ts';
import { segmentHeader } from '../../support/wal_segment.ts';

const mb = 1024 * 1024;

describe('the header of a segment', () => {
  it('tells whose segment it is, and which', () => {
    // The first segment of timeline 2 of a real server, copied from timeline 1 at its promotion.
    const words = [
      0x0002d110, 0x00000001, 0x06000000, 0x00000000, 0x00000000, 0x00000000, 0x9f11761a,
      0x6b0199da, 0x01000000, 0x00002000,
    ];
    const bytes = Buffer.alloc(40);
    for (const [place, word] of words.entries()) bytes.writeUInt32LE(word, place * 4);
    const header = parseSegmentHeader(bytes);
    expect(header).toEqual({
      magic: 0xd110,
      timeline: 1,
      pageAddress: 0x6000000n,
      systemIdentifier: ((0x6b0199dan << 32n) | 0x9f11761an).toString(),
      segmentBytes: 16 * mb,
      pageBytes: 8192,
      continuedBytes: 0,
    });
    expect(majorOfSegment(header)).toBe(15);
    expect(majorOfSegment({ magic: 0xd106 })).toBeNull();
  });

  it('tells how much of an earlier record follows, where a record spans two segments', () => {
    const header = segmentHeader({ number: 3n, segmentBytes: mb, continuedBytes: 77 });
    expect(parseSegmentHeader(header)).toMatchObject({ continuedBytes: 77, segmentBytes: mb });
  });

  it.each([
    ['is cut', (bytes: Buffer) => bytes.subarray(0, 39)],
    ['is empty', () => Buffer.alloc(40)],
    ['has no long header', (bytes: Buffer) => overwrite(bytes, 2, 0)],
    ['has an odd size of segments', (bytes: Buffer) => overwrite(bytes, 32, 1)],
  ])('is refused when it %s', (_, damage) => {
    const bytes = damage(segmentHeader({ number: 3n, segmentBytes: mb }));
    expect(() => parseSegmentHeader(bytes)).toThrow('no WAL segment');
  });
});

function overwrite(bytes: Buffer, offset: number, value: number): Buffer {
  const copy = Buffer.from(bytes);
  copy.writeUInt8(value, offset);
  return copy;
}
