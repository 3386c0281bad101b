/**
 * Writes custom-format archives by the book (`WriteHead`, `WriteToc` and `_StartData` of pg_dump's
 * source), for versions whose pg_dump is not at hand and for damage at known places.
 */

export interface BuiltTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** COPY's text in the pieces that become chunks, without the terminator. */
  readonly chunks: readonly Buffer[];
}

export interface BuiltLargeObject {
  readonly oid: number;
  readonly chunks: readonly Buffer[];
}

export interface ArchivePlan {
  readonly major?: number;
  readonly minor: number;
  readonly revision?: number;
  readonly format?: number;
  /** The level up to 1.14, the algorithm from 1.15 on. */
  readonly compression?: number;
  readonly tables: readonly BuiltTable[];
  readonly largeObjects?: readonly BuiltLargeObject[];
  readonly copyStatement?: string | null;
  readonly terminator?: string;
}

export function int(value: number): Buffer {
  const bytes = Buffer.alloc(5);
  bytes.writeUInt8(value < 0 ? 1 : 0, 0);
  bytes.writeUInt32LE(Math.abs(value), 1);
  return bytes;
}

export function text(value: string | null): Buffer {
  if (value === null) return int(-1);
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([int(bytes.length), bytes]);
}

export function header(plan: Omit<ArchivePlan, 'tables'>): Buffer {
  const { major = 1, minor, revision = 0, format = 1, compression = 0 } = plan;
  return Buffer.concat([
    Buffer.from('PGDMP'),
    Buffer.from([major, minor, revision, 4, 8, format]),
    minor >= 15 ? Buffer.from([compression]) : int(compression),
    ...[7, 6, 5, 21, 10, 126, 0].map(int),
    ...['shop', '16.4', '16.9'].map(text),
  ]);
}

interface Entry {
  readonly dumpId: number;
  readonly hasData: boolean;
  readonly oid: number;
  readonly tag: string;
  readonly description: string;
  readonly schema: string | null;
  readonly copyStatement?: string | null;
}

function entryBytes(minor: number, entry: Entry): Buffer {
  const { dumpId, hasData, oid, tag, description, schema, copyStatement = null } = entry;
  return Buffer.concat([
    int(dumpId),
    int(hasData ? 1 : 0),
    text('1259'),
    text(String(oid)),
    text(tag),
    text(description),
    int(3),
    text('-- a definition'),
    text(null),
    text(copyStatement),
    text(schema),
    text(''),
    minor >= 14 ? text('heap') : Buffer.alloc(0),
    minor >= 16 ? int('r'.charCodeAt(0)) : Buffer.alloc(0),
    text('the owner'),
    text('false'),
    text('12'),
    text('13'),
    text(null),
    Buffer.from([1, 0, 0, 0, 0, 0, 0, 0, 0]),
  ]);
}

function chunked(chunks: readonly Buffer[]): Buffer {
  const framed = chunks.filter((chunk) => chunk.length > 0).flatMap((c) => [int(c.length), c]);
  return Buffer.concat([...framed, int(0)]);
}

/** The archive, and where its first block of data begins. */
export function buildArchive(plan: ArchivePlan): { archive: Buffer; dataStart: number } {
  const { tables, largeObjects, terminator = '\\.\n\n\n' } = plan;
  const { copyStatement = 'COPY a (b) FROM stdin;\n' } = plan;
  const entries: Entry[] = [
    { dumpId: 1, hasData: false, oid: 0, tag: 'ENCODING', description: 'ENCODING', schema: null },
  ];
  const blocks: Buffer[] = [];
  for (const [index, { oid, schema, name, chunks }] of tables.entries()) {
    const dumpId = 10 + index;
    const table = { dumpId: 1000 + index, oid, tag: name, schema };
    entries.push({ ...table, hasData: false, description: 'TABLE' });
    entries.push({ ...table, dumpId, hasData: true, description: 'TABLE DATA', copyStatement });
    blocks.push(Buffer.from([1]), int(dumpId), chunked([...chunks, Buffer.from(terminator)]));
  }
  if (largeObjects !== undefined) {
    const dumpId = 9;
    const tag = 'BLOBS';
    entries.push({ dumpId, hasData: true, oid: 0, tag, description: tag, schema: null });
    blocks.push(Buffer.from([3]), int(dumpId));
    // WriteInt takes a C int: an OID above 2^31 comes out negative.
    for (const { oid, chunks } of largeObjects) blocks.push(int(oid | 0), chunked(chunks));
    blocks.push(int(0));
  }
  const contents = entries.map((entry) => entryBytes(plan.minor, entry));
  const front = Buffer.concat([header(plan), int(entries.length), ...contents]);
  return { archive: Buffer.concat([front, ...blocks]), dataStart: front.length };
}
