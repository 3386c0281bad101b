/** Connects to the database that the user named, with an error that helps where it is not there. */

import type { Client } from 'pg';
import { HoldfastError } from '../core/errors.ts';
import {
  type Connected,
  type ConnectionParameters,
  connect,
  connectTarget,
  type ResolvedTarget,
  withDatabase,
} from '../postgres/connection.ts';
import { listDatabases } from '../postgres/facts.ts';
import type { Context } from './context.ts';

/** The databases that nearly every server has and that a role may mostly connect to. */
const maintenanceDatabases = ['postgres', 'template1'] as const;

/** How many names an error lists at most. */
const namesMax = 20;

/**
 * Connects to a database of the server that is there to be connected to, whatever else is wrong:
 * for questions about the server, and for making and renaming databases.
 *
 * @param avoid not this one: it is going to be renamed
 * @throws HoldfastError as {@link connect}
 */
export async function connectMaintenance(
  context: Context,
  target: ResolvedTarget,
  applicationName: string,
  avoid?: string,
): Promise<Connected> {
  let firstError: unknown;
  const databases = [...maintenanceDatabases, target.database].filter((name) => name !== avoid);
  for (const database of databases) {
    const [head, ...rest] = target.candidates;
    const first = await withDatabase(head, database);
    const others = await Promise.all(rest.map((each) => withDatabase(each, database)));
    try {
      return await connectTarget(
        { ...target, database, candidates: [first, ...others] },
        { applicationName, signal: context.signal },
      );
    } catch (error) {
      firstError ??= error;
      const isOther = error instanceof HoldfastError && error.code === 'DATABASE_NOT_FOUND';
      const isForbidden = error instanceof HoldfastError && error.code === 'DATABASE_PRIVILEGE';
      // It lets nobody in (ALLOW_CONNECTIONS false); another one may.
      const isClosed = error instanceof HoldfastError && error.code === 'DATABASE_REFUSED';
      if (!isOther && !isForbidden && !isClosed) throw error;
    }
  }
  throw firstError;
}

/** The names of the databases that exist, for a hint; nothing where they cannot be asked for. */
async function existingNames(context: Context, target: ResolvedTarget): Promise<string[]> {
  try {
    const { client } = await connectMaintenance(context, target, 'holdfast');
    try {
      return (await listDatabases(client)).map(({ name }) => name);
    } finally {
      await client.end();
    }
  } catch {
    return [];
  }
}

/**
 * Connects to a target's database.
 *
 * @throws HoldfastError DATABASE_NOT_FOUND with the names that exist; else as {@link connectTarget}
 */
export async function openDatabase(
  context: Context,
  target: ResolvedTarget,
  applicationName: string,
): Promise<Connected> {
  try {
    return await connectTarget(target, { applicationName, signal: context.signal });
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'DATABASE_NOT_FOUND') throw error;
    const names = await existingNames(context, target);
    const listed = names.slice(0, namesMax).map((name) => JSON.stringify(name));
    const more = names.length > namesMax ? ` and ${names.length - namesMax} more` : '';
    throw new HoldfastError('DATABASE_NOT_FOUND', error.message, {
      hint: names.length === 0 ? error.hint : `The server has: ${listed.join(', ')}${more}.`,
      cause: error,
      details: { databases: names },
    });
  }
}

/** Opens another connection to the same server. */
export async function openMore(
  context: Context,
  parameters: ConnectionParameters,
  applicationName: string,
): Promise<Client> {
  return connect(parameters, { applicationName, signal: context.signal });
}
