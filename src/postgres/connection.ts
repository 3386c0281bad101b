/**
 * Where a database is and how to reach it: resolved once, by libpq's rules, for PostgreSQL's
 * programs and for node-postgres alike (PostgreSQL manual, "Parameter Key Words").
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/load.ts';
import { systemUserName } from '../config/os_user.ts';
import { HoldfastError } from '../core/errors.ts';
import { requireDatabaseName } from '../core/names.ts';
import { Secret } from '../core/secret.ts';
import type {
  ConnectionParameters,
  ResolvedTarget,
  SslMode,
  TargetSessionAttrs,
  TlsParameters,
} from './connection_parameters.ts';
import { type GivenMap, gather, homeOf, readTarget } from './connection_sources.ts';
import { looksLikeUrl, parseConnectionUrl } from './connection_url.ts';
import { socketFolders, withFilePassword } from './password.ts';

export { type Connected, type ConnectOptions, connect, connectTarget } from './connect.ts';
export { describeConnectError, describeServer } from './connect_error.ts';
export * from './connection_parameters.ts';
export { withDatabase } from './password.ts';
export { conninfoDatabase, programEnvironment } from './program_environment.ts';

export interface ResolveInput {
  readonly config: Config;
  /**
   * A key of `databases:`, else a URL, else a plain name whatever is in it. Without one the
   * settings alone decide.
   */
  readonly target?: string | undefined;
  /** Where neither the target nor the settings name a database; without it the role's name. */
  readonly fallbackDatabase?: string | undefined;
}

function defaultSocketFolder(port: number): string {
  const holdsSocket = socketFolders.find((folder) => existsSync(`${folder}/.s.PGSQL.${port}`));
  return holdsSocket ?? socketFolders.find((folder) => existsSync(folder)) ?? '/tmp';
}

interface Address {
  readonly host: string;
  readonly hostaddr: string | null;
  readonly port: number;
}

/** Pairs up the lists of hosts, addresses and ports, as libpq does. */
function listAddresses(all: GivenMap): Address[] {
  const list = (name: string) => all.get(name)?.text.split(',') ?? [];
  const hosts = list('host');
  const hostaddrs = list('hostaddr');
  const ports = list('port');
  const count = Math.max(1, hosts.length, hostaddrs.length);
  const mismatch = (name: string, length: number) =>
    new HoldfastError('CONFIG_INVALID', `${length} ${name} do not fit ${count} hosts`, {
      hint: 'Give one for all of them, or as many as there are hosts.',
    });
  if (hosts.length > 0 && hostaddrs.length > 0 && hosts.length !== hostaddrs.length) {
    throw mismatch('addresses', hostaddrs.length);
  }
  if (ports.length > 1 && ports.length !== count) throw mismatch('ports', ports.length);
  return Array.from({ length: count }, (_, index) => {
    const portText = (ports.length > 1 ? ports[index] : ports[0]) ?? '';
    const port = portText === '' ? 5432 : Number(portText);
    const hostaddr = hostaddrs[index] || null;
    const host = hosts[index] || hostaddr || defaultSocketFolder(port);
    return { host, hostaddr, port };
  });
}

