import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ArchiveReading,
  type ArchiveTable,
  createArchiveReader,
} from '../../../src/postgres/archive.ts';
import {
  type ArchivePlan,
  type BuiltLargeObject,
  buildArchive,
  header,
  int,
  text,
} from '../../support/archive_builder.ts';

/** What the server itself told of the tables in a fixture (test/support/fixtures/archive.sql). */
interface Recorded {
  tables: ArchiveTable[];
  largeObjects: { count: number; bytes: number; sha256: string };
}

const fixtures = new URL('../../support/fixtures/', import.meta.url);
const fixture = (name: string): Buffer => readFileSync(new URL(`${name}.dump`, fixtures));
const recorded = (name: string): Recorded =>
  JSON.parse(readFileSync(new URL(`${name}.json`, fixtures), 'utf8'));

/** Reads an archive in pieces of the given sizes, over and over. */
function read(archive: Buffer, pieces: readonly number[] = [archive.length + 1]): ArchiveReading {
  const reader = createArchiveReader();
  for (let at = 0, turn = 0; at < archive.length; turn += 1) {
    const size = pieces[turn % pieces.length] ?? 1;
    const piece = Buffer.from(archive.subarray(at, at + size));
    reader.update(piece);
    piece.fill(0xee); // a caller may use its buffer again
    at += size;
  }
  return reader.finish();
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const byOid = (a: ArchiveTable, b: ArchiveTable): number => a.oid - b.oid;

const small: ArchivePlan = {
  minor: 16,
  tables: [
    {
      oid: 16385,
      schema: 'public',
      name: 'a',
      chunks: [Buffer.from('1\tx\n'), Buffer.from('2\n')],
    },
    { oid: 16388, schema: 'public', name: 'empty', chunks: [] },
    { oid: 4294967290, schema: 's', name: 'last', chunks: [Buffer.from('\\\\.\n\n\n\n')] },
  ],
  largeObjects: [
    { oid: 5, chunks: [Buffer.from('five')] },
    { oid: 4000000000, chunks: [] },
  ],
};

describe('archives of the real pg_dump', () => {
  it.each([
    ['archive_1_14', '1.14', '15.'],
    ['archive_1_16', '1.16', '18.'],
  ])('%s tells of every table what COPY told', (name, version, server) => {
    const expected = recorded(name);
    const reading = read(fixture(name));
    expect(reading.problem).toBeNull();
    expect(reading.header).toMatchObject({ version, compression: 'none', databaseName: 'small' });
    expect(reading.header?.serverVersion.startsWith(server)).toBe(true);
    expect(reading.header?.dumpVersion.startsWith(server)).toBe(true);
    expect(reading.header?.createdAt).toMatch(/^2026-11-21T\d\d:\d\d:\d\d$/);
    expect([...reading.tables].sort(byOid)).toEqual(expected.tables);
    expect(reading.largeObjects).toEqual(expected.largeObjects);
    expect(reading.sequences).toEqual([
      { schema: 'public', name: 'parted_n_seq', value: '30, true' },
    ]);
  });

  it.each(['archive_1_14', 'archive_1_16'])('%s reads the same byte by byte', (name) => {
    expect(read(fixture(name), [1])).toEqual(read(fixture(name)));
  });

  it.each(['archive_1_14', 'archive_1_16'])('%s cut anywhere is truncated', (name) => {
    const archive = fixture(name);
    for (let length = 0; length < archive.length; length += 61) {
      expect(read(archive.subarray(0, length)).problem?.kind, `${length} bytes`).toBe('truncated');
    }
  });
});

describe('archives by the book', () => {
  const chunk = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  // Rows cut into chunks anywhere: that a chunk is a row is only how pg_dump does it so far.
  const copyChunks = fc.array(chunk, { maxLength: 12 }).map((chunks) => {
    const last = chunks.at(-1);
    return last === undefined || last.at(-1) === 0x0a ? chunks : [...chunks, Buffer.from('\n')];
  });
  const oid = fc.integer({ min: 1, max: 0xffff_ffff });
  const name = fc.string({ unit: 'binary', minLength: 1, maxLength: 63 });
  const table = fc.record({ oid, schema: name, name, chunks: copyChunks });
  const plan = fc.record({
    minor: fc.integer({ min: 12, max: 16 }),
    tables: fc.array(table, { maxLength: 6 }),
    largeObjects: fc.uniqueArray(fc.record({ oid, chunks: fc.array(chunk, { maxLength: 4 }) }), {
      selector: (object) => object.oid,
      maxLength: 4,
    }),
  });
  const pieces = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 });

  function expectedLargeObjects(objects: readonly BuiltLargeObject[]): string {
    const digests = objects.map((object) => {
      const identity = Buffer.alloc(4);
      identity.writeUInt32BE(object.oid);
      return BigInt(`0x${sha256(Buffer.concat([identity, ...object.chunks]))}`);
    });
    const sum = digests.reduce((total, digest) => total + digest, 0n);
    return BigInt.asUintN(256, sum).toString(16).padStart(64, '0');
  }

  it('are read exactly, in every version that is known and however the stream is cut', () => {
    fc.assert(
      fc.property(plan, pieces, (built, sizes) => {
        const reading = read(buildArchive(built).archive, sizes);
        expect(reading.problem).toBeNull();
        expect(reading.header).toEqual({
          version: `1.${built.minor}`,
          compression: 'none',
          createdAt: '2026-11-21T05:06:07',
          databaseName: 'shop',
          serverVersion: '16.4',
          dumpVersion: '16.9',
        });
        expect(reading.tocEntries).toBe(2 + 2 * built.tables.length);
        expect(reading.tables).toEqual(
          built.tables.map(({ chunks, ...identity }) => {
            const rows = Buffer.concat(chunks);
            const count = rows.filter((byte) => byte === 0x0a).length;
            return { ...identity, rows: count, bytes: rows.length, sha256: sha256(rows) };
          }),
        );
        expect(reading.largeObjects?.count).toBe(built.largeObjects.length);
        expect(reading.largeObjects?.sha256).toBe(expectedLargeObjects(built.largeObjects));
      }),
      { numRuns: 300 },
    );
  });

  it('are read exactly when chunks and pieces are larger than any buffer of the reader', () => {
    const wide = Buffer.from(`${'x'.repeat(999_999)}\n`.repeat(3));
    const many = Buffer.from('1\n'.repeat(400_000));
    const rows = Array.from({ length: 100_000 }, (_, n) => Buffer.from(`${n}\n`));
    const chunks = [wide, many, ...rows];
    const table = { oid: 20000, schema: 'public', name: 'wide' };
    const { archive } = buildArchive({ minor: 15, tables: [{ ...table, chunks }] });
    const all = Buffer.concat(chunks);
    for (const size of [65_536, 1_000_003, archive.length]) {
      const expected = { ...table, rows: 500_003, bytes: all.length, sha256: sha256(all) };
      expect(read(archive, [size])).toMatchObject({ problem: null, tables: [expected] });
    }
  });

  it('have the same digest of large objects whatever their order', () => {
    const { largeObjects = [], ...rest } = small;
    const turned = { ...rest, largeObjects: [...largeObjects].reverse() };
    const reading = read(buildArchive(turned).archive);
    expect(reading.largeObjects).toEqual(read(buildArchive(small).archive).largeObjects);
    expect(reading.largeObjects).toMatchObject({ count: 2, bytes: 4 });
  });

  it('without large objects say null', () => {
    const { largeObjects: _, ...rest } = small;
    expect(read(buildArchive(rest).archive)).toMatchObject({ problem: null, largeObjects: null });
  });
});

