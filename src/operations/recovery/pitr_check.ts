/** Looks whether a server that was recovered answers: each database, and a query of the user's. */

import type { Client } from 'pg';
import { HoldfastError } from '../../core/errors.ts';
import { connect, resolveConnection } from '../../postgres/connection.ts';
import { queryOne, queryRows } from '../../postgres/query.ts';
import type { RepositoryContext } from '../context.ts';

/** What is asked beside whether every database answers. */
export interface PitrQuestion {
  readonly sql: string;
  readonly database: string;
}

/** What the server has answered. */
export interface PitrAnswer {
  /** Databases that connections are let into; each was connected to. */
  readonly databases: readonly string[];
  /** The first column of the first row that the question gave, as text; `null` without one. */
  readonly answer: string | null;
}

interface Server {
  readonly socket: string;
  readonly port: number;
}

async function inDatabase<T>(
  context: RepositoryContext,
  { socket, port }: Server,
  database: string,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  const { config, signal } = context;
  const { candidates } = await resolveConnection({ config, fallbackDatabase: database });
  const parameters = {
    ...candidates[0],
    ...{ host: socket, hostaddr: null, port, dbname: database, sslmode: 'disable' as const },
  };
  const client = await connect(parameters, { signal });
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** @throws HoldfastError DIFFERENT where the answer is no, or there is none */
function requireYes(rows: readonly object[], { sql, database }: PitrQuestion): string {
  const value = Object.values(rows[0] ?? {})[0];
  if (rows.length > 0 && value !== false) return String(value);
  const text = rows.length === 0 ? 'gave no row' : 'said false';
  const where = `in ${JSON.stringify(database)}`;
  throw new HoldfastError('DIFFERENT', `the check query ${text} ${where}: ${sql}`, {
    hint: 'The server runs: look into it, or restore to another target.',
  });
}

/**
 * Connects to every database that lets connections in, and asks.
 *
 * @throws HoldfastError RESTORE_FAILED for a server in recovery, DIFFERENT where the answer is
 *   false or missing, and what a connection or the server's refusal of a statement throws
 */
export async function checkPitr(
  context: RepositoryContext,
  server: Server,
  question: PitrQuestion | null,
): Promise<PitrAnswer> {
  const names = await inDatabase(context, server, 'template1', (client) =>
    queryRows<{ name: string }>(
      client,
      // -2: a DROP DATABASE that was interrupted has left it.
      `SELECT datname::text AS name FROM pg_catalog.pg_database
        WHERE datallowconn AND datconnlimit <> -2 ORDER BY 1`,
    ),
  );
  const databases = names.map(({ name }) => name);
  for (const database of databases) {
    const { is } = await inDatabase(context, server, database, (client) =>
      queryOne<{ is: boolean }>(client, 'SELECT pg_catalog.pg_is_in_recovery() AS is'),
    );
    if (!is) continue;
    throw new HoldfastError('RESTORE_FAILED', 'the server runs, and is still in recovery', {
      hint: 'Somebody has made a standby of it meanwhile: look into its log.',
    });
  }
  if (question === null) return { databases, answer: null };
  const rows = await inDatabase(context, server, question.database, (client) =>
    queryRows<object>(client, question.sql),
  );
  return { databases, answer: requireYes(rows, question) };
}
