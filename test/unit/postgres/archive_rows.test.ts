import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { RowLayout } from '../../../src/core/copy_columns.ts';
import { createArchiveReader } from '../../../src/postgres/archive.ts';
import { RowSumSink } from '../../../src/postgres/archive_rows.ts';
import { buildArchive } from '../../support/archive_builder.ts';

type Row = readonly string[];

/** COPY's text of the rows, with what pg_dump writes after them. */
function copyText(rows: readonly Row[]): Buffer {
  const lines = rows.map((fields) => `${fields.join('\t')}\n`);
  return Buffer.from(`${lines.join('')}\\.\n\n\n`, 'latin1');
}

/** The sum of rows that arrive in pieces of these sizes, over and over. */
function sumOf(
  rows: readonly Row[],
  layout: RowLayout = 'as written',
  pieces: readonly number[] = [1 << 20],
): string {
  const sink = new RowSumSink(layout);
  const text = copyText(rows);
  for (let at = 0, turn = 0; at < text.length; turn += 1) {
    const size = pieces[turn % pieces.length] ?? 1;
    // In the middle of a larger buffer, which is used again at once, as the reader's window is.
    const window = Buffer.concat([Buffer.from('\t\n'), text.subarray(at, at + size)]);
    sink.add(window, 2, window.length);
    window.fill(0x0a);
    at += size;
  }
  return sink.finish();
}

// Neither a tab nor a newline is in a value as COPY writes it; everything else may be.
const field = fc.uint8Array({ maxLength: 40 }).map((bytes) =>
  Buffer.from(bytes)
    .toString('latin1')
    .replaceAll(/[\t\n]/g, '.'),
);
const row = fc.tuple(field, field, field);
const rows = fc.array(row, { maxLength: 30 });
const pieces = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });
const layout = fc.constantFrom<RowLayout>('as written', [0, 1, 2], [2, 0, 1]);

function shuffled<T>(items: readonly T[], keys: Iterator<number>): T[] {
  return items
    .map((item) => ({ item, key: Number(keys.next().value) }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

describe('the sum of rows', () => {
  it('is the sum of their digests modulo 2^256', () => {
    const digest = (text: string) =>
      BigInt(`0x${createHash('sha256').update(text, 'latin1').digest('hex')}`);
    fc.assert(
      fc.property(rows, pieces, (all, sizes) => {
        const sum = all.reduce((total, fields) => total + digest(fields.join('\t')), 0n);
        const expected = BigInt.asUintN(256, sum).toString(16).padStart(64, '0');
        expect(sumOf(all, 'as written', sizes)).toBe(expected);
      }),
    );
  });

  it('is equal for the same rows in whatever order and pieces', () => {
    fc.assert(
      fc.property(rows, layout, pieces, fc.infiniteStream(fc.nat()), (all, how, sizes, keys) => {
        expect(sumOf(shuffled(all, keys), how, sizes)).toBe(sumOf(all, how));
      }),
    );
  });

  it('is another one when a single byte of a single row is another', () => {
    const some = fc.array(fc.tuple(fc.string({ minLength: 1 }).map(safe), field), { minLength: 1 });
    fc.assert(
      fc.property(some, fc.nat(), fc.nat(), layout, (all, which, where, how) => {
        const at = which % all.length;
        const changed = all.map(([first, second], index): Row => {
          if (index !== at) return [first, second];
          const bytes = Buffer.from(first, 'latin1');
          const place = where % bytes.length;
          bytes.writeUInt8(bytes.readUInt8(place) ^ 0x80, place);
          return [bytes.toString('latin1'), second];
        });
        expect(sumOf(changed, how)).not.toBe(sumOf(all, how));
      }),
    );
  });

  it('is another one when a row is there twice, or a value has moved to the next column', () => {
    fc.assert(
      fc.property(rows, row, layout, (all, more, how) => {
        expect(sumOf([...all, more], how)).not.toBe(sumOf(all, how));
        expect(sumOf([...all, more, more], how)).not.toBe(sumOf([...all, more], how));
      }),
    );
    for (const how of ['as written', [0, 1]] as const) {
      expect(sumOf([['ab', 'c']], how)).not.toBe(sumOf([['a', 'bc']], how));
      expect(sumOf([['a', 'b']], how)).not.toBe(sumOf([['b', 'a']], how));
      expect(sumOf([['', 'a']], how)).not.toBe(sumOf([['a', '']], how));
      // Two rows that have changed their values in one column are not the same rows.
      const [one, other] = [
        [
          ['1', 'x'],
          ['2', 'y'],
        ],
        [
          ['1', 'y'],
          ['2', 'x'],
        ],
      ];
      expect(sumOf(one ?? [], how)).not.toBe(sumOf(other ?? [], how));
    }
  });

  it('is equal for the same columns in another order', () => {
    const order = fc.shuffledSubarray([0, 1, 2], { minLength: 3 });
    fc.assert(
      fc.property(rows, order, pieces, (all, places, sizes) => {
        const moved = all.map((fields) => places.map((place) => fields[place] ?? ''));
        const back = [0, 1, 2].map((column) => places.indexOf(column));
        expect(sumOf(moved, back, sizes)).toBe(sumOf(all, [0, 1, 2]));
      }),
    );
  });

  it('takes rows without columns, and none', () => {
    expect(sumOf([[], [], []])).not.toBe(sumOf([[], []]));
    expect(sumOf([])).toBe('0'.repeat(64));
  });
});

/** At least one byte that is neither a tab nor a newline, nor becomes one by its highest bit. */
function safe(text: string): string {
  return `${text.replaceAll(/[^ -~]/g, '.')}`;
}

describe('in an archive', () => {
  const archive = (chunks: readonly Row[]) =>
    buildArchive({
      minor: 14,
      tables: [
        {
          oid: 7,
          schema: 's',
          name: 'a',
          chunks: chunks.map((r) => Buffer.from(`${r.join('\t')}\n`)),
        },
        { oid: 8, schema: 's', name: 'b', chunks: [Buffer.from('1\n')] },
      ],
      copyStatement: 'COPY s.a ("b c", d) FROM stdin;\n',
    }).archive;

  it('the tables are told before their rows, and only the chosen ones are summed up', () => {
    const told: unknown[] = [];
    const reader = createArchiveReader(({ tables }) => {
      told.push(...tables);
      return new Map([[7, [1, 0]]]);
    });
    const values = [
      ['x', 'y'],
      ['z', ''],
    ];
    for (const byte of archive(values)) reader.update(Buffer.from([byte]));
    const { tables, problem } = reader.finish();
    expect(problem).toBeNull();
    expect(told).toEqual([
      { oid: 7, schema: 's', name: 'a', columns: ['b c', 'd'] },
      { oid: 8, schema: 's', name: 'b', columns: ['b c', 'd'] },
    ]);
    expect(tables.map(({ rowSum }) => rowSum)).toEqual([sumOf(values, [1, 0]), undefined]);
    const plain = createArchiveReader();
    plain.update(archive(values));
    const { sha256, rows: count } = plain.finish().tables[0] ?? {};
    expect(tables[0]).toMatchObject({ sha256, rows: count });
  });
});
