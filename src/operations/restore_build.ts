/** Builds the new database beside the old one: created, filled, detached, compared, analyzed. */

import type { Client } from 'pg';
import { createDatabaseSql, detachSubscriptionsQuery } from '../core/database_sql.ts';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { RestoreRate } from '../core/estimate.ts';
import { restoringComment } from '../core/leftovers.ts';
import { quoteIdentifier, quoteLiteral } from '../core/quote.ts';
import { createDatabase, type DatabaseName } from '../postgres/admin.ts';
import { type ConnectionParameters, connect } from '../postgres/connection.ts';
import { execute, queryRows } from '../postgres/query.ts';
import { createErrorCollector, type ErrorCollector } from '../postgres/restore_errors.ts';
import { dropFailed } from './restore_cleanup.ts';
import { type Comparison, compareRestored } from './restore_compare.ts';
import { fillFromFile, fillFromStream } from './restore_fill.ts';
import { restoringParameters } from './restore_server.ts';
import { noTrouble, type Trouble } from './restore_trouble.ts';
import type { VerifiedSource } from './restore_verify.ts';
import type { RestoreWork } from './restore_work.ts';

/** So many sessions count rows and analyze at the same time. */
const sessionsMax = 2;
/** So many tables are named when the comparison finds differences. */
const differencesNamedMax = 5;

/** A database that is ready to take the target's name, unless something went wrong. */
export interface BuiltDatabase {
  readonly database: DatabaseName;
  readonly comparison: Comparison | null;
  readonly warnings: readonly string[];
  /** What a restore that keeps going has met; without one the first of it is thrown. */
  readonly trouble: Trouble;
  /** What each step took. */
  readonly seconds: Omit<RestoreRate['seconds'], 'verifying'>;
}

/** The statement that makes the empty database, like the original where its manifest is known. */
async function createStatement(work: RestoreWork): Promise<string> {
  const { admin, request, restoringName, server } = work;
  const name = quoteIdentifier(restoringName);
  const { manifest } = request.source;
  if (manifest === null) return `CREATE DATABASE ${name} WITH TEMPLATE = template0`;
  const { tablespace } = manifest.properties;
  const found = await queryRows(
    admin,
    'SELECT 1 FROM pg_catalog.pg_tablespace WHERE spcname = $1',
    [tablespace],
  );
  const tablespaceExists = found.length > 0;
  return createDatabaseSql(manifest.properties, name, {
    serverVersionNum: server.versionNum,
    tablespaceExists,
  });
}

async function fill(
  work: RestoreWork,
  verified: VerifiedSource,
  parameters: ConnectionParameters,
  errors: ErrorCollector | undefined,
): Promise<void> {
  const { context, request, pgRestore } = work;
  const { source } = request;
  const input = { context, source, parameters, pgRestore: pgRestore.path, errors };
  if (verified.file !== null) {
    context.log.step(`restoring with ${request.jobs} jobs`);
    await fillFromFile(input, verified.file, request.jobs);
    return;
  }
  const progress = await context.log.progress('restoring', verified.plainBytes);
  try {
    await fillFromStream(input, progress.add);
  } finally {
    progress.end();
  }
}

/** A restored subscription must neither connect nor hold on to the publisher's slot. */
async function detachSubscriptions(inside: Client): Promise<void> {
  for (const row of await queryRows<Record<string, string>>(inside, detachSubscriptionsQuery)) {
    for (const statement of Object.values(row)) await execute(inside, statement);
  }
}

function differentError(comparison: Comparison): HoldfastError {
  const { differences } = comparison;
  const named = differences
    .slice(0, differencesNamedMax)
    .map(({ schema, name, expected, actual }) => {
      const table = `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`;
      return actual === null ? `${table} is missing` : `${table} has ${actual} of ${expected} rows`;
    });
  const more = differences.length - named.length;
  const rest = more > 0 ? `, and ${more} more` : '';
  return new HoldfastError(
    'DIFFERENT',
    `the restored database differs: ${named.join(', ')}${rest}`,
    {
      hint: 'Nothing was swapped; restore another backup, and report this one.',
      details: { differences },
    },
  );
}

async function compare(work: RestoreWork, inside: readonly [Client, ...Client[]]) {
  const { context, request } = work;
  const { manifest } = request.source;
  if (request.compare === 'none' || manifest === null || manifest.tables === null) return null;
  const comparison = await compareRestored(manifest, inside);
  if (comparison.differences.length > 0) throw differentError(comparison);
  context.log.step(`compared: ${comparison.tables} tables, ${comparison.rows} rows, all equal`);
  return comparison;
}

/**
 * Gives the planner its statistics; several sessions share the tables. A table that cannot be
 * analyzed, such as one with a partition on a server that does not answer, is a warning.
 */
