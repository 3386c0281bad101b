/** Which databases a backup is for. */

import { HoldfastError } from '../core/errors.ts';
import {
  configuredTargets,
  describeServer,
  type ResolvedTarget,
  resolveConnection,
  withDatabase,
} from '../postgres/connection.ts';
import { listClosedDatabases, listDatabases } from '../postgres/facts.ts';
import type { Context } from './context.ts';
import { connectMaintenance } from './open_database.ts';

/**
 * The server of a target as it was named, before any of its addresses has answered; several where
 * it names several.
 */
export function serverOf({ candidates }: ResolvedTarget): string {
  return candidates.map(describeServer).join(', ');
}

/** What the lines of each target are told under: the database, with its server where two meet. */
export function targetNames(targets: readonly ResolvedTarget[]): string[] {
  const isTwice = ({ database }: ResolvedTarget) =>
    targets.filter((other) => other.database === database).length > 1;
  return targets.map((target) =>
    isTwice(target) ? `${target.database} on ${serverOf(target)}` : target.database,
  );
}

/** Each database once, however often and in how many ways it was named. */
function withoutRepeats(targets: readonly ResolvedTarget[]): ResolvedTarget[] {
  const keys = targets.map((target) => JSON.stringify([serverOf(target), target.database]));
  return targets.filter((_, index) => keys.indexOf(keys[index] ?? '') === index);
}

/**
 * Databases of one name on two servers are told apart by their clusters' names. Where the setting
 * gives both the same name, each would be taken for the history of the other.
 *
 * @throws HoldfastError CONFIG_INVALID
 */
function requireOwnClusters(targets: readonly ResolvedTarget[], cluster: string | null): void {
  if (cluster === null) return;
  const twice = targets.find(({ database }, index) =>
    targets.slice(index + 1).some((other) => other.database === database),
  );
  if (twice === undefined) return;
  const servers = targets.filter(({ database }) => database === twice.database).map(serverOf);
  const name = JSON.stringify(twice.database);
  throw new HoldfastError(
    'CONFIG_INVALID',
    `cluster (CLUSTER) names ${JSON.stringify(cluster)} for the databases ${name} of several ` +
      `servers (${servers.join('; ')}), which the repository could not tell apart`,
    { hint: 'Leave CLUSTER out, or back them up in runs with a CLUSTER of their own.' },
  );
}

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
 * @throws HoldfastError USAGE when nothing says which database, or both ways do; CONFIG_INVALID
 *   when two databases would lie in one place
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
  const names = named.length > 0 ? named : configuredTargets(config);
  if (names.length === 0) {
    throw new HoldfastError('USAGE', 'no database is named', {
      hint:
        'Name one (scripts/backup_full.ts mastertrade), take --all, set PGDATABASE, or list ' +
        'databases in holdfast.yaml.',
    });
  }
  const resolved: ResolvedTarget[] = [];
  for (const target of names) resolved.push(await resolveConnection({ config, target }));
  const targets = withoutRepeats(resolved);
  requireOwnClusters(targets, config.settings.cluster);
  const warnings = new Set(targets.flatMap((target) => target.warnings));
  for (const text of warnings) context.log.warn(text);
  return targets;
}
