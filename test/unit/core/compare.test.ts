import { describe, expect, it } from 'vitest';
import {
  compareRelations,
  compareRows,
  expectedRows,
  tableKey,
} from '../../../src/core/compare.ts';
import type { ManifestTable } from '../../../src/core/manifest.ts';

function table(schema: string, name: string, rows: number, root?: string): ManifestTable {
  const sha256 = '0'.repeat(64);
  const measured = { schema, name, rows, bytes: rows * 2, sha256 };
  return root === undefined ? measured : { ...measured, root: { schema, name: root } };
}

describe('the rows that must be there', () => {
  it('are summed up at the topmost partitioned table', () => {
    const expected = expectedRows([
      table('public', 'orders_0', 10, 'orders'),
      table('public', 'orders_1', 32, 'orders'),
      table('public', 'notes', 3),
    ]);
    expect(expected).toEqual([
      { schema: 'public', name: 'orders', rows: 42 },
      { schema: 'public', name: 'notes', rows: 3 },
    ]);
  });

  it('never mix up names with dots and quotes', () => {
    expect(tableKey({ schema: 'a.b', name: 'c' })).not.toBe(tableKey({ schema: 'a', name: 'b.c' }));
    expect(expectedRows([table('a.b', 'c', 1), table('a', 'b.c', 2)])).toHaveLength(2);
  });
});

describe('the comparison', () => {
  const expected = expectedRows([table('public', 'notes', 3), table('public', 'tags', 0)]);

  it('finds nothing where all is equal', () => {
    const actual = new Map([
      [tableKey({ schema: 'public', name: 'notes' }), 3],
      [tableKey({ schema: 'public', name: 'tags' }), 0],
      [tableKey({ schema: 'public', name: 'another' }), 7],
    ]);
    expect(compareRows(expected, actual)).toEqual([]);
  });

  it('finds a table with another number of rows, and one that is missing though it was empty', () => {
    const actual = new Map([[tableKey({ schema: 'public', name: 'notes' }), 2]]);
    expect(compareRows(expected, actual)).toEqual([
      { kind: 'rows', schema: 'public', name: 'notes', expected: 3, actual: 2 },
      { kind: 'rows', schema: 'public', name: 'tags', expected: 0, actual: null },
    ]);
  });

  it('tells kinds of relations in words', () => {
    expect(compareRelations({ r: 4, v: 1 }, { r: 4, v: 0, m: 2 })).toEqual([
      '0 materialized views were backed up, 2 were restored',
      '1 views were backed up, 0 were restored',
    ]);
    expect(compareRelations({ r: 4 }, { r: 4 })).toEqual([]);
  });
});
