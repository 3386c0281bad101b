/** Counts the rows of a restored database and compares them with the backup's. */

import type { Client } from 'pg';
import {
  compareRelations,
  compareRows,
  expectedRows,
  type TableRows,
  tableKey,
} from '../../core/compare.ts';
import { type Difference, describeDifference, shownTable } from '../../core/compare_content.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { Manifest } from '../../core/manifest.ts';
import { formatCount } from '../../core/units.ts';
import { countRelations } from '../../postgres/facts.ts';
import { queryOne, queryRows } from '../../postgres/query.ts';

/** What the comparison found. */
export interface Comparison {
  readonly tables: number;
  readonly rows: number;
  readonly differences: readonly Difference[];
  /** Sentences on what there is more or fewer of beside the data: warnings, not failures. */
  readonly relationNotes: readonly string[];
}

/** So many differences are named in the error; all of them are in its details. */
const differencesNamedMax = 5;

/** @throws HoldfastError DIFFERENT with what differs, if anything does */
export function requireEqual({ differences }: Comparison): void {
  if (differences.length === 0) return;
  const named = differences.slice(0, differencesNamedMax).map(describeDifference);
  const more = differences.length - named.length;
  const rest = more > 0 ? `, and ${more} more` : '';
  throw new HoldfastError(
    'DIFFERENT',
    `the restored database differs: ${named.join(', ')}${rest}`,
    {
      hint: 'Nothing was swapped; restore another backup, and report this one.',
      details: { differences },
    },
  );
}

interface PresentTable {
  readonly schema: string;
  readonly name: string;
  /** What holds its rows, as SQL: itself, or the leaves of a partitioned table. */
  readonly parts: readonly string[];
  /** The condition under which an extension's configuration table is dumped, or `''`. */
  readonly condition: string;
  /** Row security hides rows of it from this role, so that it cannot count them. */
  readonly hidden: boolean;
}

/**
 * Whether a text of the catalog can be told. A database in SQL_ASCII may have names in any
 * encoding; the server refuses to send those that are no UTF-8, and ASCII is what surely is.
 */
export function isTellable(text: string): string {
  return `(pg_catalog.getdatabaseencoding() <> 'SQL_ASCII' OR ${text} !~ E'[\\\\x80-\\\\xff]')`;
}

/**
 * The tables that are there. Of an extension's configuration table only the rows that its condition
 * selects are in a dump (manual, "Extension Configuration Tables"), so only those are counted. Of a
 * partitioned table the foreign partitions are left out, whose rows no dump holds, and of another
 * parent the tables that inherit from it, which a dump holds apart.
 */
const presentTablesSql = `
  SELECT schema, name, parts, condition, hidden FROM (
    SELECT n.nspname AS schema, c.relname AS name, coalesce(x.condition, '') AS condition,
           l.parts, l.hidden
    FROM pg_catalog.pg_class c
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN (
      SELECT u.config AS oid, u.condition
      FROM pg_catalog.pg_extension e,
        LATERAL unnest(e.extconfig, e.extcondition) AS u(config, condition)
    ) x ON x.oid = c.oid,
    LATERAL (
      SELECT coalesce(array_agg(pg_catalog.format('%I.%I', m.nspname, l.relname)), '{}') AS parts,
             coalesce(bool_or(pg_catalog.row_security_active(l.oid)), false) AS hidden
        FROM (SELECT c.oid AS relid WHERE c.relkind = 'r' UNION ALL
              SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t WHERE c.relkind = 'p') t
        JOIN pg_catalog.pg_class l ON l.oid = t.relid AND l.relkind = 'r'
        JOIN pg_catalog.pg_namespace m ON m.oid = l.relnamespace
    ) l
    WHERE c.relkind IN ('r', 'p')) t
  WHERE ${isTellable("schema || name || array_to_string(parts, '')")}`;

async function countRows(client: Client, table: PresentTable): Promise<number> {
  let sum = 0;
  for (const part of table.parts) {
    const sql = `SELECT count(*)::text AS rows FROM ONLY ${part} ${table.condition}`;
    const [row] = await queryRows<{ rows: string }>(client, sql);
    sum += Number(row?.rows ?? Number.NaN);
  }
  return sum;
}

/** The tables of the manifest that can be counted here, and sentences on those that cannot. */
async function countableTables(
  client: Client,
  expected: readonly TableRows[],
  present: ReadonlyMap<string, PresentTable>,
): Promise<{ readonly countable: TableRows[]; readonly notes: string[] }> {
  const { is_ascii: isAscii } = await queryOne<{ is_ascii: boolean }>(
    client,
    "SELECT pg_catalog.getdatabaseencoding() = 'SQL_ASCII' AS is_ascii",
  );
  const notes: string[] = [];
  let untold = 0;
  const countable = expected.filter((table) => {
    const found = present.get(tableKey(table));
    if (found === undefined && isAscii && /[^\0-\x7f]/.test(table.schema + table.name)) {
      untold += 1;
      return false;
    }
    if (found?.hidden !== true) return true;
    notes.push(`${shownTable(table)} was not counted: its row security hides rows from this role`);
    return false;
  });
  if (untold > 0) notes.push(`${formatCount(untold, 'table')} not counted: the name is not ASCII`);
  return { countable, notes };
}

/**
 * Compares the restored database with the manifest.
 *
 * @param clients connections to the restored database; tables are counted on all of them at once
 */
export async function compareRestored(
  manifest: Manifest,
  clients: readonly [Client, ...Client[]],
): Promise<Comparison> {
  const [first] = clients;
  const expected = expectedRows(manifest.tables ?? []);
  const present = new Map<string, PresentTable>();
  for (const table of await queryRows<PresentTable>(first, presentTablesSql)) {
    present.set(tableKey(table), table);
  }
  const actual = new Map<string, number>();
  const { countable, notes } = await countableTables(first, expected, present);
  const pending = countable.flatMap((table) => present.get(tableKey(table)) ?? []).values();
  await Promise.all(
    clients.map(async (client) => {
      for (const table of pending) actual.set(tableKey(table), await countRows(client, table));
    }),
  );
  return {
    tables: countable.length,
    rows: countable.reduce((sum, { rows }) => sum + rows, 0),
    differences: compareRows(countable, actual),
    relationNotes: [...notes, ...compareRelations(manifest.relations, await countRelations(first))],
  };
}
