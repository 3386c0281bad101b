/**
 * Compares what a restored database holds, row by row, with what was backed up. pg_dump reads it as
 * it was read for the backup, and the same reader of its stream tells the same numbers and digests:
 * one way for both sides. See core/compare_content.ts for how they are compared.
 *
 * Several jobs keep the order of the rows; one job reading from a pipe may not, and is not run in a
 * single transaction for the sake of it: that takes a lock on every object at once, of which a
 * server has a limited number, and a restore that fails for it is worse than a second look.
 * Measured with 371 MB and 2.4 million rows: the first look takes the time of one `pg_dump` and 1.2
 * s of this process's, which run side by side; the second 4.4 s of this process's more, with all of
 * the rows in question.
 */

import type { Client } from 'pg';
import { compareRelations, expectedRows, tableKey } from '../../core/compare.ts';
import {
  type ContentGroup,
  compareDigests,
  compareLargeObjects,
  compareSequences,
  compareSums,
  shownTable,
  type ValueDifference,
} from '../../core/compare_content.ts';
import { commonLayouts, type RowLayout } from '../../core/copy_columns.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { Manifest, ManifestTable } from '../../core/manifest.ts';
import { lookAt } from '../../pipeline/look.ts';
import { createByteCounter, type Observer } from '../../pipeline/measure.ts';
import type { StartSource } from '../../pipeline/pipeline.ts';
import { readBack } from '../../pipeline/read_back.ts';
import {
  type ArchiveContents,
  type ArchivedTable,
  type ArchiveReading,
  type ArchiveTable,
  type ChooseRowSums,
  createArchiveReader,
} from '../../postgres/archive.ts';
import { type ConnectionParameters, programEnvironment } from '../../postgres/connection.ts';
import { copyTextVariables, pinCopyText } from '../../postgres/copy_text.ts';
import { dumpArguments } from '../../postgres/dump.ts';
import { describeDumpFailure } from '../../postgres/dump_failure.ts';
import { countRelations, readPartitionRoots } from '../../postgres/facts.ts';
import type { Tool } from '../../postgres/tools.ts';
import { type DataChild, startChild } from '../../process/stream.ts';
import type { BackupSource } from '../backup_source.ts';
import { type Context, flowContext } from '../context.ts';
import type { Comparison } from './restore_compare.ts';

/** Which backup, and which database it was restored into. */
export interface ContentInput {
  readonly context: Context;
  readonly source: BackupSource;
  /** Of a backup whose tables were counted: see {@link requireComparable}. */
  readonly manifest: Manifest;
  /** Of the restored database. */
  readonly parameters: ConnectionParameters;
  /** Of the server's major version or newer. */
  readonly pgDump: Tool;
}

/**
 * The manifest, where it tells the digests of the tables.
 *
 * @throws HoldfastError USAGE where there is nothing that the contents could be compared with
 */
export function requireComparable({ manifest, description }: BackupSource): Manifest {
  if (manifest !== null && manifest.tables !== null) return manifest;
  const reason =
    manifest === null
      ? 'no manifest of Holdfast belongs to it'
      : 'its manifest holds no digests of the tables';
  throw new HoldfastError('USAGE', `the content of ${description} cannot be compared: ${reason}`, {
    hint: 'Restore it without --compare content.',
  });
}

/** @throws HoldfastError RESTORE_FAILED where the stream was not understood to its end */
function requireUnderstood(reading: ArchiveReading, what: string): ArchiveReading {
  const { problem } = reading;
  if (problem === null) return reading;
  throw new HoldfastError(
    'RESTORE_FAILED',
    `the content was not compared: ${what} cannot be followed: ${problem.message}`,
    { hint: 'Restore it without --compare content, and report this.' },
  );
}

/** @throws HoldfastError with pg_dump's own words where it did not end with 0 */
async function requireDumped(child: DataChild, parameters: ConnectionParameters): Promise<void> {
  const exit = await child.exited;
  if (exit.status === 0) return;
  const { dbname: database, user: role } = parameters;
  const stderr = child.stderrTail();
  throw describeDumpFailure({ program: 'pg_dump', stderr, ...exit, database, role });
}

/** Reads the data of the restored database as a backup would. */
async function readRestored(
  { context, pgDump, parameters }: ContentInput,
  doing: string,
  expectedBytes: number | null,
  choose: ChooseRowSums,
): Promise<ArchiveReading> {
  const { signal } = context;
  const archive = createArchiveReader(choose);
  const progress = await context.log.progress(doing, expectedBytes);
  const environment = {
    ...programEnvironment(parameters, context.environment),
    ...copyTextVariables,
  };
  const started: DataChild[] = [];
  const start: StartSource = (into) => {
    const args = dumpArguments({ dataOnly: true });
    const child = startChild(pgDump.path, args, { environment, signal, into });
    child.stdin.end();
    started.push(child);
    return child;
  };
  try {
    await lookAt(start, [archive, createByteCounter(progress.add)], flowContext(context));
    for (const child of started) await requireDumped(child, parameters);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    progress.end();
    for (const child of started) await child.end();
  }
  return requireUnderstood(archive.finish(), `the dump of ${pgDump.path}`);
}

/** Reads the backup's dump once more. @param signal ends it */
async function readBackup(
  { context, source }: ContentInput,
  observers: readonly Observer[],
  signal = context.signal,
): Promise<string> {
  const { dump } = source;
  const { plain } = await readBack({
    body: await dump.open(),
    filters: dump.filters,
    observers,
    context: flowContext(context, signal),
  });
  return plain.sha256;
}

