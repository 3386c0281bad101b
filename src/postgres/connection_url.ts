/** Takes a connection URL apart as libpq does (PostgreSQL manual, "Connection URIs"). */

import { HoldfastError } from '../core/errors.ts';
import { redactPasswords } from '../core/secret.ts';

/** libpq's key words with the values of a URL. */
export interface ConnectionUrl {
  readonly values: ReadonlyMap<string, string>;
  /** Names in the query that belong to other clients and mean nothing here. */
  readonly ignored: readonly string[];
}

/** Query parameters that Prisma, SQLAlchemy, asyncpg and node-postgres put into URLs. */
const foreignNames = new Set([
  'async_fallback',
  'charset',
  'connection_limit',
  'encoding',
  'pgbouncer',
  'pool_timeout',
  'prepared_statement_cache_size',
  'schema',
  'socket_timeout',
  'sslaccept',
  'sslidentity',
  'statement_cache_size',
  'uselibpqcompat',
]);

const schemePattern = /^([a-z][a-z0-9+.:-]*):\/\//i;

/** Whether a text is a URL, of whatever scheme, and no plain name. */
export function looksLikeUrl(text: string): boolean {
  return schemePattern.test(text);
}

function refuse(fact: string, hint: string): never {
  throw new HoldfastError('USAGE', fact, { hint });
}

const writeSo = 'A URL looks like postgresql://user@host:5432/database?sslmode=require.';
const encodeHint =
  'Special characters in a user, password or database are percent-encoded: @ is %40, / is %2F.';

/** Percent-decoding as libpq does it: `+` stays, `%00` is refused. The value is never shown. */
function decode(text: string, what: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(text);
  } catch {
    refuse(`the ${what} in the URL has a % that begins no valid encoding`, encodeHint);
  }
  if (decoded.includes('\0')) refuse(`the ${what} in the URL holds a NUL character`, encodeHint);
  return decoded;
}

/** The offset of the first of these characters from `start` on, or the end. */
function find(text: string, characters: string, start: number): number {
  let at = start;
  while (at < text.length && !characters.includes(text.charAt(at))) at += 1;
  return at;
}

interface HostList {
  readonly hosts: string[];
  readonly ports: string[];
  /** The offset behind the list. */
  readonly end: number;
}

/** `host:port,[::1]:port`: every host with its port, both perhaps empty. */
function parseHosts(text: string, start: number): HostList {
  const hosts: string[] = [];
  const ports: string[] = [];
  let at = start;
  for (;;) {
    let hostEnd: number;
    if (text[at] === '[') {
      hostEnd = find(text, ']', at);
      if (hostEnd === text.length) refuse('the URL has a [ without a ]', writeSo);
      if (hostEnd === at + 1) refuse('the URL has an empty IPv6 address', writeSo);
      hosts.push(text.slice(at + 1, hostEnd));
      hostEnd += 1;
      if (hostEnd < text.length && !':/?,'.includes(text.charAt(hostEnd))) {
        refuse('the URL has text behind the ] of an IPv6 address', writeSo);
      }
    } else {
      hostEnd = find(text, ':/?,', at);
      hosts.push(text.slice(at, hostEnd));
    }
    at = hostEnd;
    if (text[at] === ':') {
      const portEnd = find(text, '/?,', at);
      ports.push(text.slice(at + 1, portEnd));
      at = portEnd;
    } else {
      ports.push('');
    }
    if (text[at] !== ',') return { hosts, ports, end: at };
    at += 1;
  }
}

function parseQuery(query: string, values: Map<string, string>, ignored: string[]): void {
  for (const part of query.split('&')) {
    const equals = part.indexOf('=');
    if (equals === -1 || part.includes('=', equals + 1)) {
      refuse('a parameter of the URL is not of the form name=value', encodeHint);
    }
    const name = decode(part.slice(0, equals), 'name of a parameter');
    const value = decode(part.slice(equals + 1), `value of ${name}`);
    if (foreignNames.has(name)) ignored.push(name);
    else if (name === 'ssl' && value === 'true') values.set('sslmode', 'require');
    else if (name === 'ssl') values.set('sslmode', value);
    else values.set(name, value);
  }
}

function requirePostgres(text: string): number {
  const match = schemePattern.exec(text);
  const scheme = match?.[1]?.toLowerCase() ?? '';
  if (match !== null && /^postgres(?:ql)?(?:\+[a-z0-9_]+)?$/.test(scheme)) return match[0].length;
  const shown = redactPasswords(text);
  if (/^sqlite/.test(scheme)) {
    refuse(`${shown} is a SQLite database, which is not supported yet`, writeSo);
  }
  if (scheme === 'jdbc:postgresql') refuse('a JDBC URL is not understood', writeSo);
  refuse(`${shown} is no PostgreSQL URL`, writeSo);
}

/**
 * Parses `postgresql://`, `postgres://` and SQLAlchemy's `postgresql+driver://`. A socket's folder
 * is a percent-encoded host or `?host=`; several hosts have commas between.
 *
 * @throws HoldfastError USAGE; a password is in no message
 */
export function parseConnectionUrl(text: string): ConnectionUrl {
  const rest = text.slice(requirePostgres(text));
  const values = new Map<string, string>();
  const ignored: string[] = [];
  const store = (name: string, raw: string) => {
    if (raw !== '') values.set(name, decode(raw, name));
  };
  let at = 0;
  const userEnd = find(rest, '@/', 0);
  if (rest[userEnd] === '@') {
    const colon = find(rest, ':', 0);
    store('user', rest.slice(0, Math.min(colon, userEnd)));
    if (colon < userEnd) store('password', rest.slice(colon + 1, userEnd));
    at = userEnd + 1;
  }
  const { hosts, ports, end } = parseHosts(rest, at);
  store('host', hosts.join(','));
  if (ports.some((port) => port !== '')) store('port', ports.join(','));
  if (rest.slice(at, end).includes('@')) {
    refuse('the URL has a second @ before its host', encodeHint);
  }
  at = end;
  if (rest[at] === '/') {
    const databaseEnd = find(rest, '?', at);
    store('dbname', rest.slice(at + 1, databaseEnd));
    at = databaseEnd;
  }
  if (rest[at] === '?' && at + 1 < rest.length) parseQuery(rest.slice(at + 1), values, ignored);
  return { values, ignored };
}
