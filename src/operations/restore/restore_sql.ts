/** What a restore of SQL as text decides once the whole text was read, before anything is made. */

import type { Client } from 'pg';
import { HoldfastError } from '../../core/errors.ts';
import { printableText } from '../../core/printable.ts';
import { quoteIdentifier, shownIdentifier } from '../../core/quote.ts';
import { chooseSql, makesSomething, type SqlChoice, type SqlWork } from '../../core/sql_plan.ts';
import { formatCount } from '../../core/units.ts';
import { hasRestrictedMode } from '../../postgres/psql.ts';
import { queryRows } from '../../postgres/query.ts';
import { type SqlReading, type SqlSection, settingsSince } from '../../postgres/sql_scanner.ts';
import type { RestoreWork } from './restore_work.ts';

/** So many statements and roles are told. */
const toldMax = 20;
const toldLength = 200;

/** @throws HoldfastError DAMAGED or NOT_A_DUMP for a text that cannot be restored */
export function requireSql(name: string, { problem, sections }: SqlReading): void {
  if (problem === null) {
    if (sections.some(makesSomething)) return;
    throw new HoldfastError('NOT_A_DUMP', `${name} makes nothing: no table, no row`, {
      hint: "Give a dump of pg_dump's custom format or its SQL.",
    });
  }
  const isDamage = problem.kind === 'cut' || problem.kind === 'zero';
  const hints: Readonly<Record<typeof problem.kind, string>> = {
    cut: 'The file is cut: use another copy. One written by hand ends with a semicolon.',
    zero: 'The file is damaged, or no text: use another copy.',
    foreign: 'Give a dump that pg_dump made.',
    'not-sql': "Give a dump of pg_dump's custom format or its SQL.",
    meta: 'psql would run it on this machine: take the line out if you know what it is for.',
    'too-much': 'Give a dump of the one database.',
  };
  throw new HoldfastError(
    isDamage ? 'DAMAGED' : 'NOT_A_DUMP',
    `${name} ${printableText(problem.message)}`,
    { hint: hints[problem.kind] },
  );
}

/** `makes 3 tables, with 1,200 rows`: all that is known of a text without a manifest. */
export function describeSql({ sections }: SqlReading): string {
  const sum = (count: (section: SqlSection) => number) =>
    sections.reduce((total, section) => total + count(section), 0);
  const tables = formatCount(
    sum(({ createdTables }) => createdTables),
    'table',
  );
  const rows = formatCount(
    sum((section) => section.rows + section.inserts),
    'row',
  );
  return `makes ${tables}, with ${rows}`;
}

/**
 * psql that goes on after a COPY that failed takes its rows for commands of SQL: who had written
 * into a table could then run what he likes.
 *
 * @throws HoldfastError USAGE for a restore of SQL that is to keep going
 */
export function requireSqlWay({ source, keepGoing = false }: RestoreWork['request']): void {
  if (source.format !== 'sql' || !keepGoing) return;
  throw new HoldfastError(
    'USAGE',
    '--keep-going is for dumps that pg_restore reads: psql would take rows for commands',
    { hint: 'Restore without it: the error names the line to mend, and nothing is replaced.' },
  );
}

/** @throws HoldfastError with the name of the file before its message */
function choose(work: RestoreWork, reading: SqlReading): SqlChoice<SqlSection> {
  const { request, server } = work;
  const { source } = request;
  const wanted = source.database ?? request.targetDatabase;
  const refuses = (statement: string) =>
    Object.entries(settingsSince).some(
      ([setting, since]) => server.major < since && statement.includes(setting),
    );
  try {
    return chooseSql(reading, wanted, refuses);
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    const { code, hint } = error;
    throw new HoldfastError(code, `${source.dump.name} ${error.message}`, { hint });
  }
}

/** @throws HoldfastError RESTORE_FAILED with what to type, when the server lacks a role */
async function requireRoles(admin: Client, sections: readonly SqlSection[]): Promise<void> {
  const rows = await queryRows<{ name: string }>(
    admin,
    'SELECT rolname AS name FROM pg_catalog.pg_roles',
  );
  const known = new Set(rows.map(({ name }) => name));
  const missing = new Map(
    sections.flatMap(({ roles }) => [...roles]).filter(([role]) => !known.has(role)),
  );
  if (missing.size === 0) return;
  const [[first, line] = ['', 0]] = missing;
  const others = missing.size === 1 ? '' : `, and ${missing.size - 1} other roles`;
  const statements = [...missing.keys()]
    .slice(0, toldMax)
    .map((role) => `CREATE ROLE ${shownIdentifier(role)};`);
  throw new HoldfastError(
    'RESTORE_FAILED',
    `line ${line} needs the role ${JSON.stringify(first)}, which the server has not${others}`,
    {
      hint: `Type ${statements.join(' ')} in psql and restore again.`,
      details: { missing_roles: [...missing.keys()] },
    },
  );
}

function describeLeftOut(choice: SqlChoice<SqlSection>): string[] {
  const told = choice.told.slice(0, toldMax).map(({ kind, line, text }) => {
    const shown = text === null ? 'a long statement' : `${text.slice(0, toldLength)};`;
    const about = kind === 'server' ? 'the whole server' : 'the database itself';
    return `line ${line} is about ${about}, and was left out: ${printableText(shown)}`;
  });
  const more = choice.told.length - told.length;
  return more > 0 ? [...told, `${more} more statements like it were left out`] : told;
}

/**
 * Chooses what of the text is restored, and looks for what would surely fail.
 *
 * @throws HoldfastError NOT_A_DUMP, BACKUP_NOT_FOUND when it holds several other databases,
 *   RESTORE_FAILED for missing roles, TOOL_TOO_OLD when this psql might be deceived by it
 */
export async function planSql(work: RestoreWork, sql: ReadSql | null): Promise<SqlWork | null> {
  if (sql === null) return null;
  const { context, admin, restoreTool } = work;
  const choice = choose(work, sql);
  await requireRoles(admin, choice.sections);
  const { environment, signal } = context;
  const isRestricted = await hasRestrictedMode(restoreTool, environment, signal);
  if (!isRestricted && sql.ambiguousLine !== null) {
    const message =
      `psql ${restoreTool.version} has no restricted mode, and from line ${sql.ambiguousLine} on ` +
      'the text could hide commands to it';
    throw new HoldfastError('TOOL_TOO_OLD', message, {
      hint: 'Install the newest minor release of the client programs.',
    });
  }
  const [section] = choice.sections;
  const created = sql.databases.find(({ name }) => name === section?.database);
  return {
    leftOut: choice.leftOut,
    isRestricted,
    sha256: sql.sha256,
    databaseOptions: created?.options ?? '',
    warnings: describeLeftOut(choice),
  };
}

/** SQL as text that was read whole, with the digest of what was read. */
export interface ReadSql extends SqlReading {
  readonly sha256: string;
}

/** The statement that makes the empty database for a file without a manifest. */
export function createFromSql(name: string, sql: SqlWork | null): string {
  const options = sql === null ? '' : ` ${sql.databaseOptions}`;
  return `CREATE DATABASE ${quoteIdentifier(name)} WITH TEMPLATE = template0${options}`.trim();
}