function readTls(all: GivenMap, home: string): { sslmode: SslMode; tls: TlsParameters } {
  const text = (name: string) => all.get(name)?.text ?? null;
  const file = (name: string, byDefault: string) => {
    const path = join(home, '.postgresql', byDefault);
    return text(name) ?? (existsSync(path) ? path : null);
  };
  const rootcert = file('sslrootcert', 'root.crt');
  const sslmode = (text('sslmode') ??
    (rootcert === 'system' ? 'verify-full' : 'prefer')) as SslMode;
  if (rootcert === 'system' && sslmode !== 'verify-full') {
    throw new HoldfastError(
      'CONFIG_INVALID',
      `sslmode ${sslmode} is too weak for sslrootcert=system`,
      { hint: 'Set sslmode to verify-full, or name a file of your own authority.' },
    );
  }
  const cert = file('sslcert', 'postgresql.crt');
  const negotiation = (text('sslnegotiation') ?? 'postgres') as TlsParameters['negotiation'];
  if (negotiation === 'direct' && ['disable', 'allow', 'prefer'].includes(sslmode)) {
    throw new HoldfastError(
      'CONFIG_INVALID',
      `sslmode ${sslmode} is too weak for sslnegotiation=direct`,
      { hint: 'Set sslmode to require or stronger.' },
    );
  }
  const tls: TlsParameters = {
    rootcert,
    cert,
    key: cert === null ? null : file('sslkey', 'postgresql.key'),
    crl: file('sslcrl', 'root.crl'),
    sni: text('sslsni') !== '0',
    negotiation,
    minVersion: text('ssl_min_protocol_version'),
    maxVersion: text('ssl_max_protocol_version'),
    channelBinding: (text('channel_binding') ?? 'prefer') as TlsParameters['channelBinding'],
  };
  return { sslmode, tls };
}

/**
 * Resolves what the user named. The target beats the service file, which beats the settings
 * (environment, `.env`, holdfast.yaml), which beat libpq's defaults. Among settings libpq's own
 * variables beat DATABASE_URL, and that beats DB_HOST and its kin.
 *
 * @throws HoldfastError USAGE, CONFIG_INVALID, CONFIG_UNREADABLE
 */
export async function resolveConnection(input: ResolveInput): Promise<ResolvedTarget> {
  const { config } = input;
  if (input.target !== undefined && !looksLikeUrl(input.target))
    requireTarget(input.target, config);
  const warnings: string[] = [];
  const { given, key } = readTarget(config, input.target, warnings);
  const all = await gather(config, given, key, warnings);
  const text = (name: string) => all.get(name)?.text ?? null;
  const user = text('user') ?? systemUserName();
  const dbname = text('dbname') ?? input.fallbackDatabase ?? user;
  requireDatabaseName(dbname);
  const home = homeOf(config);
  const password = all.get('password');
  const shared = {
    user,
    dbname,
    password: password === undefined ? null : new Secret(password.text),
    passwordFrom: password?.from ?? null,
    passfile: text('passfile') ?? join(home, '.pgpass'),
    connectTimeoutSeconds: Math.max(0, Number(text('connect_timeout') ?? 0)),
    options: text('options'),
    ...readTls(all, home),
  };
  const candidates: ConnectionParameters[] = [];
  for (const address of listAddresses(all)) {
    const parameters: ConnectionParameters = { ...shared, ...address };
    if (password !== undefined) {
      candidates.push(parameters);
      continue;
    }
    const found = await withFilePassword(parameters);
    candidates.push(found.parameters);
    if (found.warning !== null && !warnings.includes(found.warning)) warnings.push(found.warning);
  }
  return {
    database: dbname,
    key,
    candidates: candidates as [ConnectionParameters, ...ConnectionParameters[]],
    targetSessionAttrs: (text('target_session_attrs') ?? 'any') as TargetSessionAttrs,
    warnings,
  };
}

/** A key of `databases:` may be any text; a plain name has to be one that a server can have. */
function requireTarget(target: string, config: Config): void {
  if (!Object.hasOwn(config.settings.databases, target)) requireDatabaseName(target);
}

/**
 * What a command without a database means: the keys of `databases:`, else the database that the
 * settings name (PGDATABASE, DB_NAME, DATABASE_URL), else nothing.
 */
export function configuredTargets(config: Config): readonly string[] {
  const { databases, connection, database_url: url } = config.settings;
  const keys = Object.keys(databases);
  if (keys.length > 0) return keys;
  if (connection.dbname !== null) return [connection.dbname];
  const fromDatabaseUrl = url === null ? undefined : parseConnectionUrl(url.reveal()).values;
  const dbname = fromDatabaseUrl?.get('dbname');
  return dbname === undefined ? [] : [dbname];
}
