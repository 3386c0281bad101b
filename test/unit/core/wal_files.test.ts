import { describe, expect, it } from 'vitest';
import { parseWalFile } from '../../../src/core/wal_files.ts';

const mb = 1024 * 1024;
const segment = '0000000200000001000000A5';

describe('a file that PostgreSQL archives', () => {
  it.each([
    [segment, { kind: 'segment', timeline: 2, number: 256n + 0xa5n }],
    [`${segment}.partial`, { kind: 'partial', timeline: 2, number: 256n + 0xa5n }],
    ['0000000A.history', { kind: 'history', timeline: 10 }],
    [
      `${segment}.00000028.backup`,
      { kind: 'backup', timeline: 2, number: 256n + 0xa5n, offset: 0x28 },
    ],
  ])('called %s is known by its name', (name, file) => {
    expect(parseWalFile(name, 16 * mb)).toEqual(file);
  });

  it('has a number that depends on the size of segments', () => {
    expect(parseWalFile('000000010000000100000234', mb)).toMatchObject({ number: 4096n + 0x234n });
    expect(parseWalFile('000000010000000100000234', 16 * mb)).toBeNull();
  });

  it.each([
    '',
    'claim.json',
    segment.toLowerCase(),
    `${segment}.zst`,
    `${segment}.PARTIAL`,
    `${segment}\n`,
    `x${segment}`,
    // There is no timeline 0, and the first one has no history.
    `00000000${segment.slice(8)}`,
    '00000001.history',
    '0000000A.history.sha256',
    // Behind the end of a segment of 16 MB.
    `${segment}.01000000.backup`,
    `0000000200000001000001A5.partial`,
  ])('is not called %j', (name) => {
    expect(parseWalFile(name, 16 * mb)).toBeNull();
  });
});
