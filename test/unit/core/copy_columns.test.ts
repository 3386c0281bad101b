import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { copyColumns, orderByName } from '../../../src/core/copy_columns.ts';

describe('the columns of a COPY statement', () => {
  it.each([
    ['COPY public.goods (id, name) FROM stdin;\n', ['id', 'name']],
    ['COPY public.goods (id) FROM stdin;', ['id']],
    ['COPY public.no_columns  FROM stdin;\n', []],
    ['COPY "a ""b"". (c".t ("x, y", "a ""q"" (b) FROM stdin;") FROM stdin;\n', 2],
    ['COPY "new\nline"."a.b" ("c\nd", e) FROM stdin;\n', ['c\nd', 'e']],
  ] as const)('%j', (statement, columns) => {
    const found = copyColumns(statement);
    if (typeof columns === 'number') expect(found).toEqual(['x, y', 'a "q" (b) FROM stdin;']);
    else expect(found).toEqual(columns);
  });

  it.each([
    '',
    'COPY public.goods (id, name) TO stdout;',
    'COPY public.goods (id, ) FROM stdin;',
    'COPY public.goods (id name) FROM stdin;',
    'COPY (SELECT 1) TO stdout;',
  ])('cannot be made out: %j', (statement) => {
    expect(copyColumns(statement)).toBeNull();
  });

  it('are the same whatever stands in their names', () => {
    const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 63 });
    fc.assert(
      fc.property(name, name, fc.array(name, { maxLength: 8 }), (schema, table, columns) => {
        const list = columns.map((column) => quoteAlways(column)).join(', ');
        const written = list === '' ? '' : `(${list})`;
        const relation = `${quoteAlways(schema)}.${quoteAlways(table)}`;
        const statement = `COPY ${relation} ${written} FROM stdin;\n`;
        expect(copyColumns(statement)).toEqual(columns);
      }),
    );
  });
});

function quoteAlways(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

describe('columns in the order of their names', () => {
  it('are found by their places', () => {
    expect(orderByName(['b', 'c', 'a'])).toEqual([2, 0, 1]);
    expect(orderByName([])).toEqual([]);
  });

  it('are the same ones for every order', () => {
    const names = fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(names, fc.infiniteStream(fc.nat()), (columns, keys) => {
        const shuffled = columns
          .map((column) => ({ column, key: Number(keys.next().value) }))
          .sort((a, b) => a.key - b.key)
          .map(({ column }) => column);
        const inOrder = (list: string[]) => orderByName(list).map((index) => list[index]);
        expect(inOrder(shuffled)).toEqual(inOrder(columns));
      }),
    );
  });
});
