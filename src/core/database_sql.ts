/**
 * SQL that makes a database again and gives it what it carried itself. It does what pg_dump does
 * with `--create` (dumpDatabase, buildACLCommands and makeAlterConfigCommand in PostgreSQL's
 * src/bin/pg_dump), but under any name. templates/restore.sh runs the same statements in psql.
 */

import type { DatabaseAclEntry, DatabaseProperties } from './database_properties.ts';
import { HoldfastError } from './errors.ts';
import { quoteIdentifier, quoteLiteral, type SqlName } from './quote.ts';

/** What a statement restores. */
export type DatabasePropertyKind =
  | 'owner'
  | 'acl'
  | 'comment'
  | 'security_label'
  | 'setting'
  | 'role_setting'
  | 'connection_limit'
  | 'is_template';

/** SQL that gives a database one of its properties. */
export interface DatabaseStatement {
  readonly what: DatabasePropertyKind;
  /** One statement, or three with SET ROLE and RESET ROLE around the middle one. */
  readonly sql: string;
  /** The roles that it names: without one of them it is left out, with a warning. */
  readonly roles: readonly string[];
}

/**
 * `beforeSwap`: in this order, from a session in another database, when nothing more has to be
 * done inside the new one (a setting such as default_transaction_read_only or a connection limit
 * of 0 would be in the way of comparing and analyzing). `afterSwap`: what would keep a database
 * from being dropped if the swap failed.
 */
export interface DatabasePropertyStatements {
  readonly beforeSwap: readonly DatabaseStatement[];
  readonly afterSwap: readonly DatabaseStatement[];
}

/** The options of CREATE DATABASE for encoding and locale (manual, "CREATE DATABASE"). */
function localeOptions(properties: DatabaseProperties, serverVersionNum: number): string[] {
  const { locale_provider: provider, locale, icu_rules: icuRules } = properties;
  const neededVersionNum = { libc: 0, icu: 150000, builtin: 170000 }[provider];
  if (serverVersionNum < neededVersionNum) {
    throw new HoldfastError(
      'RESTORE_FAILED',
      `the database uses the locale provider ${provider}, which this server does not have`,
      { hint: `Restore it on PostgreSQL ${neededVersionNum / 10000} or newer.` },
    );
  }
  const options = [`ENCODING = ${quoteLiteral(properties.encoding)}`];
  if (serverVersionNum >= 150000) options.push(`LOCALE_PROVIDER = ${provider}`);
  options.push(`LC_COLLATE = ${quoteLiteral(properties.collate)}`);
  options.push(`LC_CTYPE = ${quoteLiteral(properties.ctype)}`);
  if (locale !== null && provider !== 'libc') {
    const option = provider === 'icu' ? 'ICU_LOCALE' : 'BUILTIN_LOCALE';
    options.push(`${option} = ${quoteLiteral(locale)}`);
  }
  if (icuRules !== null && serverVersionNum >= 160000) {
    options.push(`ICU_RULES = ${quoteLiteral(icuRules)}`);
  }
  return options;
}

/**
 * One CREATE DATABASE statement with the encoding and the locale of the original. The collation's
 * version is not taken over: the indexes are built anew, with the libraries of this machine.
 *
 * @param tablespaceExists whether the server has the tablespace; without it, its default is used
 * @throws HoldfastError RESTORE_FAILED when the server is too old for the locale provider
 */
export function createDatabaseSql(
  properties: DatabaseProperties,
  name: SqlName,
  server: { readonly serverVersionNum: number; readonly tablespaceExists: boolean },
): string {
  const options = ['TEMPLATE = template0', ...localeOptions(properties, server.serverVersionNum)];
  // To name the default one takes a privilege on it that leaving it out does not.
  if (server.tablespaceExists && properties.tablespace !== 'pg_default') {
    options.push(`TABLESPACE = ${quoteIdentifier(properties.tablespace)}`);
  }
  return `CREATE DATABASE ${name} WITH ${options.join(' ')}`;
}

/**
 * The grants in an order in which each grantor has its grant option already: first the owner's,
 * then those of whoever got the option. One group for each grantor, grantee and option.
 */
function orderedGrants(acl: readonly DatabaseAclEntry[], owner: string): DatabaseAclEntry[][] {
  const groups: DatabaseAclEntry[][] = [];
  const mayGrant = new Set<string>();
  let pending = [...acl];
  while (pending.length > 0) {
    const ready = pending.filter(
      (entry) =>
        entry.grantor === owner || mayGrant.has(JSON.stringify([entry.grantor, entry.privilege])),
    );
    const next = ready.length > 0 ? ready : pending;
    const byKey = Object.groupBy(next, (entry) =>
      JSON.stringify([entry.grantor, entry.grantee, entry.grantable]),
    );
    for (const group of Object.values(byKey)) groups.push(group ?? []);
    for (const entry of next.filter((candidate) => candidate.grantable)) {
      mayGrant.add(JSON.stringify([entry.grantee, entry.privilege]));
    }
    pending = pending.filter((entry) => !next.includes(entry));
  }
  return groups;
}

function grantStatement(
  group: readonly DatabaseAclEntry[],
  owner: string,
  name: SqlName,
): DatabaseStatement | null {
  const [first] = group;
  if (first === undefined) return null;
  const { grantee, grantor, grantable } = first;
  const privileges = group.map((entry) => entry.privilege).join(', ');
  const to = grantee === null ? 'PUBLIC' : quoteIdentifier(grantee);
  const grant = `GRANT ${privileges} ON DATABASE ${name} TO ${to}`;
  const sql = grantable ? `${grant} WITH GRANT OPTION` : grant;
  const roles = grantee === null ? [] : [grantee];
  if (grantor === owner) return { what: 'acl', sql, roles };
  return {
    what: 'acl',
    sql: `SET ROLE ${quoteIdentifier(grantor)};\n${sql};\nRESET ROLE`,
    roles: [...new Set([...roles, grantor])],
  };
}

