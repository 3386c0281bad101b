/** All that can be told about a database, in a form in which two of them can be compared. */

import type pg from 'pg';
import type { TestCluster } from './cluster.ts';
import { programOutput, quoted } from './workbench.ts';

export interface DatabaseContent {
  /** Owner, ACL, settings, comment, limits: what the database carries itself. */
  readonly carries: unknown;
  /** `pg_dump --schema-only`, line by line. */
  readonly schema: readonly string[];
  /** By table: how many rows, and the MD5 of all of them in the order of their text. */
  readonly rows: Readonly<Record<string, string>>;
  readonly sequences: Readonly<Record<string, string>>;
  readonly largeObjects: readonly unknown[];
  readonly extensions: readonly unknown[];
}

type Row = Record<string, unknown>;

async function rowsOf<T extends Row>(client: pg.Client, sql: string, values: unknown[] = []) {
  return (await client.query<T>(sql, values)).rows;
}

const carriesSql = `
  SELECT d.datdba::regrole::text AS owner, d.datconnlimit, d.encoding, d.datcollate, d.datctype,
         d.datallowconn, d.datistemplate, shobj_description(d.oid, 'pg_database') AS comment,
         (SELECT array_agg(a::text ORDER BY a::text COLLATE "C") FROM unnest(d.datacl) AS a) AS acl,
         (SELECT array_agg((CASE s.setrole WHEN 0 THEN '' ELSE s.setrole::regrole::text END,
                            s.setconfig)::text ORDER BY s.setrole)
            FROM pg_db_role_setting AS s WHERE s.setdatabase = d.oid) AS settings
    FROM pg_database AS d WHERE d.datname = current_database()`;

/** Partitions are read at their root: hash partitions on an enum get other rows when restored. */
const tablesSql = `
  SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'm', 'f') AND NOT c.relispartition AND c.relispopulated
     AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' ORDER BY 1, 2`;

async function readRows(client: pg.Client): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  type Table = { schema: string; name: string; kind: string };
  for (const { schema, name, kind } of await rowsOf<Table>(client, tablesSql)) {
    const table = `${quoted(schema)}.${quoted(name)}`;
    // The list of databases changes with the restore itself.
    if (name === 'far') continue;
    const [row] = await rowsOf<{ digest: string }>(
      client,
      `SELECT count(*) || ' rows ' || coalesce(md5(string_agg(t::text, E'\\n'
                ORDER BY t::text COLLATE "C")), '') AS digest
         FROM ${kind === 'r' ? 'ONLY ' : ''}${table} AS t`,
    );
    digests[table] = row?.digest ?? '';
  }
  return digests;
}

async function readSequences(client: pg.Client): Promise<Record<string, string>> {
  const values: Record<string, string> = {};
  const found = await rowsOf<{ name: string }>(
    client,
    "SELECT oid::regclass::text AS name FROM pg_class WHERE relkind = 'S' ORDER BY 1",
  );
  for (const { name } of found) {
    const [row] = await rowsOf<{ value: string }>(
      client,
      `SELECT last_value || ' ' || is_called AS value FROM ${name}`,
    );
    values[name] = row?.value ?? '';
  }
  return values;
}

/** The definitions as pg_dump tells them, without what differs from one run to the next. */
async function readSchema(cluster: TestCluster, database: string): Promise<string[]> {
  const args = ['--schema-only', '--no-password'];
  const environment = { PGDATABASE: database };
  const text = (await programOutput(cluster, 'pg_dump', args, environment)).toString('utf8');
  return text
    .split('\n')
    .filter((line) => !/^\\(?:un)?restrict /.test(line))
    .map((line) => line.replace(/^(CREATE SUBSCRIPTION .*slot_name = ).*\);$/, '$1…);'));
}

/** Reads everything. */
export async function readContent(
  cluster: TestCluster,
  database: string,
): Promise<DatabaseContent> {
  const client = await cluster.connect(database);
  try {
    await client.query(
      'SET TimeZone TO UTC; SET DateStyle TO ISO; SET bytea_output TO hex; ' +
        'SET extra_float_digits TO 3; SET search_path TO pg_catalog; SET statement_timeout TO 0',
    );
    return {
      carries: (await rowsOf(client, carriesSql))[0],
      rows: await readRows(client),
      sequences: await readSequences(client),
      largeObjects: await rowsOf(
        client,
        `SELECT oid, lomowner::regrole::text AS owner, lomacl::text AS acl,
                octet_length(lo_get(oid)) AS bytes, md5(lo_get(oid)) AS md5
           FROM pg_largeobject_metadata ORDER BY oid`,
      ),
      extensions: await rowsOf(
        client,
        `SELECT e.extname, e.extversion, n.nspname FROM pg_extension AS e
           JOIN pg_namespace AS n ON n.oid = e.extnamespace ORDER BY 1`,
      ),
      schema: await readSchema(cluster, database),
    };
  } finally {
    await client.end();
  }
}
