/**
 * The header and the table of contents of a custom-format archive.
 *
 * The format is written down nowhere but in PostgreSQL's source: `WriteHead` and `WriteToc` of
 * src/bin/pg_dump/pg_backup_archiver.c, `_PrintExtraToc` of pg_backup_custom.c.
 */

import { type ArchiveInput, ArchiveProblem, type Reading } from './archive_input.ts';

/** What the first bytes of an archive say about it. */
export interface ArchiveHeader {
  /** The version of the format, such as `1.14`. */
  readonly version: string;
  /** How the data is compressed inside: `none`, `gzip`, `lz4`, `zstd` or `algorithm N`. */
  readonly compression: string;
  /** `YYYY-MM-DDTHH:MM:SS` in the local time of the host that dumped: no zone is recorded. */
  readonly createdAt: string;
  readonly databaseName: string;
  readonly serverVersion: string;
  /** The version of pg_dump. */
  readonly dumpVersion: string;
}

/** The data of a table. */
export interface TableEntry {
  readonly kind: 'table';
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** `COPY … FROM stdin`, where it is kept; else `''`. */
  readonly copyStatement: string;
}

/** An entry of the table of contents that has a block of data. */
export type DataEntry = (TableEntry | { readonly kind: 'large objects' }) & {
  /** Where in the archive its field stands that tells the place of its data; `null`: it tells. */
  readonly untoldAt: number | null;
};

/** Where a sequence stands. */
export interface SequenceValue {
  readonly schema: string;
  readonly name: string;
  /** The last two arguments of `setval`: `41, true`. */
  readonly value: string;
}

/** The entries of an archive, as far as their data is read. */
export interface TableOfContents {
  /** How many entries there are, of every kind. */
  readonly entries: number;
  /** Those with a block of data, by dump id, in their order. */
  readonly data: ReadonlyMap<number, DataEntry>;
  /** In their order. */
  readonly sequences: readonly SequenceValue[];
}

/** What differs between the versions that are known: PostgreSQL 9.0 to 18 write them. */
export interface Layout {
  readonly minor: number;
  readonly offsetBytes: number;
}

const minorVersionMin = 12;
const minorVersionMax = 16;

/** From 1.14 (PostgreSQL 12) on an entry names its table access method. */
const accessMethodSince = 14;
/** From 1.15 (PostgreSQL 16) on the header names the algorithm instead of a level. */
const algorithmSince = 15;
/** From 1.16 (PostgreSQL 17) on an entry tells the kind of its relation. */
const relationKindSince = 16;

/** `K_OFFSET_POS_NOT_SET` and `K_OFFSET_POS_SET` of pg_backup_archiver.h. */
const placeUntold = 1;
export const placeTold = 2;

const formatCustom = 1;
const algorithms = ['none', 'gzip', 'lz4', 'zstd'];

/** A JavaScript Map holds 2^24 entries; no database comes near. */
const dataEntriesMax = 10_000_000;
const oidPattern = /^\d{1,10}$/;
/** The end of `SELECT pg_catalog.setval('…', 41, true);`, as `dumpSequenceData` writes it. */
const setvalPattern = /, (-?\d+, (?:true|false))\);\s*$/;

function* readLayout(input: ArchiveInput): Reading<Layout> {
  for (const expected of Buffer.from('PGDMP', 'latin1')) {
    if ((yield* input.byte()) !== expected) {
      throw new ArchiveProblem('not-an-archive', 'not a custom-format archive of pg_dump');
    }
  }
  const major = yield* input.byte();
  const minor = yield* input.byte();
  const revision = yield* input.byte();
  if (major !== 1 || minor < minorVersionMin || minor > minorVersionMax) {
    throw new ArchiveProblem('unknown-version', `archive version ${major}.${minor} is not known`);
  }
  if (revision !== 0) {
    const version = `${major}.${minor}-${revision}`;
    throw new ArchiveProblem('unknown-version', `archive version ${version} is not known`);
  }
  const intSize = yield* input.byte();
  if (intSize !== 4) throw input.malformed(`integers of ${intSize} bytes`);
  const offsetBytes = yield* input.byte();
  if (offsetBytes !== 4 && offsetBytes !== 8) {
    throw input.malformed(`offsets of ${offsetBytes} bytes`);
  }
  const format = yield* input.byte();
  if (format !== formatCustom) {
    throw new ArchiveProblem(
      'not-an-archive',
      `the table of contents of another format (${format}), not a custom-format archive`,
    );
  }
  return { minor, offsetBytes };
}

function* readCompression(input: ArchiveInput, layout: Layout): Reading<string> {
  if (layout.minor >= algorithmSince) {
    const algorithm = yield* input.byte();
    return algorithms[algorithm] ?? `algorithm ${algorithm}`;
  }
  // zlib's level: -1 stands for its default.
  return (yield* input.int()) === 0 ? 'none' : 'gzip';
}

/** The seven integers of C's `struct tm`: seconds first, months from 0, years from 1900. */
function* readTime(input: ArchiveInput): Reading<string> {
  const second = yield* input.int();
  const minute = yield* input.int();
  const hour = yield* input.int();
  const day = yield* input.int();
  const month = yield* input.int();
  const year = yield* input.int();
  yield* input.int();
  const two = (value: number): string => String(value).padStart(2, '0');
  const date = `${year + 1900}-${two(month + 1)}-${two(day)}`;
  return `${date}T${two(hour)}:${two(minute)}:${two(second)}`;
}

