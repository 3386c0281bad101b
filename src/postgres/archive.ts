/**
 * Tells from a custom-format archive of pg_dump, while it streams by, how many rows each table has
 * and what the SHA-256 of its data is. See archive_toc.ts for where the format comes from.
 */

import { copyColumns, type RowLayout } from '../core/copy_columns.ts';
import {
  blockData,
  blockLargeObjects,
  type CopyDigest,
  type LargeObjectsDigest,
  LargeObjectsSink,
  readLargeObjects,
  readTableData,
} from './archive_data.ts';
import {
  ArchiveInput,
  ArchiveProblem,
  type ArchiveProblemKind,
  driveReading,
  type Reading,
} from './archive_input.ts';
import {
  type ArchiveHeader,
  type DataEntry,
  readHeader,
  readTableOfContents,
  type SequenceValue,
  type TableEntry,
} from './archive_toc.ts';

/**
 * One table's data. `rows`, `bytes` and `sha256` are those of `COPY table TO STDOUT` under the
 * settings of the dump (TimeZone, bytea_output, encoding, …), without the terminator.
 */
export interface ArchiveTable extends CopyDigest {
  /** The OID of the table in the database that was dumped. */
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
}

/** What was learnt from a dump that streamed by. */
export interface ArchiveReading {
  /**
   * `null` when the whole archive was understood: then every `TABLE DATA` entry is in `tables`,
   * also that of an empty table. Else why the reading stopped.
   */
  readonly problem: { readonly kind: ArchiveProblemKind; readonly message: string } | null;
  /** `null` when it was not understood. */
  readonly header: ArchiveHeader | null;
  /** The number of entries in the table of contents; 0 when it was not read to its end. */
  readonly tocEntries: number;
  /**
   * In the order of the table of contents. With a problem: those whose data was read whole before
   * it, whose numbers are right; the others are left out.
   */
  readonly tables: readonly ArchiveTable[];
  /** All large objects together; `null` when no block of them was read. */
  readonly largeObjects: LargeObjectsDigest | null;
  /** Where the sequences stand; none when the table of contents was not read to its end. */
  readonly sequences: readonly SequenceValue[];
}

/** A table whose data is in an archive, before its data was read. */
export interface ArchivedTable {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** The columns that its rows have, in their order; `null` when they could not be made out. */
  readonly columns: readonly string[] | null;
}

/** What the table of contents tells, before the first row of any table. */
export interface ArchiveContents {
  readonly tables: readonly ArchivedTable[];
  readonly sequences: readonly SequenceValue[];
}

/**
 * Told the table of contents; says, by their OIDs, of which tables the rows are also summed up
 * (`rowSum`), and how they are taken.
 */
export type ChooseRowSums = (contents: ArchiveContents) => ReadonlyMap<number, RowLayout>;

/** Consumes an uncompressed custom-format archive chunk by chunk. */
export interface ArchiveReader {
  /**
   * Takes the next bytes; keeps no hold on `chunk`. Never throws for an unknown version or
   * unexpected bytes: it stops reading and remembers why.
   */
  update(chunk: Buffer): void;
  /** Tells the result, after the last chunk. */
  finish(): ArchiveReading;
}

function nameOf(entry: DataEntry): string {
  return entry.kind === 'table'
    ? `the data of table ${JSON.stringify(`${entry.schema}.${entry.name}`)}`
    : 'the large objects';
}

function archivedTable({ oid, schema, name, copyStatement }: TableEntry): ArchivedTable {
  return { oid, schema, name, columns: copyColumns(copyStatement) };
}

/** Follows the archive from its first byte to its last; what it found so far is in its fields. */
class Archive {
  readonly #input: ArchiveInput;
  header: ArchiveHeader | null = null;
  tocEntries = 0;
  sequences: readonly SequenceValue[] = [];
  #entries: ReadonlyMap<number, DataEntry> = new Map();
  readonly #chooseRowSums: ChooseRowSums | undefined;
  #rowSums: ReadonlyMap<number, RowLayout> = new Map();
  /** By dump id: the blocks that were read whole; `null` for large objects. */
  readonly #done = new Map<number, CopyDigest | null>();
  readonly #largeObjects = new LargeObjectsSink();

