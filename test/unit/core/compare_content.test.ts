import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { tableKey } from '../../../src/core/compare.ts';
import {
  compareDigests,
  compareLargeObjects,
  compareSequences,
  compareSums,
  type Difference,
  describeDifference,
} from '../../../src/core/compare_content.ts';
import { commonLayouts } from '../../../src/core/copy_columns.ts';
import type { ManifestTable } from '../../../src/core/manifest.ts';

const digest = (of: string): string => Buffer.from(of).toString('hex').padStart(64, '0');

function table(name: string, rows: number, content: string, root?: string): ManifestTable {
  const one = { schema: 's', name, rows, bytes: rows * 10, sha256: digest(content) };
  return root === undefined ? one : { ...one, root: { schema: 's', name: root } };
}

describe('the first look', () => {
  it('finds nothing where every digest is equal', () => {
    const tables = [table('a', 3, 'x'), table('b', 0, ''), table('c', 1, 'y', 'all')];
    const look = compareDigests(tables, tables.toReversed());
    expect(look).toEqual({ differences: [], undecided: [], unexpected: [] });
  });

  it('finds other numbers of rows and of bytes, and what is missing, though it was empty', () => {
    const expected = [table('a', 3, 'x'), table('b', 3, 'x'), table('c', 0, ''), table('d', 1, '')];
    const other = { ...table('b', 3, 'y'), bytes: 31 };
    expect(compareDigests(expected, [table('a', 4, 'x'), other, table('d', 1, '')])).toEqual({
      differences: [
        { kind: 'rows', schema: 's', name: 'a', expected: 3, actual: 4 },
        { kind: 'values', schema: 's', name: 'b', rows: 3 },
        { kind: 'rows', schema: 's', name: 'c', expected: 0, actual: null },
      ],
      undecided: [],
      unexpected: [],
    });
  });

  it('leaves it to the second where only the digest differs', () => {
    const [before, after] = [table('a', 3, 'x'), table('a', 3, 'y')];
    const { differences, undecided } = compareDigests([before], [after]);
    expect(differences).toEqual([]);
    expect(undecided).toEqual([{ schema: 's', name: 'a', expected: [before], actual: [after] }]);
  });

  it('takes the leaves of a partitioned table as one', () => {
    const before = [table('p0', 3, 'x', 'p'), table('p1', 4, 'y', 'p')];
    const moved = [table('p0', 5, 'z', 'p'), table('p1', 2, 'w', 'p'), table('p2', 0, '', 'p')];
    const { differences, undecided } = compareDigests(before, moved);
    expect(differences).toEqual([]);
    expect(undecided).toEqual([{ schema: 's', name: 'p', expected: before, actual: moved }]);
    // An empty leaf more or less is no rows more or less.
    const [empty] = moved.slice(2);
    expect(compareDigests(before, [...before, ...(empty ? [empty] : [])]).undecided).toEqual([]);
    const less = compareDigests(before, before.slice(1)).differences.map(describeDifference);
    expect(less).toEqual(['"s"."p" has 4 of 7 rows']);
  });

  it('tells tables that the backup does not have, if there is something in them', () => {
    const { unexpected } = compareDigests([], [table('a', 3, 'x'), table('b', 0, '')]);
    expect(unexpected.map(({ name }) => name)).toEqual(['a']);
  });
});

