import { describe, expect, it } from 'vitest';
import {
  archivedPath,
  isTimelineFolder,
  pathBeside,
  sortArchive,
} from '../../../src/core/wal_listing.ts';

const mb = 1024 * 1024;

describe('the names in an archive', () => {
  const first = '000000010000000000000003';
  const listing = sortArchive(
    {
      top: [
        '.00000002.history.77.data.tmp',
        '00000001',
        '00000002.history',
        '00000003.history.sha256',
        '000000010000000000000003.00000028.backup',
        '000000010000000000000003.00000028.backup.sha256',
        'README',
        'claim.json',
      ],
      timelines: new Map([
        [
          '00000001',
          [
            `.${first}.77.data.tmp`,
            '000000010000000000000002.index.json',
            '000000010000000000000002.sha256',
            `${first}.index.json`,
            `${first}.partial.sha256`,
            `${first}.partial.zst`,
            `${first}.sha256`,
            `${first}.zst`,
            '000000010000000000000004.zst.age',
            '000000010000000000000004.sha256',
            '000000010000000000000005.zst.gpg',
            '000000010000000000000005.zst.age',
            '000000010000000000000100.zst',
            '000000020000000000000003.zst',
            `${first}.gz`,
            first,
          ],
        ],
      ]),
    },
    16 * mb,
  );

  it('are sorted into segments, histories and backups', () => {
    const segment = { timeline: 1, number: 3n, hasDigest: true, suffix: '.zst' };
    const encrypted = { ...segment, isPartial: false, hasIndex: false };
    const [fourth, fifth] = ['000000010000000000000004', '000000010000000000000005'];
    expect(listing.segments).toEqual([
      { ...segment, name: first, isPartial: false, hasIndex: true },
      { ...segment, name: `${first}.partial`, isPartial: true, hasIndex: false },
      { ...encrypted, name: fourth, number: 4n, suffix: '.zst.age' },
      { ...encrypted, name: fifth, number: 5n, suffix: '.zst.age', hasDigest: false },
    ]);
    expect(listing.histories).toMatchObject([{ timeline: 2, hasDigest: false }]);
    expect(listing.backups).toMatchObject([{ number: 3n, timeline: 1, hasDigest: true }]);
  });

  it('tell what is left over, what is being written, and what is of nobody of ours', () => {
    expect(listing.strays).toEqual([
      '00000003.history.sha256',
      '00000001/000000010000000000000002.index.json',
      '00000001/000000010000000000000002.sha256',
    ]);
    expect(listing.unfinished).toEqual([
      '.00000002.history.77.data.tmp',
      `00000001/.${first}.77.data.tmp`,
    ]);
    // Segments of 16 MB end in at most FF.
    expect(listing.foreign).toEqual([
      'README',
      '00000001/000000010000000000000005.zst.gpg',
      '00000001/000000010000000000000100.zst',
      '00000001/000000020000000000000003.zst',
      `00000001/${first}.gz`,
      `00000001/${first}`,
    ]);
  });

  it('depend on the size of segments', () => {
    const timelines = new Map([['00000001', ['000000010000000000000100.zst']]]);
    const { segments } = sortArchive({ top: ['00000001'], timelines }, mb);
    expect(segments).toMatchObject([{ number: 0x100n }]);
  });

  it('are found again', () => {
    expect(archivedPath(first)).toBe(`00000001/${first}.zst`);
    expect(archivedPath(`${first}.partial`)).toBe(`00000001/${first}.partial.zst`);
    expect(archivedPath('00000002.history')).toBe('00000002.history');
    expect(archivedPath(`${first}.00FFFFFF.backup`)).toBe(`${first}.00FFFFFF.backup`);
    expect(pathBeside(first, '.sha256')).toBe(`00000001/${first}.sha256`);
    expect(pathBeside('00000002.history', '.sha256')).toBe('00000002.history.sha256');
  });

  it.each([
    '',
    '../x',
    'claim.json',
    `${first}.zst`,
    `${first}\n`,
    first.toLowerCase().replace('3', 'a'),
  ])('%j is none of a file of the WAL', (name) => {
    expect(archivedPath(name)).toBeNull();
  });

  it.each([
    ['00000001', true],
    ['0000000A', true],
    ['00000000', false],
    ['0000000a', false],
    ['000000010', false],
  ])('%s is the folder of a timeline: %s', (name, is) => {
    expect(isTimelineFolder(name)).toBe(is);
  });
});
