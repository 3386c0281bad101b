/** Compares what was restored with what was backed up. */

import type { ManifestTable } from './manifest.ts';

/** A table by its name, and how many rows it has. */
export interface TableRows {
  readonly schema: string;
  readonly name: string;
  readonly rows: number;
}

/** A table that is missing (`actual` is null) or has another number of rows. */
export interface RowDifference {
  readonly kind: 'rows';
  readonly schema: string;
  readonly name: string;
  readonly expected: number;
  readonly actual: number | null;
}

/** Names one table whatever its schema and name hold. */
export function tableKey(table: { readonly schema: string; readonly name: string }): string {
  return JSON.stringify([table.schema, table.name]);
}

/**
 * The rows that a restored database must have, summed up at the topmost partitioned table: a row
 * may land in another leaf than the one it was dumped from (hash partitions on an enum, rows that
 * were restored through the root), so the leaves cannot be compared one by one.
 */
export function expectedRows(tables: readonly ManifestTable[]): TableRows[] {
  const sums = new Map<string, TableRows>();
  for (const table of tables) {
    const { schema, name } = table.root ?? table;
    const key = tableKey({ schema, name });
    const rows = (sums.get(key)?.rows ?? 0) + table.rows;
    sums.set(key, { schema, name, rows });
  }
  return [...sums.values()];
}

/**
 * The differences between what must be there and what is.
 *
 * @param actual the rows of each table by {@link tableKey}; a table that is not there is missing
 */
export function compareRows(
  expected: readonly TableRows[],
  actual: ReadonlyMap<string, number>,
): RowDifference[] {
  return expected.flatMap(({ schema, name, rows }) => {
    const found = actual.get(tableKey({ schema, name })) ?? null;
    return found === rows ? [] : [{ kind: 'rows', schema, name, expected: rows, actual: found }];
  });
}

/** The kinds of relations by pg_class.relkind, in words, for messages. */
const relationWords: Readonly<Record<string, string>> = {
  r: 'tables',
  p: 'partitioned tables',
  v: 'views',
  m: 'materialized views',
  S: 'sequences',
  i: 'indexes',
  I: 'partitioned indexes',
  f: 'foreign tables',
  c: 'composite types',
};

/** One sentence for each kind of relation of which there are more or fewer than expected. */
export function compareRelations(
  expected: Readonly<Record<string, number>>,
  actual: Readonly<Record<string, number>>,
): string[] {
  const kinds = new Set([...Object.keys(expected), ...Object.keys(actual)]);
  return [...kinds].toSorted().flatMap((kind) => {
    const [before, after] = [expected[kind] ?? 0, actual[kind] ?? 0];
    if (before === after) return [];
    return [`${before} ${relationWords[kind] ?? kind} were backed up, ${after} were restored`];
  });
}
