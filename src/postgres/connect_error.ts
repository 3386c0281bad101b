/** Turns what node-postgres, Node and the server say about a failed connection into our errors. */

import { type ErrorCode, HoldfastError, openFilesHint } from '../core/errors.ts';
import { shownIdentifier } from '../core/quote.ts';
import { type ConnectionParameters, isSocket } from './connection_parameters.ts';

/** No password was found, and the server wants one. */
export class PasswordNeeded extends Error {
  override readonly name = 'PasswordNeeded';
}

/** Where a connection goes, in words: `db.example.com:5432`, `socket /tmp/.s.PGSQL.5432`. */
export function describeServer(parameters: ConnectionParameters): string {
  const { host, hostaddr, port } = parameters;
  if (isSocket(host)) return `socket ${host}/.s.PGSQL.${port}`;
  const shown = host.includes(':') ? `[${host}]` : host;
  return hostaddr === null || hostaddr === host
    ? `${shown}:${port}`
    : `${shown} (${hostaddr}):${port}`;
}

interface Described {
  readonly code: ErrorCode;
  readonly hint: string;
}

function aboutAuthentication(message: string, parameters: ConnectionParameters): Described {
  const code = 'DATABASE_AUTH';
  const { user, passwordFrom, passfile } = parameters;
  if (/peer authentication|ident authentication/i.test(message)) {
    const osUser = /^\w+$/.test(user) ? user : 'postgres';
    const hint =
      `Run as the operating-system user ${user}: sudo -u ${osUser}, ` +
      'or set PGHOST and a password.';
    return { code, hint };
  }
  if (/role ".*" does not exist/s.test(message)) {
    const hint = 'Set PGUSER to a role that exists, or run as its user: sudo -u postgres.';
    return { code, hint };
  }
  if (/no pg_hba\.conf entry/.test(message)) {
    return {
      code,
      hint: 'Add a line for this role, database and host to pg_hba.conf on the server.',
    };
  }
  if (/pg_hba\.conf rejects/.test(message)) {
    // No password helps: the first line that fits says reject.
    return {
      code,
      hint: 'A line with reject in pg_hba.conf on the server fits: put another one above it.',
    };
  }
  if (passwordFrom === null) {
    return {
      code,
      hint: `No password was found: set PGPASSWORD or add a line to ${passfile} (mode 0600).`,
    };
  }
  return { code, hint: `The password came from ${passwordFrom}: set the right one there.` };
}

const startHint = 'Check that the server runs there and that PGHOST and PGPORT are right.';

/** By Node's error code. */
const networkHints: Readonly<Record<string, string>> = {
  ECONNREFUSED: startHint,
  ENOENT: startHint,
  ENOTDIR: startHint,
  EACCES: "Run as a user that may use the socket's folder.",
  ENOTFOUND: "Check the host's name and the name server.",
  EAI_AGAIN: 'The name server does not answer: try again, or use an address.',
  ETIMEDOUT: 'Check the address and the firewall, or raise PGCONNECT_TIMEOUT.',
  EHOSTUNREACH: 'Check the address, the network and the firewall.',
  ENETUNREACH: 'Check the address, the network and the firewall.',
  EMFILE: openFilesHint,
  ENFILE: openFilesHint,
  ECONNRESET: 'Look into the log of the server, and check that PGPORT is the port of PostgreSQL.',
};

function describe(code: string, message: string, parameters: ConnectionParameters): Described {
  if (code.startsWith('28')) return aboutAuthentication(message, parameters);
  if (code === '3D000') {
    return { code: 'DATABASE_NOT_FOUND', hint: 'Name a database that the server has.' };
  }
  if (code === '42501') {
    const [name, role] = [parameters.dbname, parameters.user].map(shownIdentifier);
    const hint = `As its owner or a superuser: GRANT CONNECT ON DATABASE ${name} TO ${role};`;
    return { code: 'DATABASE_PRIVILEGE', hint };
  }
  if (/not currently accepting connections/.test(message)) {
    const name = shownIdentifier(parameters.dbname);
    return {
      code: 'DATABASE_REFUSED',
      hint: `As a superuser: ALTER DATABASE ${name} ALLOW_CONNECTIONS true; lets them in again.`,
    };
  }
  if (code === '53300') {
    return {
      code: 'DATABASE_UNREACHABLE',
      hint: 'Every connection slot is taken: end some, or raise max_connections.',
    };
  }
  if (code.startsWith('57P')) {
    return {
      code: 'DATABASE_UNREACHABLE',
      hint: 'The server is starting, stopping or recovering: try again when it is ready.',
    };
  }
  return { code: 'DATABASE_UNREACHABLE', hint: networkHints[code] ?? startHint };
}

/** Node's code or the server's SQLSTATE; empty where there is none. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : '';
}

/** Whether TLS itself failed: the handshake, or the check of the certificate. */
export function isTlsError(error: Error): boolean {
  const code = codeOf(error);
  const isSqlState = /^[0-9A-Z]{5}$/.test(code);
  return !isSqlState && /certificate|SSL|TLS|self.signed/i.test(`${code} ${error.message}`);
}

/** The server's words; several tries at one name come as one error that holds the others. */
function messageOf(error: Error): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map((inner) => (inner as Error).message).join('; ');
  }
  return error.message;
}

/**
 * Says what went wrong with a connection: where to, the server's own words, and what to do. The
 * password is in none of it.
 *
 * @param thrown what `connect` of node-postgres or a query on a fresh connection threw
 */
export function describeConnectError(
  thrown: unknown,
  parameters: ConnectionParameters,
): HoldfastError {
  if (thrown instanceof HoldfastError) return thrown;
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (error.name === 'AbortError') {
    return new HoldfastError('INTERRUPTED', 'interrupted while connecting', { cause: thrown });
  }
  const code = codeOf(error);
  const server = describeServer(parameters);
  const [database, role] = [JSON.stringify(parameters.dbname), JSON.stringify(parameters.user)];
  const where = `${server}, database ${database}, role ${role}`;
  const message = messageOf(error);
  const details = { server_code: code === '' ? undefined : code };
  if (error instanceof PasswordNeeded || /^SASL: .*password must be/.test(message)) {
    const { code: kind, hint } = aboutAuthentication('', parameters);
    return new HoldfastError(kind, `${where}: the server wants a password and none was found`, {
      hint,
      cause: thrown,
    });
  }
  if (isTlsError(error)) {
    return new HoldfastError('DATABASE_UNREACHABLE', `${where}: ${message}`, {
      hint:
        `Check PGSSLMODE (${parameters.sslmode}) and PGSSLROOTCERT ` +
        "against the server's certificate.",
      cause: thrown,
      details,
    });
  }
  const { code: kind, hint } = describe(code, message, parameters);
  return new HoldfastError(kind, `${where}: ${message}`, { hint, cause: thrown, details });
}
