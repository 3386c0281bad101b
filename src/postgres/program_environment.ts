/** How PostgreSQL's programs are told where to connect: by their environment, never by argv. */

import { type ConnectionParameters, isSocket } from './connection_parameters.ts';

/**
 * The environment in which pg_dump and its kin reach exactly the server of `parameters`: every
 * variable that libpq would read is set from them or absent, so nothing is resolved a second time
 * (PostgreSQL manual, "Environment Variables"). It holds the password: it goes to a child and
 * nowhere else.
 *
 * @param base what the child gets besides; its PG variables are dropped
 * @param applicationName shown in pg_stat_activity
 */
export function programEnvironment(
  parameters: ConnectionParameters,
  base: Readonly<Record<string, string>>,
  applicationName = 'holdfast',
): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(base)) {
    if (!name.startsWith('PG')) environment[name] = value;
  }
  const { tls } = parameters;
  const variables: Record<string, string | null> = {
    PGHOST: parameters.host,
    PGHOSTADDR: isSocket(parameters.host) ? null : parameters.hostaddr,
    PGPORT: String(parameters.port),
    PGUSER: parameters.user,
    PGDATABASE: parameters.dbname,
    PGPASSWORD: parameters.password?.reveal() ?? null,
    // A path that cannot exist: libpq then looks up no password of its own, and says nothing.
    PGPASSFILE: '/dev/null/none',
    PGAPPNAME: applicationName,
    PGCONNECT_TIMEOUT: String(parameters.connectTimeoutSeconds),
    PGOPTIONS: parameters.options,
    PGCLIENTENCODING: parameters.clientEncoding ?? null,
    PGSSLMODE: parameters.sslmode,
    PGSSLROOTCERT: tls.rootcert,
    PGSSLCERT: tls.cert,
    PGSSLKEY: tls.key,
    PGSSLCRL: tls.crl,
    PGSSLSNI: tls.sni ? null : '0',
    PGSSLNEGOTIATION: tls.negotiation === 'direct' ? tls.negotiation : null,
    PGSSLMINPROTOCOLVERSION: tls.minVersion,
    PGSSLMAXPROTOCOLVERSION: tls.maxVersion,
    PGCHANNELBINDING: tls.channelBinding === 'prefer' ? null : tls.channelBinding,
    // node-postgres has none either: both connect in the same way.
    PGGSSENCMODE: 'disable',
  };
  for (const [name, value] of Object.entries(variables)) {
    if (value !== null) environment[name] = value;
  }
  return environment;
}

/**
 * A database's name for a `--dbname` that would read a name with `=` or a URL as a connection
 * string: `dbname='…'`, quoted by the rules of the PostgreSQL manual, "Keyword/Value Connection
 * Strings". Every other parameter comes from {@link programEnvironment}.
 */
export function conninfoDatabase(name: string): string {
  return `dbname='${name.replaceAll(/[\\']/g, '\\$&')}'`;
}
