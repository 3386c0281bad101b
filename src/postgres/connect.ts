/** Opens connections with node-postgres, in the way libpq would open them. */

import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { Client } from 'pg';
import { HoldfastError } from '../core/errors.ts';
import {
  codeOf,
  describeConnectError,
  describeServer,
  isTlsError,
  PasswordNeeded,
} from './connect_error.ts';
import {
  type ConnectionParameters,
  isSocket,
  type ResolvedTarget,
  type TargetSessionAttrs,
} from './connection_parameters.ts';
import { withDatabase } from './password.ts';
import { tlsAttempts, tlsOptions } from './tls.ts';

export interface ConnectOptions {
  /** Another database of the same server. */
  readonly database?: string | undefined;
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What node-postgres has beside its declared types, and what would else come from PG variables. */
interface ClientInsides {
  readonly connectionParameters: Record<string, unknown>;
  readonly connection: NodeJS.EventEmitter & { readonly stream: Socket };
}

/** After so many seconds without traffic the system asks whether the server is still there. */
const keepAliveSeconds = 30;
/** How long a server may take to close a connection before it is cut. */
const endGraceMs = 5_000;

const unboundFact = 'channel binding is required, and the server does not offer it';

type Attempt = { readonly ssl: false | ConnectionOptions };

/**
 * A socket that goes where the parameters say, whatever node-postgres asks for: to `hostaddr`
 * while `host` stays the name that the certificate is checked against, or to an abstract socket.
 */
async function makeSocket(parameters: ConnectionParameters): Promise<Socket> {
  const { Socket } = await import('node:net');
  const socket = new Socket();
  const { host, hostaddr, port } = parameters;
  const connect = socket.connect.bind(socket);
  const file = `${host.replace(/^@/, '\0')}/.s.PGSQL.${port}`;
  const target = isSocket(host) ? { path: file } : { host: hostaddr ?? host, port };
  return Object.assign(socket, { connect: () => connect(target) });
}

async function makeClient(
  parameters: ConnectionParameters,
  attempt: Attempt,
  applicationName: string,
): Promise<{ client: Client; isBound: () => boolean }> {
  const { default: pg } = await import('pg');
  const { password, tls, connectTimeoutSeconds } = parameters;
  const socket = await makeSocket(parameters);
  let isBound = () => false;
  const client = new pg.Client({
    host: parameters.host,
    port: parameters.port,
    user: parameters.user,
    database: parameters.dbname,
    password: () => {
      if (tls.channelBinding === 'require' && !isBound()) throw new Error(unboundFact);
      if (password === null) throw new PasswordNeeded('no password supplied');
      return password.reveal();
    },
    ssl: attempt.ssl,
    sslnegotiation: tls.negotiation,
    enableChannelBinding: attempt.ssl !== false && tls.channelBinding === 'require',
    application_name: applicationName,
    connectionTimeoutMillis: connectTimeoutSeconds * 1000,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveSeconds * 1000,
    stream: () => socket,
  });
  isBound = watchChannelBinding(client);
  boundEnd(client, socket);
  keepLastWords(client);
  const { connectionParameters } = client as unknown as ClientInsides;
  // Where a value is empty node-postgres takes PGOPTIONS and its like from the environment.
  connectionParameters.options = parameters.options ?? '';
  connectionParameters.replication = undefined;
  connectionParameters.client_encoding = 'utf8';
  return { client, isBound };
}

/**
 * What ends an idle connection shows in its next query, with the server's own words where it said
 * any; without a listener it would end the process.
 */
function keepLastWords(client: Client): void {
  let lastWords: Error | null = null;
  client.on('error', (error) => {
    lastWords ??= error;
  });
  const query = client.query.bind(client) as (...values: unknown[]) => unknown;
  Object.assign(client, {
    query(...values: unknown[]) {
      return lastWords === null ? query(...values) : Promise.reject(lastWords);
    },
  });
}

/** `end()` waits for the server to close; where none answers any more the connection is cut. */
function boundEnd(client: Client, socket: Socket): void {
  const end = client.end.bind(client) as () => Promise<void>;
  Object.assign(client, {
    async end() {
      const timer = setTimeout(() => socket.destroy(), endGraceMs);
      try {
        await end();
      } finally {
        clearTimeout(timer);
      }
    },
  });
}

/**
 * Whether the password exchange is bound to the TLS connection. node-postgres takes the bound kind
 * where it is offered; that nothing else will do is checked here.
 */
function watchChannelBinding(client: Client): () => boolean {
  let bound = false;
  const { connection } = client as unknown as ClientInsides;
  connection.on('authenticationSASL', (message: { mechanisms: string[] }) => {
    bound = message.mechanisms.includes('SCRAM-SHA-256-PLUS');
  });
  return () => bound;
}

/**
 * A role's or a database's time-outs are meant for applications: a session that waits for pg_dump
 * or pg_restore is idle for hours. A server has only the ones that its version knows.
 */
const switchOffTimeouts = `
  SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
   WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_session_timeout',
                  'idle_in_transaction_session_timeout', 'transaction_timeout')`;

async function tryOnce(
  parameters: ConnectionParameters,
  attempt: Attempt,
  options: ConnectOptions,
): Promise<Client> {
  const { signal } = options;
  signal?.throwIfAborted();
  const name = options.applicationName ?? 'holdfast';
  const { client, isBound } = await makeClient(parameters, attempt, name);
  const { stream } = (client as unknown as ClientInsides).connection;
  const abort = () => stream.destroy(signal?.reason instanceof Error ? signal.reason : undefined);
  signal?.addEventListener('abort', abort, { once: true });
  try {
    await client.connect();
    if (parameters.tls.channelBinding === 'require' && !isBound()) throw new Error(unboundFact);
    await client.query(switchOffTimeouts);
    return client;
  } catch (error) {
    stream.destroy();
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}

/**
 * Whether libpq would try again the other way: `prefer` and `allow` do when TLS fails or the server
 * refuses the role (pg_hba.conf may want the other kind), and not when nobody answers.
 */
function otherWayMayHelp(error: unknown): boolean {
  if (!(error instanceof Error) || error instanceof HoldfastError) return false;
  return codeOf(error).startsWith('28') || isTlsError(error);
}

/**
 * Connects to one server. The caller ends the client. A connection that breaks later shows in the
 * next query.
 *
 * @throws HoldfastError DATABASE_UNREACHABLE, DATABASE_AUTH, DATABASE_NOT_FOUND,
 *   DATABASE_PRIVILEGE, CONFIG_INVALID, CONFIG_UNREADABLE, INTERRUPTED
 */
export async function connect(
  given: ConnectionParameters,
  options: ConnectOptions = {},
): Promise<Client> {
  const parameters =
    options.database === undefined ? given : await withDatabase(given, options.database);
  let first: unknown;
  for (const useTls of tlsAttempts(parameters)) {
    try {
      const ssl = useTls ? await tlsOptions(parameters) : false;
      return await tryOnce(parameters, { ssl }, options);
    } catch (error) {
      const isSecond = first !== undefined;
      if (!isSecond || /does not support SSL/.test((first as Error).message)) first = error;
      if (isSecond || !otherWayMayHelp(error)) break;
    }
  }
  throw describeConnectError(first, parameters);
}

/** Whether a server is of the kind that `target_session_attrs` asks for. */
async function isWanted(client: Client, wanted: TargetSessionAttrs): Promise<boolean> {
  if (wanted === 'any') return true;
  const { rows } = await client.query<{ standby: boolean; read_only: string }>(
    "SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') AS read_only",
  );
  const [row] = rows;
  if (row === undefined) return false;
  switch (wanted) {
    case 'read-write':
      return row.read_only === 'off';
    case 'read-only':
      return row.read_only === 'on';
    case 'primary':
      return !row.standby;
    default:
      return row.standby;
  }
}

/** A session, and which of a target's servers it is with. */
export interface Connected {
  readonly client: Client;
  /** Of the server that answered: everything that follows goes to this one. */
  readonly parameters: ConnectionParameters;
}

/**
 * Connects to the first of a target's servers that answers and is of the wanted kind; as with
 * libpq, a server that refuses the password ends the search.
 *
 * @throws HoldfastError as {@link connect}; with several servers DATABASE_UNREACHABLE names each
 */
export async function connectTarget(
  target: ResolvedTarget,
  options: ConnectOptions = {},
): Promise<Connected> {
  const failures: HoldfastError[] = [];
  const kinds: readonly TargetSessionAttrs[] =
    target.targetSessionAttrs === 'prefer-standby'
      ? ['standby', 'any']
      : [target.targetSessionAttrs];
  for (const kind of kinds) {
    for (const parameters of target.candidates) {
      try {
        const client = await connect(parameters, options);
        if (await isWanted(client, kind)) return { client, parameters };
        await client.end();
        failures.push(
          new HoldfastError('DATABASE_UNREACHABLE', `${describeServer(parameters)} is not ${kind}`),
        );
      } catch (error) {
        const described = describeConnectError(error, parameters);
        if (described.code !== 'DATABASE_UNREACHABLE') throw described;
        failures.push(described);
      }
    }
  }
  const [only] = failures;
  if (only !== undefined && target.candidates.length === 1 && kinds.length === 1) throw only;
  const told = new Set(failures.map((failure) => failure.message));
  throw new HoldfastError('DATABASE_UNREACHABLE', [...told].join('; '), {
    hint: only?.hint,
    cause: only,
  });
}