describe('damage', () => {
  const { archive, dataStart } = buildArchive(small);
  const whole = read(archive);

  it('is told for an archive that is cut at any byte, with the tables before it', () => {
    for (let length = 0; length < archive.length; length += 1) {
      const reading = read(archive.subarray(0, length));
      expect(reading.problem?.kind, `${length} bytes`).toBe('truncated');
      expect(reading.tables).toEqual(whole.tables.slice(0, reading.tables.length));
    }
  });

  it('says which table is cut or missing', () => {
    const problemAt = (length: number) => read(archive.subarray(0, length)).problem?.message;
    expect(problemAt(3)).toBe('ends in the middle of the header');
    expect(problemAt(dataStart - 1)).toBe('ends in the middle of the table of contents');
    expect(problemAt(dataStart)).toBe('ends before the data of table "public.a"');
    expect(problemAt(dataStart + 8)).toBe('ends in the middle of the data of table "public.a"');
    expect(problemAt(archive.length - 1)).toBe('ends in the middle of the large objects');
  });

  it('in any byte of the data is a problem or another result', () => {
    for (let at = dataStart; at < archive.length; at += 1) {
      for (const mask of [0x01, 0x02, 0x80, 0xff]) {
        const flipped = Buffer.from(archive);
        flipped.writeUInt8(flipped.readUInt8(at) ^ mask, at);
        expect(read(flipped), `byte ${at} ^ ${mask}`).not.toEqual(whole);
      }
    }
  });

  it('anywhere never throws and never hangs', () => {
    const position = fc.nat({ max: archive.length - 1 });
    const flips = fc.array(fc.tuple(position, fc.nat({ max: 255 })), { maxLength: 5 });
    fc.assert(
      fc.property(flips, fc.integer({ min: 1, max: 500 }), (bytes, size) => {
        const flipped = Buffer.from(archive);
        for (const [at, value] of bytes) flipped.writeUInt8(value, at);
        expect(read(flipped, [size])).toEqual(read(flipped));
      }),
      { numRuns: 2000 },
    );
  });

  const front = header({ minor: 16 });
  it.each([
    ['a name longer than any', [int(1), int(1), int(1), text('1259'), int(0x7fff_ffff)]],
    ['a string longer than a C int', [int(1), int(1), int(1), int(0x8000_0000)]],
    ['a negative number of entries', [int(-1)]],
    ['a dump id of 0', [int(1), int(0)]],
    ['a sign that is none', [Buffer.from([2, 0, 0, 0, 0])]],
  ])('refuses %s', (_, contents) => {
    const reading = read(Buffer.concat([front, ...contents]));
    expect(reading.problem?.kind).toBe('malformed');
    expect(reading.header?.version).toBe('1.16');
  });

  it('refuses what follows the last block, keeping the tables', () => {
    const reading = read(Buffer.concat([archive, Buffer.from([0])]));
    expect(reading.problem?.message).toBe('the unknown type 0 in the start of a block of data');
    expect(reading.tables).toEqual(whole.tables);
  });

  it('refuses the same block twice, and a block of another kind', () => {
    const twice = Buffer.concat([archive, archive.subarray(dataStart)]);
    expect(read(twice).problem?.kind).toBe('malformed');
    const other = Buffer.from(archive);
    other.writeUInt8(3, dataStart);
    expect(read(other).problem?.message).toContain('the type 3 for the data of table "public.a"');
  });

  it.each(['', '\n\n', '\\.\n', 'no newline\\.\n\n\n'])(
    'refuses rows ended by %j',
    (terminator) => {
      const { problem } = read(buildArchive({ ...small, terminator }).archive);
      expect(problem?.kind).toBe('malformed');
      expect(problem?.message).toContain('"public.');
    },
  );
});