/** Reads the table of contents of the backup's dump, and nothing of its data. */
async function readBackupContents(input: ContentInput): Promise<ArchiveContents> {
  const enough = new AbortController();
  let found: ArchiveContents | null = null;
  const archive = createArchiveReader((contents) => {
    found = contents;
    enough.abort();
    return new Map();
  });
  const signal = AbortSignal.any([input.context.signal, enough.signal]);
  try {
    await readBackup(input, [archive], signal);
  } catch (error) {
    if (input.context.signal.aborted || !enough.signal.aborted) throw error;
  }
  requireContents(found, archive.finish());
  return found;
}

function requireContents(
  found: ArchiveContents | null,
  reading: ArchiveReading,
): asserts found is ArchiveContents {
  if (found === null) requireUnderstood(reading, "the backup's dump");
}

/** How the rows of the tables in question are taken, by OID on either side. */
interface Layouts {
  readonly backup: ReadonlyMap<number, RowLayout>;
  readonly restored: ReadonlyMap<number, RowLayout>;
}

function chooseLayouts(
  groups: readonly ContentGroup[],
  backup: readonly ArchivedTable[],
  restored: readonly ArchivedTable[],
): Layouts {
  const layouts = { backup: new Map<number, RowLayout>(), restored: new Map<number, RowLayout>() };
  const byKey = (tables: readonly ArchivedTable[]) =>
    new Map(tables.map((table) => [tableKey(table), table]));
  const [before, after] = [byKey(backup), byKey(restored)];
  for (const { expected, actual } of groups) {
    const sides = [
      ...expected.map((table) => ({ to: layouts.backup, table: before.get(tableKey(table)) })),
      ...actual.map((table) => ({ to: layouts.restored, table: after.get(tableKey(table)) })),
    ];
    const found = commonLayouts(sides.map(({ table }) => table?.columns ?? null));
    for (const [index, { to, table }] of sides.entries()) {
      if (table !== undefined) to.set(table.oid, found[index] ?? 'as written');
    }
  }
  return layouts;
}

function sumsByKey(reading: ArchiveReading): Map<string, string> {
  const summed = reading.tables.filter(
    (table): table is ArchiveTable & { rowSum: string } => table.rowSum !== undefined,
  );
  return new Map(summed.map((table) => [tableKey(table), table.rowSum]));
}

/**
 * Compares tables whose rows are not in the order of the backup, or not in the same partitions:
 * both sides are read once more, and the rows of these tables are summed up.
 */
async function compareUnordered(
  input: ContentInput,
  groups: readonly ContentGroup[],
  layouts: Layouts,
): Promise<ValueDifference[]> {
  const { context, source, manifest } = input;
  context.log.step(
    `the rows of ${groups.length} tables came back in another order: they are compared without it`,
    { tables: groups.map(shownTable) },
  );
  const archive = createArchiveReader(() => layouts.backup);
  const progress = await context.log.progress('reading the backup again', source.plainBytes);
  let sha256: string;
  try {
    sha256 = await readBackup(input, [archive, createByteCounter(progress.add)]);
  } finally {
    progress.end();
  }
  const dump = manifest.files.find(({ role }) => role === 'dump');
  // Its stored bytes were verified; of a backup without table digests these are not known.
  const expected = dump?.plain;
  if (expected === undefined || (expected !== null && expected.sha256 !== sha256)) {
    throw new HoldfastError('DAMAGED', `${source.dump.name} has changed since it was verified`, {
      hint: 'Restore another backup, or another copy of this one.',
    });
  }
  const backup = requireUnderstood(archive.finish(), "the backup's dump");
  const restored = await readRestored(
    input,
    'comparing without the order',
    source.plainBytes,
    () => layouts.restored,
  );
  return compareSums(groups, sumsByKey(backup), sumsByKey(restored));
}

/** The tables of a dump as a manifest would list them. */
async function restoredTables(client: Client, reading: ArchiveReading): Promise<ManifestTable[]> {
  const roots = await readPartitionRoots(client);
  return reading.tables.map(({ oid, schema, name, rows, bytes, sha256 }) => {
    const root = roots.get(oid);
    return { schema, name, ...(root === undefined ? {} : { root }), rows, bytes, sha256 };
  });
}

/**
 * Compares every table that the backup's dump holds, the large objects and the sequences.
 *
 * @param client a session in the restored database
 * @throws HoldfastError what keeps pg_dump from reading it; RESTORE_FAILED where its stream is not
 *   understood; DAMAGED where the backup has changed meanwhile
 */
export async function compareContent(input: ContentInput, client: Client): Promise<Comparison> {
  const { manifest, source } = input;
  const expected = manifest.tables ?? [];
  const parameters = await pinCopyText(client, input.parameters);
  const pinned = { ...input, parameters };
  const backup = await readBackupContents(pinned);
  let contents: ArchiveContents = { tables: [], sequences: [] };
  const reading = await readRestored(pinned, 'comparing', source.plainBytes, (told) => {
    contents = told;
    return new Map();
  });
  const first = compareDigests(expected, await restoredTables(client, reading));
  const { undecided } = first;
  const layouts = chooseLayouts(undecided, backup.tables, contents.tables);
  const second = undecided.length === 0 ? [] : await compareUnordered(pinned, undecided, layouts);
  const tables = expectedRows(expected);
  return {
    tables: tables.length,
    rows: tables.reduce((sum, { rows }) => sum + rows, 0),
    differences: [
      ...first.differences,
      ...second,
      ...compareLargeObjects(manifest.large_objects, reading.largeObjects),
      ...compareSequences(backup.sequences, reading.sequences),
    ],
    relationNotes: [
      ...compareRelations(manifest.relations, await countRelations(client)),
      ...first.unexpected.map((table) => `${shownTable(table)} has rows, and is not in the backup`),
    ],
  };
}
