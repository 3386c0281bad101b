/** Drops what restores have built and nobody will use: of this one, and of killed ones. */

import type { Client } from 'pg';
import { dropSubscriptionsQuery } from '../../core/database_sql.ts';
import { toHoldfastError } from '../../core/errors.ts';
import { restoringComment } from '../../core/leftovers.ts';
import { isRestoringNameOf } from '../../core/names.ts';
import { dropDatabaseChecked, listDatabaseNames } from '../../postgres/admin.ts';
import { type ConnectionParameters, connect } from '../../postgres/connection.ts';
import { execute, queryOne, queryRows, withTimeout } from '../../postgres/query.ts';
import type { Context } from '../context.ts';
import { restoringParameters } from './restore_server.ts';
import type { RestoreWork } from './restore_work.ts';

/** How long a server may take for its simplest answer before it is taken for gone. */
const answerTimeoutMs = 15_000;
const cleanUpName = 'holdfast restore clean-up';

/** Removes the subscriptions of a database: they would keep it from being dropped. */
async function dropSubscriptions(
  admin: Client,
  parameters: ConnectionParameters,
  name: string,
): Promise<void> {
  let inside: Client;
  try {
    const restoring = await restoringParameters(admin, parameters, name);
    inside = await connect(restoring, { applicationName: cleanUpName });
  } catch {
    // One whose drop was broken off, or with a connection limit of 0, lets nobody in. If it has
    // subscriptions all the same, the server says so when it is dropped.
    return;
  }
  try {
    for (const row of await queryRows<Record<string, string>>(inside, dropSubscriptionsQuery)) {
      for (const statement of Object.values(row)) await execute(inside, statement);
    }
  } finally {
    await inside.end();
  }
}

/**
 * Drops a database that a restore has built and that will not be used. Subscriptions would keep it
 * from being dropped, so they go first; nothing of the publisher is touched.
 */
async function dropRestored(
  admin: Client,
  parameters: ConnectionParameters,
  database: { readonly name: string; readonly oid: number },
): Promise<void> {
  await dropSubscriptions(admin, parameters, database.name);
  await dropDatabaseChecked(admin, database.name, database.oid, { force: true });
}

/** Whether nobody has made anything in a database yet (16384: FirstNormalObjectId). */
async function isEmpty(
  admin: Client,
  parameters: ConnectionParameters,
  name: string,
): Promise<boolean> {
  const restoring = await restoringParameters(admin, parameters, name);
  const inside = await connect(restoring, { applicationName: cleanUpName });
  try {
    const { empty } = await queryOne<{ empty: boolean }>(
      inside,
      `SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_class WHERE oid >= 16384)
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE oid >= 16384)
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata) AS empty`,
    );
    return empty;
  } finally {
    await inside.end();
  }
}

/**
 * Whether a database surely is what a restore of that target was building. The comment says that a
 * restore of this very target has made it. One that was killed between creating and commenting has
 * left an empty database without a comment.
 *
 * @throws HoldfastError what the server says when it lets nobody in
 */
export async function isStaleRestore(
  admin: Client,
  parameters: ConnectionParameters,
  target: string,
  { name, oid }: { readonly name: string; readonly oid: number },
): Promise<boolean> {
  const [row] = await queryRows<{ comment: string | null }>(
    admin,
    `SELECT pg_catalog.shobj_description(oid, 'pg_database') AS comment
       FROM pg_catalog.pg_database WHERE oid = $1::oid AND datname = $2`,
    [oid, name],
  );
  if (row === undefined || !isRestoringNameOf(name, target)) return false;
  if (row.comment !== null) return row.comment === restoringComment(target);
  return isEmpty(admin, parameters, name);
}

/**
 * Drops a database that a killed restore of that target has left; the lock on the target is held,
 * so none is running.
 *
 * @returns whether it was dropped; `false` when it is not proven to be such a one
 * @throws HoldfastError as {@link dropDatabaseChecked}
 */
export async function dropStaleRestore(
  admin: Client,
  parameters: ConnectionParameters,
  target: string,
  database: { readonly name: string; readonly oid: number },
): Promise<boolean> {
  if (!(await isStaleRestore(admin, parameters, target, database))) return false;
  await dropRestored(admin, parameters, database);
  return true;
}

/** Drops what killed restores of the same target have left; the lock on the target is held. */
export async function dropStaleRestores(
  context: Context,
  admin: Client,
  parameters: ConnectionParameters,
  target: string,
): Promise<void> {
  for (const database of await listDatabaseNames(admin)) {
    const { name } = database;
    if (!isRestoringNameOf(name, target)) continue;
    try {
      if (await dropStaleRestore(admin, parameters, target, database)) {
        context.log.step(`dropped ${name}, which a restore that never ended has left`);
      }
    } catch (error) {
      const { message } = toHoldfastError(error);
      context.log.warn(`${JSON.stringify(name)}, left by a restore, stays: ${message}`);
    }
  }
}

/** Drops what was built; where that fails too, says what is left. The old database is untouched. */
export async function dropFailed(
  work: RestoreWork,
  database: { readonly name: string; readonly oid: number },
): Promise<void> {
  const { context, admin, parameters, old, request } = work;
  if (old !== null) {
    context.log.step(`database ${JSON.stringify(request.targetDatabase)} is untouched`);
  }
  try {
    await withTimeout(execute(admin, 'SELECT 1'), answerTimeoutMs);
    await dropRestored(admin, parameters, database);
  } catch (error) {
    const { message } = toHoldfastError(error);
    context.log.warn(
      `${JSON.stringify(database.name)} could not be dropped (${message}); ` +
        'the next restore of this database drops it',
    );
  }
}
