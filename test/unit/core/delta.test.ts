import { describe, expect, it } from 'vitest';
import { type Present, planDelta } from '../../../src/core/delta.ts';

const listed = new Map(
  ['PG_VERSION', 'base/5/1', 'base/5/2', 'global/pg_control'].map((path) => [
    path,
    { bytes: 8192, sha256: path, modifiedSeconds: 1000 },
  ]),
);

const present = (path: string, facts: Partial<Present> = {}): Present => ({
  path,
  kind: 'file',
  bytes: 8192,
  modifiedSeconds: 1000,
  ...facts,
});

const decide = (...entries: Present[]) => {
  const { alike, removed, folders } = planDelta(entries, listed);
  const paths = (from: readonly Present[]) => from.map(({ path }) => path);
  return [paths(alike), paths(removed), paths(folders)];
};

describe('what of a data directory stays', () => {
  it('is what has the size and the time of the backup', () => {
    expect(
      decide(
        present('PG_VERSION'),
        present('base/5/1', { bytes: 16384 }),
        present('base/5/2', { modifiedSeconds: 1001 }),
        present('base/5/3'),
      ),
    ).toEqual([['PG_VERSION'], ['base/5/1', 'base/5/2', 'base/5/3'], []]);
  });

  it('is never the control file, nor a link or a socket in the place of a file', () => {
    expect(
      decide(
        present('global/pg_control'),
        present('base/5/1', { kind: 'link' }),
        present('base/5/2', { kind: 'other' }),
      ),
    ).toEqual([[], ['global/pg_control', 'base/5/1', 'base/5/2'], []]);
  });

  it('is every folder with a file of the backup in it; others go from the inside out', () => {
    const folder = (path: string) => present(path, { kind: 'folder' });
    expect(decide(folder('base'), folder('base/5'), folder('log'), folder('log/a'))).toEqual([
      [],
      [],
      ['log/a', 'log'],
    ]);
  });

  it('is nothing of which the backup does not tell the time', () => {
    const timeless = new Map([['a', { bytes: 1, sha256: 'x', modifiedSeconds: null }]]);
    expect(planDelta([present('a', { bytes: 1 })], timeless).alike).toEqual([]);
  });
});
