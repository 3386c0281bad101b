/** Statements and their rows, with errors that say what to do. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientBase, QueryResultRow } from 'pg';
import { HoldfastError } from '../core/errors.ts';
import { describeServerError, type StatementContext } from './server_error.ts';

/** What the helpers here need of a connection. */
export type Queryable = Pick<ClientBase, 'query'>;

/**
 * Runs one statement and gives its rows.
 *
 * @param values for `$1`, `$2`, …: texts from users go this way where the syntax lets them
 * @throws HoldfastError as {@link describeServerError} describes what the server said
 */
export async function queryRows<Row extends QueryResultRow>(
  client: Queryable,
  text: string,
  values: readonly unknown[] = [],
  context: StatementContext = {},
): Promise<Row[]> {
  try {
    // Without values the simple protocol is used, which utility statements need.
    const result =
      values.length === 0
        ? await client.query<Row>(text)
        : await client.query<Row>(text, [...values]);
    return result.rows;
  } catch (error) {
    throw describeServerError(error, context);
  }
}

/**
 * Like {@link queryRows}, for a statement that gives one row.
 *
 * @throws HoldfastError also UNEXPECTED when it gives none or several
 */
export async function queryOne<Row extends QueryResultRow>(
  client: Queryable,
  text: string,
  values: readonly unknown[] = [],
  context: StatementContext = {},
): Promise<Row> {
  const rows = await queryRows<Row>(client, text, values, context);
  const [row] = rows;
  if (row === undefined || rows.length > 1) {
    throw new HoldfastError('UNEXPECTED', `a statement gave ${rows.length} rows instead of one`);
  }
  return row;
}

/** Runs a statement whose rows nobody wants. */
export async function execute(
  client: Queryable,
  text: string,
  context: StatementContext = {},
): Promise<void> {
  await queryRows(client, text, [], context);
}

/**
 * Waits for an answer of the server, but not for ever: a network that swallows everything breaks no
 * connection.
 *
 * @throws Error when the time is over; else what `work` throws
 */
export async function withTimeout<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  const timer = new AbortController();
  const late = sleep(timeoutMs, undefined, { signal: timer.signal }).then(() => {
    throw new Error(`the server did not answer within ${timeoutMs / 1000} s`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    timer.abort();
    late.catch(() => undefined);
    work.catch(() => undefined);
  }
}

/**
 * Leaves nothing but pg_catalog in the search path, as pg_dump does: no function or operator of a
 * user can then stand in for one of the system's (manual, "Writing SECURITY DEFINER Functions
 * Safely", CVE-2018-1058).
 */
export async function pinSearchPath(client: Queryable): Promise<void> {
  await queryRows(client, "SELECT pg_catalog.set_config('search_path', '', false)");
}

/**
 * Switches the time-outs of a transaction off that is held open on purpose. `lock_timeout` too:
 * who wants one sets it afterwards.
 *
 * @param versionNum server_version_num: transaction_timeout is there from PostgreSQL 17 on
 */
export async function disableTimeouts(client: Queryable, versionNum: number): Promise<void> {
  const names = ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout'];
  if (versionNum >= 170000) names.push('transaction_timeout');
  const calls = names.map((name) => `pg_catalog.set_config('${name}', '0', true)`);
  await queryRows(client, `SELECT ${calls.join(', ')}`);
}

/** server_version_num, e.g. 150018. */
export async function serverVersionNum(client: Queryable): Promise<number> {
  const row = await queryOne<{ version_num: string }>(
    client,
    "SELECT pg_catalog.current_setting('server_version_num') AS version_num",
  );
  return Number(row.version_num);
}
