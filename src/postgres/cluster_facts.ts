/** What a base backup asks of a cluster: tablespaces, size, checksums, where its settings lie. */

import { HoldfastError } from '../core/errors.ts';
import { type Queryable, queryOne, queryRows } from './query.ts';

/** A tablespace that is not in the data directory. */
export interface TablespaceFact {
  readonly oid: number;
  readonly name: string;
}

/** A cluster, as a base backup needs to know it. */
export interface ClusterFacts {
  readonly tablespaces: readonly TablespaceFact[];
  /** Of all databases that the role may look into. */
  readonly bytes: number;
  readonly pageChecksums: boolean;
  /** Whether the server writes down which blocks change: PostgreSQL 17+ can. */
  readonly summarizesWal: boolean;
}

/** A file with settings of the server. */
export interface ServerConfigFile {
  readonly setting: 'config_file' | 'hba_file' | 'ident_file' | 'include';
  /** Absolute, on the server. */
  readonly path: string;
}

/** Where the settings lie. */
export interface ConfigPlaces {
  readonly dataDirectory: string;
  readonly files: readonly ServerConfigFile[];
}

/** Reads the facts; any role may. */
export async function readClusterFacts(client: Queryable): Promise<ClusterFacts> {
  const tablespaces = await queryRows<{ oid: number; name: string }>(
    client,
    `SELECT oid::bigint::float8 AS oid, spcname::text AS name FROM pg_catalog.pg_tablespace
      WHERE spcname NOT IN ('pg_default', 'pg_global') ORDER BY oid`,
  );
  const row = await queryOne<{ bytes: number; checksums: string; summarize: string | null }>(
    client,
    `SELECT (SELECT coalesce(sum(pg_catalog.pg_database_size(oid)), 0)::float8
               FROM pg_catalog.pg_database
              WHERE pg_catalog.has_database_privilege(oid, 'CONNECT')) AS bytes,
            pg_catalog.current_setting('data_checksums') AS checksums,
            pg_catalog.current_setting('summarize_wal', true) AS summarize`,
  );
  return {
    tablespaces,
    bytes: row.bytes,
    pageChecksums: row.checksums === 'on',
    summarizesWal: row.summarize === 'on',
  };
}

/** A role that may not do this is no error here; everything else is. */
function isRefusal(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === 'DATABASE_PRIVILEGE';
}

/**
 * Where the server's settings lie; `null` where the role may not see it (pg_read_all_settings).
 *
 * @throws HoldfastError what the server says
 */
export async function readConfigPlaces(client: Queryable): Promise<ConfigPlaces | null> {
  const rows = await queryRows<{ name: string; setting: string }>(
    client,
    `SELECT name, setting FROM pg_catalog.pg_settings
      WHERE name IN ('data_directory', 'config_file', 'hba_file', 'ident_file')`,
  );
  const settings = new Map(rows.map(({ name, setting }) => [name, setting]));
  const dataDirectory = settings.get('data_directory');
  if (dataDirectory === undefined) return null;
  const named = (['config_file', 'hba_file', 'ident_file'] as const).flatMap((setting) => {
    const path = settings.get(setting);
    return path === undefined || path === '' ? [] : [{ setting, path }];
  });
  const included = await readIncluded(client);
  const known = new Set(named.map(({ path }) => path));
  const more = included
    .filter((path) => !known.has(path))
    .map((path) => ({ setting: 'include' as const, path }));
  return { dataDirectory, files: [...named, ...more] };
}

/** The files that settings come from, as far as the role may see them. */
async function readIncluded(client: Queryable): Promise<string[]> {
  const query = (view: string) =>
    queryRows<{ path: string }>(
      client,
      `SELECT DISTINCT sourcefile AS path FROM pg_catalog.${view}
        WHERE sourcefile IS NOT NULL ORDER BY 1`,
    );
  // The first also knows what is not in effect.
  const rows = await query('pg_file_settings').catch((error: unknown) => {
    if (!isRefusal(error)) throw error;
    return query('pg_settings');
  });
  return rows.map(({ path }) => path);
}

/**
 * Reads a file of the server's, which superusers may and members of pg_read_server_files.
 *
 * @param bytesMax no more of it
 * @returns `null` where the role may not, or the server cannot
 */
export async function readServerFile(
  client: Queryable,
  path: string,
  bytesMax: number,
): Promise<Buffer | null> {
  try {
    const { content } = await queryOne<{ content: Buffer }>(
      client,
      'SELECT pg_catalog.pg_read_binary_file($1, 0, $2) AS content',
      [path, bytesMax],
    );
    return content;
  } catch (error) {
    const isOfTheFile =
      error instanceof HoldfastError &&
      ['DATABASE_PRIVILEGE', 'DATABASE_REFUSED'].includes(error.code);
    if (!isOfTheFile) throw error;
    return null;
  }
}
