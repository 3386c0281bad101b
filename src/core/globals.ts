/**
 * Reads what `pg_dumpall --globals-only` wrote, and decides what of it a restore runs: roles that
 * are missing are created, with everything that belongs to them; roles that exist are left alone
 * (PRODUCT.md, "What a restore promises", 3). templates/restore.sh holds the same rule in awk.
 */

import { HoldfastError } from './errors.ts';
import { quoteIdentifier } from './quote.ts';

/** What a statement gives to its role. */
export type GlobalsStatementKind =
  | 'role'
  | 'attributes'
  | 'setting'
  | 'comment'
  | 'security_label'
  | 'membership'
  | 'parameter_privilege';

/** One statement of pg_dumpall's that a restore runs. */
export interface GlobalsStatement {
  /** One statement without its semicolon. It can hold a password's hash: never log it. */
  readonly sql: string;
  readonly kind: GlobalsStatementKind;
  /** The role that is created in this restore and that the statement belongs to. */
  readonly role: string;
}

/** What a restore does with the globals of a backup, and what it leaves alone. */
export interface GlobalsPlan {
  /** In the order in which they have to run. */
  readonly statements: readonly GlobalsStatement[];
  readonly createdRoles: readonly string[];
  /** In the backup and on the server: left alone. */
  readonly keptRoles: readonly string[];
  /** Tablespaces need a folder of the server: a restore reports them and never creates them. */
  readonly missingTablespaces: readonly string[];
  /** What was left out although it belongs to a created role; each one a sentence. */
  readonly notes: readonly string[];
}

/** What the server has already. */
export interface ExistingGlobals {
  readonly roles: ReadonlySet<string>;
  readonly tablespaces: ReadonlySet<string>;
}

const tokenPattern =
  /--[^\n]*|[eE]'(?:[^'\\]|\\[\s\S]|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|[\w$\u0080-\uffff]+|[^'"\\]/gy;

function damaged(): HoldfastError {
  return new HoldfastError('DAMAGED', 'the roles of the backup end inside a statement', {
    hint:
      'Verify the backup with scripts/verify_backups.ts, and restore another one if it is ' +
      'damaged.',
  });
}

/**
 * Splits the text into its statements, without comments, semicolons and psql's meta-commands
 * (`\restrict` and `\unrestrict` since the minor releases of August 2025).
 *
 * @throws HoldfastError DAMAGED when it ends inside a statement
 */
export function splitGlobals(text: string): string[] {
  const statements: string[] = [];
  const metaCommand = /\\[^\n]*/y;
  let statement = '';
  let position = 0;
  while (position < text.length) {
    tokenPattern.lastIndex = position;
    metaCommand.lastIndex = position;
    const isMeta = statement.trim() === '' && metaCommand.test(text);
    const token = isMeta ? '' : tokenPattern.exec(text)?.[0];
    if (token === undefined) throw damaged();
    position = isMeta ? metaCommand.lastIndex : tokenPattern.lastIndex;
    if (token === ';') {
      if (statement.trim() !== '') statements.push(statement.trim());
      statement = '';
    } else if (!token.startsWith('--')) {
      statement += token;
    }
  }
  if (statement.trim() !== '') throw damaged();
  return statements;
}

const identifier = '("(?:[^"]|"")+"|[\\w$\\u0080-\\uffff]+)';

function match(statement: string, pattern: string): string[] | null {
  const found = new RegExp(`^${pattern.replaceAll('<name>', identifier)}`).exec(statement);
  return found === null ? null : found.slice(1).map((group) => group ?? '');
}

function plainName(quoted: string): string {
  return quoted.startsWith('"') ? quoted.slice(1, -1).replaceAll('""', '"') : quoted;
}

/** Statements that belong to one role, which is their last name. */
const ownStatements: readonly (readonly [GlobalsStatementKind, string])[] = [
  ['role', 'CREATE ROLE <name>$'],
  ['attributes', 'ALTER ROLE <name> WITH '],
  ['setting', 'ALTER ROLE <name> SET '],
  ['comment', 'COMMENT ON ROLE <name> IS '],
  ['security_label', 'SECURITY LABEL FOR <name> ON ROLE <name> IS '],
  ['parameter_privilege', 'GRANT [A-Z, ]+ ON PARAMETER [^ ]+ TO <name>(?: WITH GRANT OPTION)?$'],
];

function ownStatement(sql: string): GlobalsStatement | null {
  for (const [kind, pattern] of ownStatements) {
    const name = match(sql, pattern)?.at(-1);
    if (name !== undefined) return { sql, kind, role: plainName(name) };
  }
  return null;
}

interface Membership {
  readonly group: string;
  readonly member: string;
  /** The statement up to `GRANTED BY`. */
  readonly grant: string;
  readonly grantor: string | null;
  readonly withAdmin: boolean;
}

function membership(sql: string): Membership | null {
  const parts = match(sql, '(GRANT <name> TO <name>([^"]*?))(?: GRANTED BY <name>)?$');
  if (parts === null) return null;
  const [grant = '', group = '', member = '', options = '', grantor = ''] = parts;
  return {
    group: plainName(group),
    member: plainName(member),
    grant,
    grantor: grantor === '' ? null : plainName(grantor),
    withAdmin: options.includes('ADMIN OPTION') || options.includes('ADMIN TRUE'),
  };
}

/**
 * Decides what of the globals runs on a server that has `existing`. No statement alters, grants to
 * or comments on a role that exists. `GRANTED BY` stays only where the grantor is created too and
 * has its ADMIN OPTION by then: PostgreSQL 16 and newer refuse any other, and the role that
 * restores stands in.
 *
 * @throws HoldfastError DAMAGED when the text ends inside a statement
 */
export function planGlobals(text: string, existing: ExistingGlobals): GlobalsPlan {
  const sqls = splitGlobals(text);
  const mentioned = sqls
    .map(ownStatement)
    .filter((statement) => statement?.kind === 'role')
    .map((statement) => statement?.role ?? '');
  const createdRoles = mentioned.filter((role) => !existing.roles.has(role));
  const created = new Set(createdRoles);
  const admins = new Set<string>();
  const statements: GlobalsStatement[] = [];
  const missingTablespaces: string[] = [];
  const notes: string[] = [];

  for (const sql of sqls) {
    const own = ownStatement(sql);
    if (own !== null) {
      if (created.has(own.role)) statements.push(own);
      continue;
    }
    const grant = membership(sql);
    if (grant !== null) {
      if (!created.has(grant.member)) continue;
      if (!created.has(grant.group) && !existing.roles.has(grant.group)) {
        notes.push(
          `${quoteIdentifier(grant.member)} is not made a member of ` +
            `${quoteIdentifier(grant.group)}, a role that does not exist`,
        );
        continue;
      }
      const keepsGrantor =
        grant.grantor !== null && admins.has(JSON.stringify([grant.group, grant.grantor]));
      if (grant.withAdmin) admins.add(JSON.stringify([grant.group, grant.member]));
      statements.push({
        sql: keepsGrantor ? sql : grant.grant,
        kind: 'membership',
        role: grant.member,
      });
      continue;
    }
    const tablespace = match(sql, 'CREATE TABLESPACE <name> ')?.[0];
    if (tablespace !== undefined && !existing.tablespaces.has(plainName(tablespace))) {
      missingTablespaces.push(plainName(tablespace));
    }
  }
  return {
    statements,
    createdRoles,
    keptRoles: mentioned.filter((role) => existing.roles.has(role)),
    missingTablespaces,
    notes,
  };
}