  constructor(input: ArchiveInput, chooseRowSums: ChooseRowSums | undefined) {
    this.#input = input;
    this.#chooseRowSums = chooseRowSums;
  }

  *read(): Reading<void> {
    const { header, layout } = yield* readHeader(this.#input);
    this.header = header;
    const choose = this.#chooseRowSums;
    const contents = yield* readTableOfContents(this.#input, layout, choose !== undefined);
    this.tocEntries = contents.entries;
    this.sequences = contents.sequences;
    this.#entries = contents.data;
    if (choose !== undefined) {
      const tables = [...contents.data.values()].filter((entry) => entry.kind === 'table');
      const { sequences } = contents;
      this.#rowSums = choose({ tables: tables.map(archivedTable), sequences });
    }
    if (header.compression !== 'none') {
      const message = `the data is compressed inside (${header.compression})`;
      throw new ArchiveProblem('compressed', message);
    }
    this.#input.place = 'the blocks of data';
    while (!(yield* this.#input.atEnd())) yield* this.#readBlock();
    for (const [dumpId, entry] of this.#entries) {
      if (this.#done.has(dumpId)) continue;
      throw new ArchiveProblem('truncated', `ends before ${nameOf(entry)}`);
    }
  }

  *#readBlock(): Reading<void> {
    const input = this.#input;
    input.place = 'the start of a block of data';
    const type = yield* input.byte();
    if (type !== blockData && type !== blockLargeObjects) {
      throw input.malformed(`the unknown type ${type}`);
    }
    const dumpId = yield* input.int();
    const entry = this.#entries.get(dumpId);
    if (entry === undefined || this.#done.has(dumpId)) {
      throw input.malformed(`the dump id ${dumpId}, unknown or for the second time,`);
    }
    if ((entry.kind === 'table') !== (type === blockData)) {
      throw input.malformed(`the type ${type} for ${nameOf(entry)}`);
    }
    input.place = nameOf(entry);
    if (entry.kind === 'table') {
      this.#done.set(dumpId, yield* readTableData(input, this.#rowSums.get(entry.oid)));
    } else {
      yield* readLargeObjects(input, this.#largeObjects);
      this.#done.set(dumpId, null);
    }
  }

  tables(): ArchiveTable[] {
    const tables: ArchiveTable[] = [];
    for (const [dumpId, entry] of this.#entries) {
      const digest = this.#done.get(dumpId);
      if (entry.kind !== 'table' || !digest) continue;
      tables.push({ oid: entry.oid, schema: entry.schema, name: entry.name, ...digest });
    }
    return tables;
  }

  largeObjects(): LargeObjectsDigest | null {
    const some = [...this.#done.values()].some((digest) => digest === null);
    return some ? this.#largeObjects.finish() : null;
  }
}

/**
 * A reader for one archive. Its memory grows with the number of tables, never with their rows: of
 * the table of contents it keeps the names of tables and the values of sequences alone, and with
 * `chooseRowSums` the statements that name the columns.
 */
export function createArchiveReader(chooseRowSums?: ChooseRowSums): ArchiveReader {
  const input = new ArchiveInput();
  const archive = new Archive(input, chooseRowSums);
  const reading = driveReading(input, archive.read());
  return {
    update: reading.update,
    finish() {
      const problem = reading.finish();
      return {
        problem: problem === null ? null : { kind: problem.kind, message: problem.message },
        header: archive.header,
        tocEntries: archive.tocEntries,
        tables: archive.tables(),
        largeObjects: archive.largeObjects(),
        sequences: archive.sequences,
      };
    },
  };
}