/** `null` (the default privileges) needs nothing; an ACL is built from nothing. */
function aclStatements(properties: DatabaseProperties, name: SqlName): DatabaseStatement[] {
  const { acl, owner } = properties;
  if (acl === null) return [];
  const revoke = `REVOKE ALL ON DATABASE ${name} FROM`;
  return [
    { what: 'acl', sql: `${revoke} PUBLIC`, roles: [] },
    { what: 'acl', sql: `${revoke} ${quoteIdentifier(owner)}`, roles: [owner] },
    ...orderedGrants(acl, owner).flatMap((group) => grantStatement(group, owner, name) ?? []),
  ];
}

/** PostgreSQL's variable_is_guc_list_quote: their values are lists of quoted identifiers. */
const listVariables = new Set([
  'local_preload_libraries',
  'search_path',
  'session_preload_libraries',
  'shared_preload_libraries',
  'temp_tablespaces',
  'unix_socket_directories',
]);

/** PostgreSQL's SplitGUCList: names between commas, quoted ones with their quotes doubled. */
function splitList(value: string): string[] | null {
  if (!/^\s*(?:(?:"(?:[^"]|"")*"|[^",\s]+)\s*(?:,\s*(?!$)|$))*$/.test(value)) return null;
  const elements = value.match(/"(?:[^"]|"")*"|[^",\s]+/g) ?? [];
  return elements.map((element) =>
    element.startsWith('"') ? element.slice(1, -1).replaceAll('""', '"') : element,
  );
}

/** `SET "name" TO 'value'` of a setting as pg_db_role_setting holds it (`name=value`). */
export function setClause(setting: string): string {
  const separator = setting.indexOf('=');
  const variable = setting.slice(0, separator);
  const value = setting.slice(separator + 1);
  const list = listVariables.has(variable.toLowerCase()) ? splitList(value) : null;
  const elements = list === null || list.length === 0 ? [value] : list;
  return `SET ${quoteIdentifier(variable)} TO ${elements.map(quoteLiteral).join(', ')}`;
}

/** The statements that give a new database what the original carried itself. */
export function databasePropertiesSql(
  properties: DatabaseProperties,
  name: SqlName,
): DatabasePropertyStatements {
  const { owner, comment } = properties;
  const alter = `ALTER DATABASE ${name}`;
  const beforeSwap: DatabaseStatement[] = [
    { what: 'owner', sql: `${alter} OWNER TO ${quoteIdentifier(owner)}`, roles: [owner] },
    ...aclStatements(properties, name),
  ];
  if (comment !== null) {
    const sql = `COMMENT ON DATABASE ${name} IS ${quoteLiteral(comment)}`;
    beforeSwap.push({ what: 'comment', sql, roles: [] });
  }
  for (const { provider, label } of properties.security_labels) {
    const target = `FOR ${quoteIdentifier(provider)} ON DATABASE ${name}`;
    const sql = `SECURITY LABEL ${target} IS ${quoteLiteral(label)}`;
    beforeSwap.push({ what: 'security_label', sql, roles: [] });
  }
  for (const setting of properties.settings) {
    beforeSwap.push({ what: 'setting', sql: `${alter} ${setClause(setting)}`, roles: [] });
  }
  for (const { role, settings } of properties.role_settings) {
    const alterRole = `ALTER ROLE ${quoteIdentifier(role)} IN DATABASE ${name}`;
    for (const setting of settings) {
      const sql = `${alterRole} ${setClause(setting)}`;
      beforeSwap.push({ what: 'role_setting', sql, roles: [role] });
    }
  }
  if (properties.connection_limit !== -1) {
    const sql = `${alter} CONNECTION LIMIT ${properties.connection_limit}`;
    beforeSwap.push({ what: 'connection_limit', sql, roles: [] });
  }
  const afterSwap: DatabaseStatement[] = properties.is_template
    ? [{ what: 'is_template', sql: `${alter} IS_TEMPLATE true`, roles: [] }]
    : [];
  return { beforeSwap, afterSwap };
}

const subscriptionsHere =
  'FROM pg_catalog.pg_subscription WHERE subdbid = ' +
  '(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ' +
  'ORDER BY subname';

function subscriptionQuery(templates: readonly string[]): string {
  const columns = templates.map((template) => `pg_catalog.format('${template}', subname)`);
  return `SELECT ${columns.join(', ')} ${subscriptionsHere}`;
}

/**
 * A query, run inside the restored database; every column of its rows is a statement to run, row by
 * row (psql: `\gexec`). The subscriptions then belong to no slot of the publisher: they neither
 * take the original's changes nor keep this database from being dropped.
 */
export const detachSubscriptionsQuery = subscriptionQuery([
  'ALTER SUBSCRIPTION %I DISABLE',
  'ALTER SUBSCRIPTION %I SET (slot_name = NONE)',
]);

/** The same, and removes them: PostgreSQL drops no database that still has a subscription. */
export const dropSubscriptionsQuery = subscriptionQuery([
  'ALTER SUBSCRIPTION %I DISABLE',
  'ALTER SUBSCRIPTION %I SET (slot_name = NONE)',
  'DROP SUBSCRIPTION %I',
]);
