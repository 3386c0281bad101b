/**
 * Creates, finds and drops databases. Every name is quoted; a database is dropped by its OID as
 * much as by its name.
 */

import { HoldfastError } from '../core/errors.ts';
import { quoteIdentifier } from '../core/quote.ts';
import { execute, type Queryable, queryRows } from './query.ts';

/** The OID of the database of that name, or `null`. */
export async function databaseOid(client: Queryable, name: string): Promise<number | null> {
  const [row] = await queryRows<{ oid: number }>(
    client,
    'SELECT oid FROM pg_catalog.pg_database WHERE datname = $1',
    [name],
  );
  return row?.oid ?? null;
}

/** A database, by its name and its OID. */
export interface DatabaseName {
  readonly name: string;
  readonly oid: number;
}

/** All databases of the server, those without connections too. */
export async function listDatabaseNames(client: Queryable): Promise<DatabaseName[]> {
  return queryRows(
    client,
    'SELECT datname AS name, oid FROM pg_catalog.pg_database ORDER BY datname COLLATE "C"',
  );
}

/**
 * Runs a CREATE DATABASE statement, such as core/database_sql.ts writes it, and tells the OID of
 * what it created.
 *
 * @param role that the client connected as, for the hint
 * @throws HoldfastError DATABASE_PRIVILEGE (it takes CREATEDB), DATABASE_REFUSED
 */
export async function createDatabase(
  client: Queryable,
  name: string,
  statement: string,
  role?: string,
): Promise<number> {
  await execute(client, statement, { doing: `creating database ${JSON.stringify(name)}`, role });
  const oid = await databaseOid(client, name);
  if (oid === null) {
    throw new HoldfastError(
      'UNEXPECTED',
      `database ${JSON.stringify(name)} is not there after CREATE DATABASE`,
    );
  }
  return oid;
}

/** How a database is dropped. */
export interface DropOptions {
  /** Ends the sessions that use it (`WITH (FORCE)`). */
  readonly force?: boolean;
}

/**
 * Drops a database if the name still belongs to the one that was meant.
 *
 * DROP DATABASE knows no OID and runs in no transaction, so between the look and the drop lies one
 * round trip. What is dropped has a name that no other database is ever given (core/names.ts: it
 * carries the second of its restore), so nothing else can slip in.
 *
 * @param oid as it was when the name was chosen or the database created
 * @returns `false` when there is no database of that name any more
 * @throws HoldfastError DATABASE_REFUSED when the name belongs to another database by now, or the
 * server refuses (sessions, subscriptions or replication slots that use it)
 */
export async function dropDatabaseChecked(
  client: Queryable,
  name: string,
  oid: number,
  options: DropOptions = {},
): Promise<boolean> {
  const found = await databaseOid(client, name);
  if (found === null) return false;
  if (found !== oid) {
    throw new HoldfastError(
      'DATABASE_REFUSED',
      `database ${JSON.stringify(name)} is another one by now ` +
        `(OID ${found}, not ${oid}): not dropped`,
      { hint: 'Look at it, and drop it yourself if it is not wanted.' },
    );
  }
  const force = options.force === true ? ' WITH (FORCE)' : '';
  await execute(client, `DROP DATABASE IF EXISTS ${quoteIdentifier(name)}${force}`, {
    doing: `dropping database ${JSON.stringify(name)}`,
  });
  return true;
}
