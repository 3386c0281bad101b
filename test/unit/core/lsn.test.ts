import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatLsn,
  isSegmentSize,
  parseLsn,
  parseSegmentName,
  previousSegmentNumber,
  requireLsn,
  segmentBytesOf,
  segmentName,
  segmentNumber,
  segmentStart,
} from '../../../src/core/lsn.ts';

const mb = 1024 * 1024;
const sizes = fc.integer({ min: 0, max: 10 }).map((power) => mb * 2 ** power);

describe('an LSN', () => {
  it.each([
    ['0/0', 0n],
    ['0/1000028', 0x1000028n],
    ['16/B374D848', 0x16b374d848n],
    ['16/b374d848', 0x16b374d848n],
    ['FFFFFFFF/FFFFFFFF', 0xffff_ffff_ffff_ffffn],
  ])('%s is a position', (text, lsn) => {
    expect(parseLsn(text)).toBe(lsn);
    expect(formatLsn(lsn)).toBe(text.toUpperCase());
  });

  it.each(['', '0', '/', '0/', '/0', '0/G', '123456789/0', '0/123456789', ' 0/0', '0/0\n', '-1/0'])(
    '%j is none',
    (text) => {
      expect(parseLsn(text)).toBeNull();
      expect(() => requireLsn(text)).toThrow('is no LSN');
    },
  );

  it('comes back from its text', () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (lsn) => {
        expect(parseLsn(formatLsn(lsn))).toBe(lsn);
      }),
    );
  });
});

describe('a segment', () => {
  // From pg_walfile_name() of servers with these segment sizes.
  it.each([
    [1, '0/1000028', 16 * mb, '000000010000000000000001'],
    [1, '0/FF000000', 16 * mb, '0000000100000000000000FF'],
    [10, '1/0', 16 * mb, '0000000A0000000100000000'],
    [1, '0/100000', mb, '000000010000000000000001'],
    [1, '1/23456789', mb, '000000010000000100000234'],
    [1, '3/40000000', 1024 * mb, '000000010000000300000001'],
  ])('of timeline %d with %s, %d bytes, is called %s', (timeline, lsn, bytes, name) => {
    expect(segmentName(timeline, segmentNumber(requireLsn(lsn), bytes), bytes)).toBe(name);
  });

  it('does not hold the byte at its end', () => {
    const end = segmentStart(8n, 16 * mb);
    expect(segmentNumber(end, 16 * mb)).toBe(8n);
    expect(previousSegmentNumber(end, 16 * mb)).toBe(7n);
    expect(previousSegmentNumber(end + 1n, 16 * mb)).toBe(8n);
    expect(previousSegmentNumber(0n, 16 * mb)).toBe(0n);
  });

  it.each([
    '',
    '00000001000000000000000',
    '0000000100000000000000010',
    '00000001000000000000000g',
    '000000010000000000000001.partial',
    '000000000000000000000001',
    '000000010000000000000100',
    '0000000a0000000000000001',
  ])('of 16 MB is not called %j', (name) => {
    expect(parseSegmentName(name, 16 * mb)).toBeNull();
  });

  it('comes back from its name, and the names sort as the numbers do', () => {
    const numbers = fc.tuple(sizes, fc.nat(), fc.nat(), fc.integer({ min: 1, max: 0xffff_ffff }));
    fc.assert(
      fc.property(numbers, ([bytes, one, other, timeline]) => {
        const [a, b] = [BigInt(one), BigInt(other)];
        const name = segmentName(timeline, a, bytes);
        expect(parseSegmentName(name, bytes)).toEqual({ timeline, number: a });
        expect(segmentNumber(segmentStart(a, bytes), bytes)).toBe(a);
        expect(name < segmentName(timeline, b, bytes)).toBe(a < b);
      }),
    );
  });

  it('has a power of two from 1 MB to 1 GB', () => {
    expect([mb, 16 * mb, 1024 * mb].every(isSegmentSize)).toBe(true);
    expect([0, mb / 2, 3 * mb, 2048 * mb, 1.5 * mb, Number.NaN].some(isSegmentSize)).toBe(false);
  });
});

describe('the size of segments', () => {
  const mb = 1024 * 1024;

  it.each([1, 2, 16, 64, 1024])('of %i MB is told by a name and a position', (size) => {
    const bytes = size * mb;
    const number = 0x1_2345n;
    const name = segmentName(1, number, bytes);
    const end = (number + 1n) * BigInt(bytes);
    expect(segmentBytesOf(name, end)).toBe(bytes);
    expect(segmentBytesOf(name, end - BigInt(bytes) + 40n)).toBe(bytes);
  });

  it('is none where the two do not belong together', () => {
    expect(segmentBytesOf(segmentName(1, 5n, 16 * mb), 0x100_0000_0000n)).toBeNull();
  });
});