/** Reads the header; gives also what the table of contents needs to be read. */
export function* readHeader(
  input: ArchiveInput,
): Reading<{ readonly header: ArchiveHeader; readonly layout: Layout }> {
  input.place = 'the header';
  const layout = yield* readLayout(input);
  const compression = yield* readCompression(input, layout);
  const createdAt = yield* readTime(input);
  const databaseName = (yield* input.text()) ?? '';
  const serverVersion = (yield* input.text()) ?? '';
  const dumpVersion = (yield* input.text()) ?? '';
  const version = `1.${layout.minor}`;
  return {
    header: { version, compression, createdAt, databaseName, serverVersion, dumpVersion },
    layout,
  };
}

/** The fields of an entry that something is made of. */
interface EntryFields {
  readonly dumpId: number;
  readonly hasData: boolean;
  readonly oid: string | null;
  readonly name: string | null;
  readonly description: string | null;
  /** Of a sequence's value only; else `null`. */
  readonly definition: string | null;
  /** Where it is kept; else `''`. */
  readonly copyStatement: string;
  /** Whether there is such a statement. */
  readonly copies: boolean;
  readonly schema: string | null;
  readonly untoldAt: number | null;
}

/** A `TABLE DATA` entry from its fields. */
function tableEntry(input: ArchiveInput, fields: EntryFields): DataEntry {
  const { oid, schema, name, copies, copyStatement, untoldAt } = fields;
  if (oid === null || !oidPattern.test(oid) || schema === null || name === null) {
    throw input.malformed('table data without an OID, a schema or a name');
  }
  if (!copies) {
    throw new ArchiveProblem(
      'not-copy',
      `the data of table ${JSON.stringify(`${schema}.${name}`)} is not in COPY's format`,
    );
  }
  return { kind: 'table', oid: Number(oid), schema, name, copyStatement, untoldAt };
}

function dataEntry(input: ArchiveInput, fields: EntryFields): DataEntry | null {
  const { description, hasData, untoldAt } = fields;
  if (description === 'TABLE DATA') return tableEntry(input, fields);
  if (!hasData) return null;
  if (description === 'BLOBS') return { kind: 'large objects', untoldAt };
  throw input.malformed(`data of the unknown kind ${JSON.stringify(description)}`);
}

function sequenceValue({ schema, name, definition }: EntryFields): SequenceValue[] {
  const value = setvalPattern.exec(definition ?? '')?.[1];
  return schema === null || name === null || value === undefined ? [] : [{ schema, name, value }];
}

function* readEntry(
  input: ArchiveInput,
  layout: Layout,
  keepCopyStatements: boolean,
): Reading<EntryFields> {
  const dumpId = yield* input.int();
  if (dumpId <= 0) throw input.malformed(`the dump id ${dumpId}`);
  const hasData = (yield* input.int()) !== 0;
  yield* input.skipText(); // the OID of the catalog that the object is in
  const oid = yield* input.text();
  const name = yield* input.text();
  const description = yield* input.text();
  yield* input.int(); // the section
  let definition: string | null = null;
  if (description === 'SEQUENCE SET') definition = yield* input.text();
  else yield* input.skipText();
  yield* input.skipText(); // the DROP statement
  let copyStatement = '';
  let copies: boolean;
  if (keepCopyStatements && description === 'TABLE DATA') {
    copyStatement = (yield* input.text()) ?? '';
    copies = copyStatement !== '';
  } else {
    copies = (yield* input.skipText()) > 0;
  }
  const schema = yield* input.text();
  yield* input.skipText(); // the tablespace
  if (layout.minor >= accessMethodSince) yield* input.skipText();
  if (layout.minor >= relationKindSince) yield* input.int();
  yield* input.skipText(); // the owner
  yield* input.skipText(); // WITH OIDS, of PostgreSQL 11 and older
  while ((yield* input.skipText()) >= 0) {
    // The dump ids that the entry depends on end with a NULL.
  }
  // The place of the data: not told in a pipe, where pg_dump cannot go back to write it.
  const { position } = input;
  const untoldAt = (yield* input.byte()) === placeUntold ? position : null;
  yield* input.skip(layout.offsetBytes);
  return {
    ...{ dumpId, hasData, oid, name, description },
    ...{ definition, copyStatement, copies, schema, untoldAt },
  };
}

/**
 * Reads the table of contents, which stands between the header and the first block of data.
 *
 * @param keepCopyStatements they take memory, and few have a use for them
 * @throws ArchiveProblem when it is cut or not as pg_dump writes it
 */
export function* readTableOfContents(
  input: ArchiveInput,
  layout: Layout,
  keepCopyStatements: boolean,
): Reading<TableOfContents> {
  input.place = 'the table of contents';
  const entries = yield* input.int();
  if (entries < 0) throw input.malformed(`the number of entries ${entries}`);
  const data = new Map<number, DataEntry>();
  const sequences: SequenceValue[] = [];
  for (let read = 0; read < entries; read += 1) {
    const fields = yield* readEntry(input, layout, keepCopyStatements);
    if (fields.description === 'SEQUENCE SET') sequences.push(...sequenceValue(fields));
    const entry = dataEntry(input, fields);
    if (entry === null) continue;
    if (data.has(fields.dumpId)) throw input.malformed(`the dump id ${fields.dumpId} twice`);
    if (data.size === dataEntriesMax) throw input.malformed('too many tables');
    data.set(fields.dumpId, entry);
  }
  return { entries, data, sequences };
}
