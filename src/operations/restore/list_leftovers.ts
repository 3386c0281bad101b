/** What restores have left on the servers that the settings name, for the list of backups. */

import { existsSync } from 'node:fs';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { isLeftoverNameOf } from '../../core/names.ts';
import {
  configuredTargets,
  type ResolvedTarget,
  resolveConnection,
} from '../../postgres/connection.ts';
import { readLeftovers } from '../../postgres/leftovers.ts';
import { withTimeout } from '../../postgres/query.ts';
import { serverOf } from '../backup_targets.ts';
import type { Context } from '../context.ts';
import { connectMaintenance } from '../open_database.ts';

/** The list of backups does not wait longer for a server that does not answer. */
const connectTimeoutMs = 3_000;
/** A server with very many files takes a while to tell the size of a database. */
const readTimeoutMs = 10_000;

/** One leftover of a restore. Sizes in bytes, times ISO 8601 UTC. */
export interface ListedLeftover {
  readonly server: string;
  readonly name: string;
  readonly oid: number;
  readonly kind: 'before' | 'restoring';
  /** The database that it was made for; `null` where a shortened name does not tell. */
  readonly target: string | null;
  readonly createdAt: string;
  /** `null` where the role may not ask. */
  readonly bytes: number | null;
  readonly connections: number;
  readonly inUse: boolean;
}

/** What the servers told. */
export interface LeftoverList {
  /** `null` when no server was asked, or none answered. */
  readonly leftovers: readonly ListedLeftover[] | null;
  /** Why some or all are missing; `null` when none is. */
  readonly leftoversMissing: string | null;
}

/** Nobody listens there: node-postgres need not be loaded to find that out. */
export function isAbsent({ candidates }: ResolvedTarget): boolean {
  return candidates.every(
    ({ host, port }) => host.startsWith('/') && !existsSync(`${host}/.s.PGSQL.${port}`),
  );
}

/**
 * The servers of the configured databases, or the one that libpq would take, each once.
 *
 * @param unresolved told of each one whose settings cannot be resolved, and why; without it that
 *   one is thrown
 */
export async function serversOf(
  { config }: Context,
  unresolved?: (target: string, thrown: unknown) => void,
): Promise<ResolvedTarget[]> {
  const named = configuredTargets(config);
  const servers = new Map<string, ResolvedTarget>();
  for (const target of named.length === 0 ? [undefined] : named) {
    const resolving = resolveConnection({ config, target, fallbackDatabase: 'postgres' });
    const server = await resolving.catch((thrown: unknown) => {
      if (unresolved === undefined) throw thrown;
      unresolved(target ?? '', thrown);
      return null;
    });
    if (server === null) continue;
    const key = JSON.stringify(server.candidates.map(({ host, port }) => [host, port]));
    if (!servers.has(key)) servers.set(key, server);
  }
  return [...servers.values()];
}

async function askServer(context: Context, server: ResolvedTarget): Promise<ListedLeftover[]> {
  const late = new HoldfastError(
    'DATABASE_UNREACHABLE',
    `${serverOf(server)} did not answer within ${connectTimeoutMs / 1000} s`,
  );
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(late), connectTimeoutMs);
  const signal = AbortSignal.any([context.signal, stop.signal]);
  const opened = await connectMaintenance({ ...context, signal }, server, 'holdfast list').finally(
    () => clearTimeout(timer),
  );
  try {
    const leftovers = await withTimeout(readLeftovers(opened.client), readTimeoutMs);
    return leftovers.map(({ createdAt, ...rest }) => ({
      server: serverOf(server),
      ...rest,
      createdAt: createdAt.toISOString(),
    }));
  } finally {
    await opened.client.end();
  }
}

/** Whether a setting says where a server is; else only the default socket may hold one. */
export function isConfigured({ config }: Context): boolean {
  const paths = [...config.sources].flatMap(([path, { origin }]) =>
    origin === 'default' ? [] : [path],
  );
  return paths.some((path) => /^(?:connection\.|databases\b|database_url$)/.test(path));
}

/** @returns why it was not asked or did not answer, or what it told */
async function tryServer(
  context: Context,
  server: ResolvedTarget,
): Promise<string | readonly ListedLeftover[]> {
  if (isAbsent(server)) return `no server listens on ${serverOf(server)}`;
  try {
    return await askServer(context, server);
  } catch (error) {
    context.signal.throwIfAborted();
    return toHoldfastError(error).message;
  }
}

async function tryServers(context: Context): Promise<(string | readonly ListedLeftover[])[]> {
  let servers: ResolvedTarget[];
  try {
    servers = await serversOf(context);
  } catch (error) {
    // A key of `databases:` that cannot be resolved: a backup of it says the same.
    return [toHoldfastError(error).message];
  }
  return Promise.all(servers.map((server) => tryServer(context, server)));
}

/**
 * Lists what restores have left. A server that is not there, does not answer at once or refuses is
 * no failure, since the list of backups is worth more: a line on stderr says why.
 *
 * @param database only those that were made for it, or may have been
 * @throws HoldfastError INTERRUPTED
 */
export async function listLeftovers(
  context: Context,
  database: string | undefined,
): Promise<LeftoverList> {
  const answers = await tryServers(context);
  const told = answers.filter((answer) => typeof answer !== 'string');
  const missing = answers.filter((answer) => typeof answer === 'string');
  const isWanted = ({ name, target }: ListedLeftover) =>
    database === undefined ||
    target === database ||
    (target === null && isLeftoverNameOf(name, database));
  const leftoversMissing = missing.length === 0 ? null : missing.join('; ');
  if (leftoversMissing !== null) {
    const text = `what restores have left is not listed: ${leftoversMissing}`;
    if (isConfigured(context)) context.log.step(text);
    else context.log.detail(text);
  }
  return { leftovers: told.length === 0 ? null : told.flat().filter(isWanted), leftoversMissing };
}
