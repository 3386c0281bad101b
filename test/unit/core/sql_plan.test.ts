/** What of a text of SQL is restored. */

import { describe, expect, it } from 'vitest';
import { chooseSql, type PlannedPiece, type PlannedSection } from '../../../src/core/sql_plan.ts';

const section = (
  database: string | null,
  [start, end]: readonly [number, number],
  counts: Partial<PlannedSection> = {},
): PlannedSection => ({
  database,
  start,
  end,
  statements: 1,
  createdTables: 1,
  created: 0,
  copies: 0,
  inserts: 0,
  ...counts,
});
const piece = (
  kind: PlannedPiece['kind'],
  [start, end]: readonly [number, number],
  text = 'x',
): PlannedPiece => ({ kind, line: 1, start, end, text });
const never = () => false;
const ranges = (found: readonly { readonly start: number; readonly end: number }[]) =>
  found.map(({ start, end }) => [start, end]);

describe('which database', () => {
  const all = [
    section(null, [0, 10], { createdTables: 0 }),
    section('template1', [12, 20]),
    section('shop', [22, 30]),
    section('postgres', [32, 40]),
  ];
  const connects = [piece('psql', [10, 12]), piece('psql', [20, 22]), piece('psql', [30, 32])];

  it('the only one of pg_dumpall’s that is somebody’s, and nothing around it', () => {
    const choice = chooseSql({ sections: all, pieces: connects }, 'whatever', never);
    expect(choice.sections.map(({ database }) => database)).toEqual(['shop']);
    expect(ranges(choice.leftOut)).toEqual([
      [0, 10],
      [10, 12],
      [12, 20],
      [20, 22],
      [30, 32],
      [32, 40],
    ]);
  });

  it('the one that is named, also where it is one of PostgreSQL’s own', () => {
    const choice = chooseSql({ sections: all, pieces: connects }, 'postgres', never);
    expect(choice.sections.map(({ start }) => start)).toEqual([32]);
  });

  it('none, when there are several and another one was named', () => {
    const sections = [...all, section('books', [42, 50])];
    expect(() => chooseSql({ sections, pieces: [] }, 'lost', never)).toThrow(
      'holds no database "lost", but "template1", "shop", "postgres", "books"',
    );
  });
});

describe('what is left out', () => {
  it('statements on the database, told but for its creation; settings that the server lacks', () => {
    const pieces = [
      piece('database', [1, 2], 'CREATE DATABASE shop'),
      piece('database', [3, 4], 'ALTER DATABASE shop SET x = 1'),
      piece('setting', [5, 6], 'SET new = 0'),
      piece('setting', [7, 8], 'SET known = 0'),
    ];
    const choice = chooseSql({ sections: [section(null, [0, 10])], pieces }, 'a', (text) =>
      text.includes('new'),
    );
    expect(ranges(choice.leftOut)).toEqual([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(choice.told.map(({ text }) => text)).toEqual(['ALTER DATABASE shop SET x = 1']);
  });
});

describe('what makes no database', () => {
  it.each([
    [{ createdTables: 0 }, 'makes nothing'],
    [{ createdTables: 0, copies: 1 }, 'makes no table'],
    [{ createdTables: 0, created: 1, inserts: 1 }, 'makes no table'],
  ])('%j', (counts, words) => {
    const sections = [section(null, [0, 10], counts)];
    expect(() => chooseSql({ sections, pieces: [] }, 'a', never)).toThrow(words);
  });

  it('a schema with functions alone is one', () => {
    const sections = [section(null, [0, 10], { createdTables: 0, created: 1 })];
    expect(chooseSql({ sections, pieces: [] }, 'a', never).sections).toHaveLength(1);
  });
});