describe('archives that tell nothing', () => {
  it.each([
    [{ minor: 17 }, 'archive version 1.17 is not known'],
    [{ minor: 11 }, 'archive version 1.11 is not known'],
    [{ major: 2, minor: 14 }, 'archive version 2.14 is not known'],
    [{ minor: 16, revision: 1 }, 'archive version 1.16-1 is not known'],
  ])('%j', (version, message) => {
    const { archive } = buildArchive({ ...small, ...version });
    expect(read(archive, [7])).toEqual({
      problem: { kind: 'unknown-version', message },
      header: null,
      tocEntries: 0,
      tables: [],
      largeObjects: null,
      sequences: [],
    });
  });

  it.each([
    [{ minor: 14, compression: -1 }, 'gzip'],
    [{ minor: 15, compression: 1 }, 'gzip'],
    [{ minor: 16, compression: 3 }, 'zstd'],
    [{ minor: 16, compression: 9 }, 'algorithm 9'],
  ])('compressed inside: %j', (how, compression) => {
    const reading = read(buildArchive({ ...small, ...how }).archive);
    expect(reading.problem?.kind).toBe('compressed');
    expect(reading.problem?.message).toBe(`the data is compressed inside (${compression})`);
    expect(reading.header?.compression).toBe(compression);
    expect(reading).toMatchObject({ tocEntries: 8, tables: [], largeObjects: null });
  });

  it('are those with INSERT statements, whose lines are not rows', () => {
    const { problem } = read(buildArchive({ ...small, copyStatement: null }).archive);
    expect(problem?.kind).toBe('not-copy');
  });

  it.each(['--\n-- PostgreSQL database dump\n', 'PGDMx', '\u001f\u008b'])('%j', (start) => {
    const { problem } = read(Buffer.from(start.padEnd(600)));
    expect(problem?.kind).toBe('not-an-archive');
  });

  it('the table of contents of a directory, and nothing at all', () => {
    const directory = read(buildArchive({ ...small, format: 5 }).archive);
    expect(directory.problem?.kind).toBe('not-an-archive');
    expect(read(Buffer.alloc(0)).problem?.kind).toBe('truncated');
  });
});
