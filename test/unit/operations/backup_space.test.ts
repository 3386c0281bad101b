import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkSpace, estimateSize } from '../../../src/operations/backup_space.ts';
import { sampleManifest } from '../../support/sample_backup.ts';

const last = sampleManifest();
const sumOf = (part: 'plain' | 'stored') =>
  last.files.reduce((bytes, file) => bytes + (file[part]?.bytes ?? 0), 0);

describe('what the next backup is expected to take', () => {
  it('is half of the database where nothing is known', () => {
    const expected = { plainBytes: 1001, storedBytes: 501, from: 'database' };
    expect(estimateSize(1001, null)).toEqual(expected);
    expect(estimateSize(1001, { ...last, database_bytes: 0 })).toEqual(expected);
  });

  it('is what the last one took, where the database is as large as then', () => {
    expect(estimateSize(last.database_bytes, last)).toEqual({
      plainBytes: sumOf('plain'),
      storedBytes: sumOf('stored'),
      from: 'history',
    });
  });

  it('is, before the filters, as much as the database where the last one did not look', () => {
    const files = last.files.map((file) => ({ ...file, plain: null }));
    expect(estimateSize(12_345, { ...last, files })).toMatchObject({
      plainBytes: 12_345,
      from: 'history',
    });
  });

  it('grows and shrinks with the database', () => {
    fc.assert(
      fc.property(fc.nat(1e15), fc.nat(1e15), (one, other) => {
        const [small, large] = one < other ? [one, other] : [other, one];
        const [less, more] = [estimateSize(small, last), estimateSize(large, last)];
        expect(less.plainBytes).toBeLessThanOrEqual(more.plainBytes);
        expect(less.storedBytes).toBeLessThanOrEqual(more.storedBytes);
        expect(Number.isInteger(more.storedBytes)).toBe(true);
      }),
    );
    expect(estimateSize(3 * last.database_bytes, last).plainBytes).toBe(3 * sumOf('plain'));
  });
});

describe('the free space', () => {
  const known = { plainBytes: 5e9, storedBytes: 1e9, from: 'history' } as const;
  const guessed = { ...known, from: 'database' } as const;

  it('is no concern where there is enough, or where the store cannot tell', () => {
    expect(checkSpace(known, 12e9, 10e9)).toBeNull();
    expect(checkSpace(known, null, 10e9)).toBeNull();
    expect(checkSpace(known, 11e9, 10e9)).toBeNull();
  });

  it('below what should stay free is a warning with both numbers and the setting', () => {
    expect(checkSpace(known, 11e9 - 1, 10e9)).toBe(
      'only 11.0 GB are free; about 1.0 GB are needed and 10.0 GB (MIN_DISK_SPACE_GB) should ' +
        'stay free',
    );
  });

  it('that the last backup would not have fitted into ends the run before it begins', () => {
    expect(() => checkSpace(known, 990e6, 0)).toThrow(
      expect.objectContaining({
        code: 'NO_SPACE',
        message: 'the backup needs about 1.0 GB and 990 MB are free',
      }),
    );
    expect(checkSpace(known, 1e9, 0)).toBeNull();
  });

  it('is never refused for a guess: the dump may be much smaller than its database', () => {
    expect(checkSpace(guessed, 1e6, 0)).toContain('only 1.0 MB are free');
  });
});
