/** What one statement of a text of SQL is for, as far as a restore has to know. */

/** What a statement does, told by its first words. */
export type StatementKind =
  /** Makes, changes or removes a database itself, not what is in it. */
  | 'database'
  /** Is about the whole server: its roles and who is a member of which, tablespaces, settings. */
  | 'server'
  /** COPY … FROM stdin: rows follow. */
  | 'copy'
  | 'insert'
  | 'create table'
  | 'create'
  /** Brings a role's name: an owner, or who is granted something. */
  | 'role'
  | 'setting'
  | 'other';

/** The commands of SQL (manual, "SQL Commands"): the first word of any statement is one of them. */
const commands = new Set(
  (
    'abort alter analyze begin call checkpoint close cluster comment commit copy create ' +
    'deallocate declare delete discard do drop end execute explain fetch grant import insert ' +
    'listen load lock merge move notify prepare reassign refresh reindex release reset revoke ' +
    'rollback savepoint security select set show start table truncate unlisten update vacuum ' +
    'values with'
  ).split(' '),
);

const databaseStatements: readonly RegExp[] = [
  /^(?:create|alter|drop) database /,
  /^(?:comment|grant|revoke|security) (?:.* )?on database /,
  /^alter (?:role|user) (?:\S+ )?in database /,
];

const serverStatements: readonly RegExp[] = [
  /^(?:create|alter|drop) (?:role|group|tablespace) /,
  /^(?:create|alter|drop) user (?!mapping )/,
  /^alter system /,
  /^(?:comment|grant|revoke|security) (?:.* )?on (?:role|tablespace|parameter) /,
  // A membership: privileges are granted ON something.
  /^(?:grant|revoke) (?!.* on )/,
  /^(?:drop|reassign) owned /,
];

/**
 * @param words as {@link ../postgres/sql_lexer.ts} tells them: in lower case, outside of
 *   parentheses, `""` for a quoted name
 */
export function statementKind(words: readonly string[]): StatementKind {
  const [first] = words;
  if (first === 'insert') return 'insert';
  if (first === 'copy') {
    const isIn = words.some((word, at) => word === 'from' && words[at + 1] === 'stdin');
    return isIn ? 'copy' : 'other';
  }
  const head = `${words.join(' ')} `;
  if (databaseStatements.some((pattern) => pattern.test(head))) return 'database';
  if (serverStatements.some((pattern) => pattern.test(head))) return 'server';
  if (first === 'create') {
    return /^create (?:(?:unlogged|foreign) )?table /.test(head) ? 'create table' : 'create';
  }
  if (first === 'alter' || first === 'grant' || first === 'revoke') return 'role';
  return first === 'set' ? 'setting' : 'other';
}

/** Whether a statement can begin so; `undefined` for one that begins with no word. */
export function isCommand(word: string | undefined): boolean {
  return word === undefined || commands.has(word);
}

const name = '("(?:[^"]|"")+"|[\\w$\\u0080-\\uffff]+)';
const roleEnds: readonly RegExp[] = [
  new RegExp(`\\sOWNER TO ${name}$`, 'i'),
  new RegExp(`\\s(?:TO|FROM) ${name}(?: WITH GRANT OPTION)?(?: GRANTED BY ${name})?$`, 'i'),
];
const nobody = new Set(['public', 'current_user', 'current_role', 'session_user']);

/** The name that an identifier stands for: quotes taken off, else in lower case. */
function identifierName(identifier: string): string {
  return identifier.startsWith('"')
    ? identifier.slice(1, -1).replaceAll('""', '"')
    : identifier.toLowerCase();
}

/** The role that a statement like those of pg_dump's needs, or `null`. */
export function neededRole(text: string): string | null {
  for (const pattern of roleEnds) {
    const found = pattern.exec(text)?.[1];
    if (found === undefined) continue;
    const role = identifierName(found);
    return nobody.has(role) && !found.startsWith('"') ? null : role;
  }
  return null;
}

const createDatabase = new RegExp(`^CREATE DATABASE ${name}\\s*(.*)$`, 'is');
const option = /\b([A-Z_]+)\s*=\s*('(?:[^'\\]|'')*'|\w+)/gi;
/** What of it a database beside the old one takes over: how its text is encoded and sorted. */
const keptOptions = new Set([
  'ENCODING',
  'LOCALE',
  'LOCALE_PROVIDER',
  'LC_COLLATE',
  'LC_CTYPE',
  'ICU_LOCALE',
  'ICU_RULES',
  'BUILTIN_LOCALE',
]);

/** What `CREATE DATABASE` of pg_dump's says. */
export interface CreatedDatabase {
  readonly name: string;
  /** The options that tell encoding and collation, as SQL; `''` for none. */
  readonly options: string;
}

/** @returns `null` for anything that pg_dump would not write */
export function createdDatabase(text: string): CreatedDatabase | null {
  const [, found, rest] = createDatabase.exec(text) ?? [];
  if (found === undefined) return null;
  const options = [...(rest ?? '').matchAll(option)].flatMap(([, key = '', value = '']) =>
    keptOptions.has(key.toUpperCase()) ? [`${key.toUpperCase()} = ${value}`] : [],
  );
  return { name: identifierName(found), options: options.join(' ') };
}

const connects: readonly RegExp[] = [
  /^\\c(?:onnect)? ("(?:[^"]|"")+"|[^\s"'`:\\]+)$/,
  /^\\c(?:onnect)? -reuse-previous=on ("(?:[^"]|"")+")$/,
];
const conninfo = /^dbname='((?:[^'\\]|\\.)*)'$/;

/** The database that a `\connect` of pg_dump's names, or `null` for any other meta-command. */
export function connectedDatabase(metaCommand: string): string | null {
  const found = connects.map((pattern) => pattern.exec(metaCommand)?.[1]).find(Boolean);
  if (found === undefined) return null;
  // psql takes an unquoted name as it stands: it is no identifier of SQL.
  if (!found.startsWith('"')) return found;
  const text = identifierName(found);
  const inside = conninfo.exec(text)?.[1];
  return inside === undefined ? text : inside.replaceAll(/\\(.)/g, '$1');
}

/**
 * Whether psql is told what a restore tells it itself or does not need: to enter or to leave its
 * restricted mode (pg_dump since August 2025), or in which encoding an odd name in the next
 * `\\connect` is.
 */
export function isNeedless(metaCommand: string): boolean {
  return /^\\(?:(?:un)?restrict [A-Za-z0-9]+|encoding SQL_ASCII)$/.test(metaCommand);
}
