/** Brings the roles of a backup to a server: missing ones are created, existing ones left alone. */

import type { Client } from 'pg';
import { HoldfastError } from '../../core/errors.ts';
import { type ExistingGlobals, planGlobals } from '../../core/globals.ts';
import { readBack } from '../../pipeline/read_back.ts';
import { execute, queryRows } from '../../postgres/query.ts';
import type { BackupSource } from '../backup_source.ts';
import { type Context, flowContext } from '../context.ts';

/** Roles and their settings are a small text; a larger one is none. */
const globalsBytesMax = 256 * 1024 * 1024;

/** What became of the roles. */
export interface RestoredRoles {
  readonly created: readonly string[];
  readonly kept: readonly string[];
  readonly warnings: readonly string[];
}

/** The text of a backup's globals, or `null` where it has none. */
async function readGlobals(context: Context, source: BackupSource): Promise<string | null> {
  const file = source.globals;
  if (file === null) return null;
  const chunks: Buffer[] = [];
  let bytes = 0;
  await readBack({
    body: await file.open(),
    filters: file.filters,
    sinks: [
      async (body) => {
        for await (const chunk of body as AsyncIterable<Buffer>) {
          bytes += chunk.length;
          if (bytes > globalsBytesMax) {
            throw new HoldfastError('DAMAGED', `${file.name} is too large to be a list of roles`);
          }
          chunks.push(chunk);
        }
      },
    ],
    context: flowContext(context),
  });
  return Buffer.concat(chunks).toString('utf8');
}

async function namesOf(client: Client, sql: string): Promise<Set<string>> {
  const rows = await queryRows<{ name: string }>(client, sql);
  return new Set(rows.map(({ name }) => name));
}

/** What is on the server already. */
async function existingGlobals(admin: Client): Promise<ExistingGlobals> {
  return {
    roles: await namesOf(admin, 'SELECT rolname AS name FROM pg_catalog.pg_roles'),
    tablespaces: await namesOf(admin, 'SELECT spcname AS name FROM pg_catalog.pg_tablespace'),
  };
}

/**
 * The roles that {@link restoreRoles} would create; `null` where the backup does not tell them.
 *
 * @throws HoldfastError DAMAGED
 */
export async function missingRoles(
  context: Context,
  source: BackupSource,
  admin: Client,
): Promise<readonly string[] | null> {
  const text = await readGlobals(context, source);
  return text === null ? null : planGlobals(text, await existingGlobals(admin)).createdRoles;
}

/**
 * Creates the roles of the backup that the server does not have. Nothing that exists is altered: a
 * password that was rotated since the backup stays.
 *
 * What this role may not do is a warning, not a failure: the data matters more than a membership.
 *
 * @param admin a connection to the server, to any database
 * @param proof awaited before the first role is created: roles stay
 */
export async function restoreRoles(
  context: Context,
  source: BackupSource,
  admin: Client,
  proof: Promise<void> = Promise.resolve(),
): Promise<RestoredRoles> {
  const text = await readGlobals(context, source);
  if (text === null) return { created: [], kept: [], warnings: [] };
  const plan = planGlobals(text, await existingGlobals(admin));
  const warnings = [...plan.notes];
  for (const name of plan.missingTablespaces) {
    warnings.push(`the tablespace ${JSON.stringify(name)} is not on this server`);
  }
  const failed = new Set<string>();
  if (plan.statements.length > 0) await proof;
  for (const { sql, kind, role } of plan.statements) {
    if (failed.has(role) && kind !== 'role') continue;
    try {
      await execute(admin, sql);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (kind === 'role') failed.add(role);
      // The statement itself may hold a password's hash, so only its kind is told.
      warnings.push(`role ${JSON.stringify(role)}: ${kind} was not restored: ${reason}`);
    }
  }
  return {
    created: plan.createdRoles.filter((role) => !failed.has(role)),
    kept: plan.keptRoles,
    warnings,
  };
}
