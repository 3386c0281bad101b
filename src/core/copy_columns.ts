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
 * How a row is taken: `as written`, or with its fields in another order, given as the index of the
 * field that comes first, second, ….
 */
export type RowLayout = 'as written' | readonly number[];

/** The index of each column in `columns`, in the order of the columns' names. */
export function orderByName(columns: readonly string[]): number[] {
  return [...columns.keys()].toSorted((a, b) => {
    const [left = '', right = ''] = [columns[a], columns[b]];
    return left < right ? -1 : 1;
  });
}

/**
 * How the rows of several tables are taken so that equal ones are equal: a table that inherits
 * columns from another one, or a partition, may have the same columns in another order than the
 * table that was dumped (a column that was added to the parent later comes last there, and is
 * restored among the parent's).
 *
 * @param lists the columns of each table; `null` where they are not known
 * @returns the layout of each, in the order of `lists`
 */
export function commonLayouts(lists: readonly (readonly string[] | null)[]): RowLayout[] {
  const texts = new Set(lists.map((columns) => JSON.stringify(columns)));
  return lists.map((columns) =>
    texts.size === 1 || columns === null ? 'as written' : orderByName(columns),
  );
}
