/**
 * Compares the contents of what was restored with what was backed up, in two looks.
 *
 * The first look is at digests that depend on the order of the rows: they cost nothing more than
 * the dump that is read anyway, and are equal for nearly every table. A restore may put rows in
 * another order all the same, and into other partitions. Where the digests differ and the numbers
 * of rows and bytes do not, the second look decides, by sums that do not depend on the order. Rows
 * in whatever order, in whatever leaf, with their columns in whatever order are as many bytes, so
 * other bytes are other rows.
 */

import { type RowDifference, tableKey } from './compare.ts';
import type { Manifest, ManifestTable } from './manifest.ts';
import { shownIdentifier } from './quote.ts';

/** A table that has as many rows, but not the same ones. */
export interface ValueDifference {
  readonly kind: 'values';
  readonly schema: string;
  readonly name: string;
  readonly rows: number;
}

/** The large objects of the whole database. */
export interface LargeObjectDifference {
  readonly kind: 'large objects';
  readonly expected: number;
  readonly actual: number;
}

/** A sequence that is missing (`actual` is null) or stands elsewhere: `last value, is called`. */
export interface SequenceDifference {
  readonly kind: 'sequence';
  readonly schema: string;
  readonly name: string;
  readonly expected: string;
  readonly actual: string | null;
}

/** What a comparison may find. */
export type Difference =
  | RowDifference
  | ValueDifference
  | LargeObjectDifference
  | SequenceDifference;

/** What is compared as one: a table, or all leaves of a partitioned one. */
export interface ContentGroup {
  readonly schema: string;
  readonly name: string;
  readonly expected: readonly ManifestTable[];
  readonly actual: readonly ManifestTable[];
}

function byGroup(tables: readonly ManifestTable[]): Map<string, ManifestTable[]> {
  const groups = new Map<string, ManifestTable[]>();
  for (const table of tables) {
    const key = tableKey(table.root ?? table);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [table]);
    else group.push(table);
  }
  return groups;
}

function sumOf(tables: readonly ManifestTable[], part: 'rows' | 'bytes'): number {
  return tables.reduce((sum, table) => sum + table[part], 0);
}

/** Whether every table with rows has one of its name and digest on the other side. */
function sameTables({ expected, actual }: ContentGroup): boolean {
  const digests = (tables: readonly ManifestTable[]) =>
    new Map(tables.filter(({ rows }) => rows > 0).map((each) => [tableKey(each), each.sha256]));
  const [before, after] = [digests(expected), digests(actual)];
  return (
    before.size === after.size && [...before].every(([key, sha256]) => after.get(key) === sha256)
  );
}

/** What the first look has found. */
export interface FirstLook {
  readonly differences: readonly (RowDifference | ValueDifference)[];
  /** What only the second look can tell. */
  readonly undecided: readonly ContentGroup[];
  /** Tables with rows that the backup does not have. */
  readonly unexpected: readonly { readonly schema: string; readonly name: string }[];
}

/**
 * Compares by number of rows, number of bytes, and the digests that depend on the order.
 *
 * @param expected the tables of the manifest
 * @param actual the tables of the restored database, read in the same way
 */
export function compareDigests(
  expected: readonly ManifestTable[],
  actual: readonly ManifestTable[],
): FirstLook {
  const differences: (RowDifference | ValueDifference)[] = [];
  const undecided: ContentGroup[] = [];
  const present = byGroup(actual);
  for (const [key, tables] of byGroup(expected)) {
    const found = present.get(key);
    present.delete(key);
    const [first] = tables;
    if (first === undefined) continue;
    const { schema, name } = first.root ?? first;
    const rows = sumOf(tables, 'rows');
    const group = { schema, name, expected: tables, actual: found ?? [] };
    const actualRows = found === undefined ? null : sumOf(found, 'rows');
    if (actualRows !== rows) {
      differences.push({ kind: 'rows', schema, name, expected: rows, actual: actualRows });
    } else if (sumOf(tables, 'bytes') !== sumOf(group.actual, 'bytes')) {
      differences.push({ kind: 'values', schema, name, rows });
    } else if (!sameTables(group)) {
      undecided.push(group);
    }
  }
  const unexpected = [...present.values()].flat().filter(({ rows }) => rows > 0);
  return { differences, undecided, unexpected };
}

/** The sum, modulo 2^256, of the sums of several tables. */
function addSums(tables: readonly ManifestTable[], sums: ReadonlyMap<string, string>): bigint {
  const total = tables.reduce((sum, table) => {
    const one = sums.get(tableKey(table));
    if (one === undefined) throw new RangeError(`no sum of ${tableKey(table)}`);
    return sum + BigInt(`0x${one}`);
  }, 0n);
  return BigInt.asUintN(256, total);
}

/**
 * Decides what the first look could not.
 *
 * @param expected by {@link tableKey}, the sum of the rows of each table, from the backup
 * @param actual the same from the restored database
 */
export function compareSums(
  undecided: readonly ContentGroup[],
  expected: ReadonlyMap<string, string>,
  actual: ReadonlyMap<string, string>,
): ValueDifference[] {
  return undecided
    .filter((group) => addSums(group.expected, expected) !== addSums(group.actual, actual))
    .map(({ schema, name, expected: tables }) => {
      return { kind: 'values', schema, name, rows: sumOf(tables, 'rows') };
    });
}

const noLargeObjects = { count: 0, bytes: 0, sha256: '0'.repeat(64) };

/** Compares the large objects, by a sum of digests that holds their OIDs. */
export function compareLargeObjects(
  expected: Manifest['large_objects'],
  actual: Manifest['large_objects'],
): LargeObjectDifference[] {
  const [before, after] = [expected ?? noLargeObjects, actual ?? noLargeObjects];
  const same =
    before.count === after.count && before.bytes === after.bytes && before.sha256 === after.sha256;
  return same ? [] : [{ kind: 'large objects', expected: before.count, actual: after.count }];
}

/** A sequence, and where it stands. */
export interface SequenceState {
  readonly schema: string;
  readonly name: string;
  readonly value: string;
}

/** Compares where the sequences stand. */
export function compareSequences(
  expected: readonly SequenceState[],
  actual: readonly SequenceState[],
): SequenceDifference[] {
  const found = new Map(actual.map((sequence) => [tableKey(sequence), sequence.value]));
  return expected.flatMap(({ schema, name, value }) => {
    const there = found.get(tableKey({ schema, name })) ?? null;
    return there === value
      ? []
      : [{ kind: 'sequence', schema, name, expected: value, actual: there }];
  });
}

/** A schema and a name as SQL, to be shown. */
export function shownTable(table: { readonly schema: string; readonly name: string }): string {
  return `${shownIdentifier(table.schema)}.${shownIdentifier(table.name)}`;
}

/** What differs, without a full stop. */
export function describeDifference(difference: Difference): string {
  const { kind } = difference;
  if (kind === 'large objects') {
    const { expected, actual } = difference;
    return expected === actual
      ? `the ${expected} large objects are not the same`
      : `there are ${actual} of ${expected} large objects`;
  }
  const object = shownTable(difference);
  if (kind === 'values') return `${object} has other values in its ${difference.rows} rows`;
  const { expected, actual } = difference;
  if (kind === 'rows') {
    return actual === null ? `${object} is missing` : `${object} has ${actual} of ${expected} rows`;
  }
  return actual === null
    ? `the sequence ${object} is missing`
    : `the sequence ${object} stands at ${actual}, not at ${expected}`;
}