async function analyze(
  inside: readonly [Client, ...Client[]],
  signal: AbortSignal,
): Promise<string[]> {
  const [first] = inside;
  const tables = await queryRows<{ name: string }>(
    first,
    `SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) AS name
       FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
        AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
      ORDER BY c.relpages DESC`,
  );
  const pending = tables.values();
  const warnings: string[] = [];
  await Promise.all(
    inside.map(async (client) => {
      for (const { name } of pending) {
        signal.throwIfAborted();
        try {
          await execute(client, `ANALYZE ${name}`);
        } catch (thrown) {
          const error = toHoldfastError(thrown);
          if (error.code === 'DATABASE_UNREACHABLE') throw error;
          warnings.push(`the table ${name} was not analyzed: ${error.message}`);
        }
      }
    }),
  );
  return warnings;
}

/** What was found once the data was there. */
type Finished = Pick<BuiltDatabase, 'comparison' | 'warnings'> & {
  readonly difference: HoldfastError | null;
  readonly comparing: number;
  readonly analyzing: number;
};

/** A restore that keeps going keeps a difference too; any other ends with it. */
async function compareOrKeep(work: RestoreWork, inside: readonly [Client, ...Client[]]) {
  try {
    return { comparison: await compare(work, inside), difference: null };
  } catch (error) {
    const isKept = error instanceof HoldfastError && error.code === 'DIFFERENT';
    if (work.request.keepGoing !== true || !isKept) throw error;
    return { comparison: null, difference: error };
  }
}

async function finish(work: RestoreWork, parameters: ConnectionParameters): Promise<Finished> {
  const { signal, stopwatch } = work.context;
  const options = { applicationName: 'holdfast restore', signal };
  const first = await connect(parameters, options);
  const inside: [Client, ...Client[]] = [first];
  try {
    while (inside.length < sessionsMax) inside.push(await connect(parameters, options));
    await detachSubscriptions(first);
    const begun = stopwatch();
    const { comparison, difference } = await compareOrKeep(work, inside);
    const compared = stopwatch();
    const warnings = [...(comparison?.relationNotes ?? []), ...(await analyze(inside, signal))];
    const [comparing, analyzing] = [compared - begun, stopwatch() - compared];
    return { comparison, difference, warnings, comparing, analyzing };
  } finally {
    await Promise.all(inside.map((client) => client.end()));
  }
}

/**
 * Creates the empty database under its temporary name.
 *
 * @throws HoldfastError RESTORE_FAILED, and what the server says
 */
export async function createRestoring(work: RestoreWork): Promise<DatabaseName> {
  const { admin, restoringName: name, request } = work;
  const oid = await createDatabase(admin, name, await createStatement(work), work.parameters.user);
  const database = { name, oid };
  try {
    const comment = quoteLiteral(restoringComment(request.targetDatabase));
    await execute(admin, `COMMENT ON DATABASE ${quoteIdentifier(name)} IS ${comment}`);
    return database;
  } catch (error) {
    await dropFailed(work, database);
    throw error;
  }
}

/** Fills it; what goes wrong is thrown, or collected where the restore keeps going. */
async function fillOrKeep(
  work: RestoreWork,
  verified: VerifiedSource,
  parameters: ConnectionParameters,
): Promise<Pick<Trouble, 'damage' | 'errors'>> {
  const { context, request } = work;
  if (request.keepGoing !== true) {
    await fill(work, verified, parameters, undefined);
    return noTrouble;
  }
  const collector = createErrorCollector(({ object, message }) => {
    context.log.trace(`pg_restore: ${object ?? ''}: ${message}`, { object });
  });
  let damage: HoldfastError | null = null;
  try {
    await fill(work, verified, parameters, collector);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'DAMAGED') throw error;
    damage = error;
  }
  return { damage, errors: collector.finish() };
}

/**
 * Builds the database under its temporary name. When anything fails it is dropped again.
 *
 * @throws HoldfastError RESTORE_FAILED, DIFFERENT, and what the server says
 */
export async function buildDatabase(
  work: RestoreWork,
  verified: VerifiedSource,
  database: DatabaseName,
): Promise<BuiltDatabase> {
  const { context } = work;
  try {
    const parameters = await restoringParameters(work.admin, work.parameters, database.name);
    const begun = context.stopwatch();
    const filled = await fillOrKeep(work, verified, parameters);
    const filling = context.stopwatch() - begun;
    const finished = await finish(work, parameters);
    if (context.signal.aborted) throw context.signal.reason;
    const { comparison, warnings, difference, comparing, analyzing } = finished;
    const seconds = { filling, comparing, analyzing };
    return { database, comparison, warnings, trouble: { ...filled, difference }, seconds };
  } catch (error) {
    await dropFailed(work, database);
    throw error;
  }
}