describe('the second look', () => {
  const sums = (...pairs: [string, bigint][]) =>
    new Map(
      pairs.map(([name, sum]) => [
        tableKey({ schema: 's', name }),
        BigInt.asUintN(256, sum).toString(16).padStart(64, '0'),
      ]),
    );
  const group = {
    schema: 's',
    name: 'p',
    expected: [table('p0', 3, 'x', 'p'), table('p1', 4, 'y', 'p')],
    actual: [table('p0', 7, 'z', 'p'), table('p1', 0, '', 'p')],
  };

  it('adds the leaves up, round the end of the numbers', () => {
    const expected = sums(['p0', -1n], ['p1', 5n]);
    expect(compareSums([group], expected, sums(['p0', 4n], ['p1', 0n]))).toEqual([]);
    expect(compareSums([group], expected, sums(['p0', 5n], ['p1', 0n]))).toEqual([
      { kind: 'values', schema: 's', name: 'p', rows: 7 },
    ]);
  });

  it('takes no missing sum for a zero', () => {
    expect(() => compareSums([group], sums(['p0', 1n]), sums(['p0', 1n]))).toThrow(RangeError);
  });

  it('takes the rows as they are written if all tables have their columns in one order', () => {
    expect(commonLayouts([['b', 'a']])).toEqual(['as written']);
    const both = [
      ['b', 'a'],
      ['b', 'a'],
    ];
    expect(commonLayouts(both)).toEqual(['as written', 'as written']);
    expect(commonLayouts([['b', 'a'], ['a', 'b'], null])).toEqual([[1, 0], [0, 1], 'as written']);
    expect(commonLayouts([['a,b'], ['a', 'b']])).toEqual([[0], [0, 1]]);
  });
});

describe('large objects and sequences', () => {
  const objects = { count: 2, bytes: 10, sha256: digest('x') };

  it('no large objects are none, whether or not the dump has a block for them', () => {
    const none = { count: 0, bytes: 0, sha256: digest('') };
    expect(compareLargeObjects(null, none)).toEqual([]);
    expect(compareLargeObjects(none, null)).toEqual([]);
    expect(compareLargeObjects(objects, { ...objects })).toEqual([]);
    expect(compareLargeObjects(null, objects)).toHaveLength(1);
  });

  it.each(['count', 'bytes', 'sha256'] as const)('another %s is found', (part) => {
    const other = { ...objects, [part]: part === 'sha256' ? digest('y') : 1 };
    expect(compareLargeObjects(objects, other)).toHaveLength(1);
    expect(compareLargeObjects(other, objects)).toHaveLength(1);
  });

  it('sequences are found by schema and name', () => {
    const state = fc.record({
      schema: fc.string({ minLength: 1 }),
      name: fc.string({ minLength: 1 }),
      value: fc.constantFrom('1, true', '1, false', '2, true'),
    });
    const states = fc.uniqueArray(state, { selector: tableKey });
    fc.assert(
      fc.property(states, fc.nat(), (all, which) => {
        expect(compareSequences(all, all.toReversed())).toEqual([]);
        expect(compareSequences([], all)).toEqual([]);
        const at = which % Math.max(1, all.length);
        const moved = all.map((each, index) =>
          index === at ? { ...each, value: '9, true' } : each,
        );
        const gone = all.filter((_, index) => index !== at);
        const expected = all.length === 0 ? [] : [all[at]?.name];
        expect(compareSequences(all, moved).map(({ name }) => name)).toEqual(expected);
        expect(compareSequences(all, gone).map(({ actual }) => actual)).toEqual(
          expected.map(() => null),
        );
      }),
    );
  });
});

describe('in words', () => {
  it.each<[Difference, string]>([
    [
      { kind: 'rows', schema: 'a.b', name: 'c"\n', expected: 3, actual: 2 },
      '"a.b".U&"c""\\000a" has 2 of 3 rows',
    ],
    [{ kind: 'rows', schema: 's', name: 't', expected: 0, actual: null }, '"s"."t" is missing'],
    [{ kind: 'values', schema: 's', name: 't', rows: 3 }, '"s"."t" has other values in its 3 rows'],
    [{ kind: 'large objects', expected: 2, actual: 1 }, 'there are 1 of 2 large objects'],
    [{ kind: 'large objects', expected: 2, actual: 2 }, 'the 2 large objects are not the same'],
    [
      { kind: 'sequence', schema: 's', name: 't', expected: '5, true', actual: '4, true' },
      'the sequence "s"."t" stands at 4, true, not at 5, true',
    ],
    [
      { kind: 'sequence', schema: 's', name: 't', expected: '5, true', actual: null },
      'the sequence "s"."t" is missing',
    ],
  ])('%j', (difference, words) => {
    expect(describeDifference(difference)).toBe(words);
  });
});
