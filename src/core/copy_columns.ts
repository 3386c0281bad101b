/** Which columns a `COPY … FROM stdin` of pg_dump's names, and in which order. */

/** An identifier as pg_dump writes it: bare, or in double quotes with every quote doubled. */
const identifier = '(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_]*)';

/** `COPY schema.table (a, "b c") FROM stdin;`, as `dumpTableData` of pg_dump.c writes it. */
const statementPattern = new RegExp(
  String.raw`^COPY ${identifier}(?:\.${identifier})? (?:\((.*)\))? ?FROM stdin;\n?$`,
  's',
);
const listPattern = new RegExp(`^${identifier}(?:, ${identifier})*$`, 's');
const identifierPattern = new RegExp(identifier, 'gs');

function unquote(written: string): string {
  return written.startsWith('"') ? written.slice(1, -1).replaceAll('""', '"') : written;
}

/**
 * The columns of the statement without their quotes, in its order. A table without columns, or
 * with generated ones alone, has none.
 *
 * @returns `null` for a statement that is not as pg_dump writes it
 */
export function copyColumns(statement: string): string[] | null {
  const match = statementPattern.exec(statement);
  if (match === null) return null;
  const list = match[1] ?? '';
  if (list === '') return [];
  if (!listPattern.test(list)) return null;
  return (list.match(identifierPattern) ?? []).map(unquote);
}

/**
 * Where each field of a row stands once its columns are in the order of their names: with it, rows
 * of tables that have the same columns in another order can be compared.
 *
 * @returns the index of each column in `columns`, in the order of the names
 */
export function orderByName(columns: readonly string[]): number[] {
  return [...columns.keys()].toSorted((a, b) => {
    const [left = '', right = ''] = [columns[a], columns[b]];
    return left < right ? -1 : 1;
  });
}
