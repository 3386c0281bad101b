/** Renders restore.sh, the script that lies beside every backup, from its template. */

import type { DatabaseProperties } from '../core/database_properties.ts';
import {
  createDatabaseSql,
  type DatabaseStatement,
  databasePropertiesSql,
  detachSubscriptionsQuery,
  dropSubscriptionsQuery,
} from '../core/database_sql.ts';
import type { FilterSpec } from '../core/manifest.ts';
import { psqlIdentifier, quoteIdentifier, quoteLiteral, shellQuote } from '../core/quote.ts';
import type { EncryptionSpec } from '../core/recipients.ts';
import { formatBytes } from '../core/units.ts';
import { readTemplate } from './template.ts';

/** A file of the backup as the script reads it. */
export interface ScriptFile {
  /** Its name in the backup's folder: letters, digits, `_`, `.` and `-` only. */
  readonly name: string;
  /** In the order in which they were applied; stock programs undo all of them. */
  readonly filters: readonly FilterSpec['name'][];
  readonly bytesStored: number;
}

/** What is written into a restore.sh. */
export interface RestoreScriptFacts {
  readonly label: string;
  readonly database: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  /** As people read it: `15.18`. */
  readonly serverVersion: string;
  readonly serverVersionNum: number;
  /** The major version of the pg_dump that made the dump. */
  readonly dumpToolMajor: number;
  readonly toolVersion: string;
  readonly databaseBytes: number;
  readonly dump: ScriptFile;
  /** `null` when the roles could not be read. */
  readonly globals: ScriptFile | null;
  /** `null`: it is not encrypted. */
  readonly encryption: EncryptionSpec | null;
  readonly properties: DatabaseProperties;
}

const decoders: Record<FilterSpec['name'], string> = {
  zstd: 'zstd --decompress --stdout --quiet',
  gzip: 'gzip -dc',
  age: 'age --decrypt --identity "$identity"',
  gpg: 'gpg --batch --quiet --decrypt',
};

/** The filters' mirrors, backwards, each reading the one before it. */
function decoder(file: ScriptFile | null): string {
  const filters = file === null ? [] : file.filters.toReversed();
  return filters.length === 0 ? 'cat' : filters.map((filter) => decoders[filter]).join(' | ');
}

const target = psqlIdentifier('target');
const work = psqlIdentifier('work');

/** psql's `\if`: the condition is asked of the server. */
function psqlIf(condition: string, yes: string, no: string): string {
  return [`SELECT ${condition} AS run \\gset`, '\\if :run', yes, '\\else', no, '\\endif'].join(
    '\n',
  );
}

function psqlWarning(text: string): string {
  return `SELECT ${quoteLiteral(`restore.sh: warning: ${text}`)};`;
}

function createSql(facts: RestoreScriptFacts): string {
  const { properties, serverVersionNum } = facts;
  const create = (versionNum: number, tablespaceExists: boolean): string =>
    `${createDatabaseSql(properties, work, { serverVersionNum: versionNum, tablespaceExists })};`;
  const anyServer = (tablespaceExists: boolean): string =>
    serverVersionNum >= 150000
      ? create(serverVersionNum, tablespaceExists)
      : psqlIf(
          ':SERVER_VERSION_NUM >= 150000',
          create(150000, tablespaceExists),
          create(serverVersionNum, tablespaceExists),
        );
  const tablespace = properties.tablespace;
  if (tablespace === 'pg_default') return anyServer(false);
  const warning = `the tablespace ${quoteIdentifier(tablespace)} does not exist`;
  return psqlIf(
    `EXISTS (SELECT FROM pg_catalog.pg_tablespace WHERE spcname = ${quoteLiteral(tablespace)})`,
    anyServer(true),
    `${psqlWarning(`${warning}; the default one is used`)}\n${anyServer(false)}`,
  );
}

function guarded(statement: DatabaseStatement): string {
  const sql = `${statement.sql};`;
  if (statement.what === 'security_label') {
    const warning = psqlWarning('this security label is left out');
    const attempt = `\\set ON_ERROR_STOP off\n${sql}\n\\set ON_ERROR_STOP on`;
    return `${attempt}\n\\if :ERROR\n${warning}\n\\endif`;
  }
  if (statement.roles.length === 0) return sql;
  const roles = statement.roles.map(quoteLiteral).join(', ');
  const names = statement.roles.map(quoteIdentifier).join(' or ');
  const condition =
    `NOT EXISTS (SELECT FROM pg_catalog.unnest(ARRAY[${roles}]) AS needed (name) ` +
    'WHERE name NOT IN (SELECT rolname::text FROM pg_catalog.pg_roles))';
  const what = statement.what === 'acl' ? 'privilege' : statement.what.replace('_', ' ');
  return psqlIf(condition, sql, psqlWarning(`without the role ${names}, the ${what} is left out`));
}

/** What the database carries, and then its name: until here it has another one. */
function propertiesSql(properties: DatabaseProperties): string {
  return [
    ...databasePropertiesSql(properties, work).beforeSwap.map(guarded),
    `ALTER DATABASE ${work} RENAME TO ${target};`,
    ...databasePropertiesSql(properties, target).afterSwap.map(guarded),
  ].join('\n');
}

/** The end of the here-documents must be no line of what stands in them. */
function endMark(...texts: readonly string[]): string {
  const lines = new Set(texts.flatMap((text) => text.split('\n')));
  let mark = 'END_OF_SQL';
  while (lines.has(mark)) mark += '_';
  return mark;
}

/**
 * The text of restore.sh for one backup. Every text from outside stands in single quotes of the
 * shell, or, quoted for SQL, in a here-document that the shell does not look into.
 */
export function renderRestoreScript(facts: RestoreScriptFacts): string {
  const template = readTemplate('restore.sh');
  const create = createSql(facts);
  const properties = propertiesSql(facts.properties);
  const programs = new Set([...facts.dump.filters, ...(facts.globals?.filters ?? [])]);
  const { encryption } = facts;
  const values = new Map([
    ['LABEL', shellQuote(facts.label)],
    ['DATABASE', shellQuote(facts.database)],
    ['DUMP_FILE', shellQuote(facts.dump.name)],
    ['GLOBALS_FILE', shellQuote(facts.globals?.name ?? '')],
    ['PROGRAMS', shellQuote([...programs].join(' '))],
    ['ENCRYPTION', shellQuote(encryption?.name ?? '')],
    ['RECIPIENTS', shellQuote(encryption?.recipients.join('\n') ?? '')],
    ['DUMP_MAJOR', shellQuote(String(facts.dumpToolMajor))],
    ['CREATED_AT', shellQuote(facts.createdAt)],
    ['SERVER_VERSION', shellQuote(facts.serverVersion)],
    ['TOOL_VERSION', shellQuote(facts.toolVersion)],
    ['DATABASE_SIZE', shellQuote(formatBytes(facts.databaseBytes))],
    ['DUMP_SIZE', shellQuote(formatBytes(facts.dump.bytesStored))],
    ['DECODE_DUMP', decoder(facts.dump)],
    ['DECODE_GLOBALS', decoder(facts.globals)],
    ['CREATE_SQL', create],
    ['PROPERTIES_SQL', properties],
    ['DETACH_SUBSCRIPTIONS', shellQuote(detachSubscriptionsQuery)],
    ['DROP_SUBSCRIPTIONS', shellQuote(dropSubscriptionsQuery)],
  ]);
  return template
    .replaceAll('END_OF_SQL', endMark(create, properties))
    .replaceAll(/@([A-Z_]+)@/g, (placeholder, name) => values.get(name) ?? placeholder);
}
