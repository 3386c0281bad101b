/** Gives the built database what the original carried itself, and lets it take its place. */

import { type DatabaseStatement, databasePropertiesSql } from '../../core/database_sql.ts';
import { quoteIdentifier, quoteLiteral } from '../../core/quote.ts';
import { execute, queryRows } from '../../postgres/query.ts';
import { swapDatabases } from '../../postgres/swap.ts';
import { openMore } from '../open_database.ts';
import type { BuiltDatabase } from './restore_build.ts';
import type { RestoreWork } from './restore_work.ts';

/** How long the swap may take, with all its tries. */
const swapTimeoutMs = 60_000;

/** What became of the swap. */
export interface PlacedDatabase {
  readonly sessionsEnded: number;
  readonly warnings: readonly string[];
}

async function presentRoles(work: RestoreWork): Promise<Set<string>> {
  const rows = await queryRows<{ name: string }>(
    work.admin,
    'SELECT rolname AS name FROM pg_catalog.pg_roles',
  );
  return new Set(rows.map(({ name }) => name));
}

/**
 * Runs statements on a database's own properties. One that names a role which is not there, or that
 * this role may not run, is a warning: the data is worth more than a setting.
 */
async function runStatements(
  work: RestoreWork,
  statements: readonly DatabaseStatement[],
): Promise<string[]> {
  const roles = await presentRoles(work);
  const warnings: string[] = [];
  for (const { what, sql, roles: needed } of statements) {
    const missing = needed.find((role) => !roles.has(role));
    if (missing !== undefined) {
      warnings.push(`${what} was not restored: there is no role ${JSON.stringify(missing)}`);
      continue;
    }
    try {
      await execute(work.admin, sql);
    } catch (error) {
      warnings.push(`${what} was not restored: ${error instanceof Error ? error.message : error}`);
    }
  }
  return warnings;
}

/** The databases have changed places: whatever fails now, that is said, and is no failure. */
async function runAfterSwap(
  work: RestoreWork,
  statements: readonly DatabaseStatement[],
): Promise<string[]> {
  try {
    return statements.length === 0 ? [] : await runStatements(work, statements);
  } catch (error) {
    const what = statements.map((statement) => statement.what).join(', ');
    return [`${what} was not restored: ${error instanceof Error ? error.message : error}`];
  }
}

/**
 * Gives a database the owner, ACL and settings of the original. Its comment goes last: until then
 * it tells the next restore what this one has left if it is killed.
 *
 * @returns what was not restored; sentences
 */
export async function restoreProperties(work: RestoreWork, name: string): Promise<string[]> {
  if (work.carried === null) return [];
  const { beforeSwap } = databasePropertiesSql(work.carried, quoteIdentifier(name));
  return runStatements(
    work,
    beforeSwap.filter(({ what }) => what !== 'comment'),
  );
}

/**
 * Applies owner, ACL, settings and comment, swaps, and applies what may only come afterwards.
 *
 * @throws HoldfastError SWAP_FAILED with what stands in the way; the old database is untouched
 */
export async function putInPlace(work: RestoreWork, built: BuiltDatabase): Promise<PlacedDatabase> {
  const { context, request, admin, carried, old, parameters } = work;
  const { name, oid } = built.database;
  const restored = quoteIdentifier(name);
  const comment = carried?.comment ?? null;
  const warnings = await restoreProperties(work, name);
  const second = await openMore(context, parameters, 'holdfast swap');
  try {
    const { sessionsEnded } = await swapDatabases({
      admin,
      second,
      name: request.targetDatabase,
      oldOid: old?.oid ?? null,
      restored: name,
      restoredOid: oid,
      keepOldAs: work.beforeName,
      statements: [
        `COMMENT ON DATABASE ${restored} IS ${comment === null ? 'NULL' : quoteLiteral(comment)}`,
      ],
      timeoutMs: swapTimeoutMs,
      signal: context.signal,
    });
    const target = quoteIdentifier(request.targetDatabase);
    const after = carried === null ? [] : databasePropertiesSql(carried, target).afterSwap;
    warnings.push(...(await runAfterSwap(work, after)));
    return { sessionsEnded, warnings };
  } finally {
    await second.end();
  }
}
