/** Builds the new database beside the old one: created, filled, detached, compared, analyzed. */

import { createDatabaseSql } from '../../core/database_sql.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { RestoreRate } from '../../core/estimate.ts';
import { restoringComment } from '../../core/leftovers.ts';
import { quoteIdentifier, quoteLiteral } from '../../core/quote.ts';
import { createDatabase, type DatabaseName } from '../../postgres/admin.ts';
import type { ConnectionParameters } from '../../postgres/connection.ts';
import { moneyOption, withOptions } from '../../postgres/copy_text.ts';
import { execute, queryRows } from '../../postgres/query.ts';
import { createErrorCollector, type ErrorCollector } from '../../postgres/restore_errors.ts';
import { dropFailed } from './restore_cleanup.ts';
import type { Comparison } from './restore_compare.ts';
import { fillFromFile, fillFromStream } from './restore_fill.ts';
import { fillFromSql } from './restore_fill_sql.ts';
import { finishDatabase } from './restore_finish.ts';
import { restoringParameters } from './restore_server.ts';
import { fillingSession } from './restore_session.ts';
import { createFromSql } from './restore_sql.ts';
import { noTrouble, type Trouble } from './restore_trouble.ts';
import type { VerifiedSource } from './restore_verify.ts';
import type { RestoreWork } from './restore_work.ts';

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

/** The statement that makes the empty database, like the original as far as that is known. */
async function createStatement(work: RestoreWork): Promise<string> {
  const { admin, carried, restoringName, server, sql } = work;
  const name = quoteIdentifier(restoringName);
  const isToldBySql = sql !== null && sql.databaseOptions !== '';
  if (carried === null || isToldBySql) return createFromSql(restoringName, sql);
  const { tablespace } = carried;
  const found = await queryRows(
    admin,
    'SELECT 1 FROM pg_catalog.pg_tablespace WHERE spcname = $1',
    [tablespace],
  );
  const tablespaceExists = found.length > 0;
  return createDatabaseSql(carried, name, {
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
  const { context, request, restoreTool, sql } = work;
  const { source } = request;
  const program = restoreTool.path;
  const input = { context, source, parameters, pgRestore: program, errors };
  if (verified.file !== null) {
    context.log.step(`restoring with ${request.jobs} jobs`);
    await fillFromFile(input, verified.file, request.jobs);
    return;
  }
  const progress = await context.log.progress('restoring', verified.plainBytes);
  try {
    if (sql === null) await fillFromStream(input, progress.add);
    else await fillFromSql({ context, source, parameters, psql: program, sql }, progress.add);
  } finally {
    progress.end();
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
  const collector = createErrorCollector(({ command, message }) => {
    context.log.trace(`pg_restore: ${message}`, { statement: command });
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

/** The parameters of every session in the new database, which write and read money alike. */
async function fillingParameters(work: RestoreWork, name: string): Promise<ConnectionParameters> {
  const { admin, carried } = work;
  const parameters = await restoringParameters(admin, work.parameters, name);
  const option = await moneyOption(admin, carried?.settings ?? []);
  return option === null ? parameters : withOptions(parameters, [option]);
}

/**
 * Builds the database under its temporary name. When anything fails it is dropped again. When this
 * resolves, nothing of the source is left to verify.
 *
 * @throws HoldfastError DAMAGED, RESTORE_FAILED, DIFFERENT, and what the server says
 */
export async function buildDatabase(
  work: RestoreWork,
  verified: VerifiedSource,
  database: DatabaseName,
): Promise<BuiltDatabase> {
  const { context } = work;
  try {
    const parameters = await fillingParameters(work, database.name);
    const begun = context.stopwatch();
    const session = fillingSession(parameters);
    const filled = await fillOrKeep(work, verified, session);
    const filling = context.stopwatch() - begun;
    // Nobody reads the unpacked dump any more once it is proven: its room is given back meanwhile.
    const proven = verified.proof.then(() => verified.remove());
    proven.catch(() => undefined);
    const finished = await finishDatabase(work, parameters);
    await proven;
    if (context.signal.aborted) throw context.signal.reason;
    const { comparison, warnings, difference, comparing, analyzing } = finished;
    const seconds = { filling, comparing, analyzing };
    return { database, comparison, warnings, trouble: { ...filled, difference }, seconds };
  } catch (error) {
    await dropFailed(work, database);
    throw error;
  }
}
