/** Which databases a backup is for. */

import { HoldfastError } from '../core/errors.ts';
import {
  configuredTargets,
  type ResolvedTarget,
  resolveConnection,
  withDatabase,
} from '../postgres/connection.ts';
import { listClosedDatabases, listDatabases } from '../postgres/facts.ts';
import type { Context } from './context.ts';
import { connectMaintenance } from './open_database.ts';

/** Every database of the server that the settings name, each as a target. */
async function discover(context: Context): Promise<ResolvedTarget[]> {
  const { config } = context;
  const server = await resolveConnection({ config, fallbackDatabase: 'postgres' });
  const { client, parameters } = await connectMaintenance(context, server, 'holdfast discovery');
  try {
    const databases = await listDatabases(client);
    const closed = await listClosedDatabases(client);
    if (closed.length > 0) {
      const names = closed.map((name) => JSON.stringify(name)).join(', ');
      context.log.warn(`left out, since they accept no connections: ${names}`);
    }
    const denied = databases.filter(({ mayConnect }) => !mayConnect);
    for (const { name } of denied) {
      context.log.warn(
        `database ${JSON.stringify(name)} is left out: role ` +
          `${JSON.stringify(parameters.user)} may not connect to it`,
      );
    }
    const targets: ResolvedTarget[] = [];
    for (const { name, mayConnect } of databases) {
      if (!mayConnect) continue;
      const candidates = [await withDatabase(parameters, name)] as const;
      targets.push({ ...server, database: name, candidates });
    }
    return targets;
  } finally {
    await client.end();
  }
}

/**
 * The targets of a run: those that are named, else all of the server with `--all`, else the
 * configured ones.
 *
 * @throws HoldfastError USAGE when nothing says which database, or both ways do
 */
export async function chooseTargets(
  context: Context,
  named: readonly string[],
  all: boolean,
): Promise<ResolvedTarget[]> {
  const { config } = context;
  if (all) {
    if (named.length > 0) {
      throw new HoldfastError('USAGE', `--all and ${JSON.stringify(named[0])} exclude each other`, {
        hint: 'Name the databases, or take --all alone.',
      });
    }
    return discover(context);
  }
  const conninfo = named.find((name) => /\bpassword\s*=/i.test(name) && !name.includes('://'));
  if (conninfo !== undefined) {
    throw new HoldfastError('USAGE', `${JSON.stringify(conninfo)} is a connection string`, {
      hint: 'Write it as a URL, postgresql://ROLE@HOST/DATABASE, and the password into ~/.pgpass.',
    });
  }
  const names = named.length > 0 ? [...new Set(named)] : configuredTargets(config);
  if (names.length === 0) {
    throw new HoldfastError('USAGE', 'no database is named', {
      hint:
        'Name one (backup_full.ts mastertrade), take --all, set PGDATABASE, or list databases ' +
        'in holdfast.yaml.',
    });
  }
  const targets: ResolvedTarget[] = [];
  for (const target of names) targets.push(await resolveConnection({ config, target }));
  for (const { warnings } of targets) for (const text of warnings) context.log.warn(text);
  return targets;
}
