/**
 * Reads a text of SQL while it streams by, and tells what a restore has to know before it begins:
 * whether it is whole, which databases it holds, and what in it is not for the new database.
 */

import {
  type CreatedDatabase,
  connectedDatabase,
  createdDatabase,
  isCommand,
  isNeedless,
  neededRole,
  statementKind,
} from '../core/sql_statement.ts';
import type { SqlStatement } from './sql_lexer.ts';
import { type MetaCommand, type SqlEnd, type SqlEvents, SqlLexer } from './sql_lexer.ts';

/** Bytes of the text that are not for the new database. */
export interface SqlPiece {
  /** For psql itself, of the database as a whole, or a setting of newer servers. */
  readonly kind: 'psql' | 'database' | 'server' | 'setting';
  readonly line: number;
  readonly start: number;
  readonly end: number;
  /** The statement, without its semicolon, where it is short. */
  readonly text: string | null;
}

/** What one database of the text consists of. */
export interface SqlSection {
  /** Which one psql would connect to for it; `null` for the text before any `\connect`. */
  readonly database: string | null;
  readonly start: number;
  end: number;
  /** Without those of the database as a whole. */
  statements: number;
  createdTables: number;
  /** Other things that are created. */
  created: number;
  /** Tables whose rows are there, as COPY, and their rows; and INSERT statements. */
  copies: number;
  rows: number;
  inserts: number;
  /** Roles that it needs, each with the first line that does. */
  readonly roles: Map<string, number>;
}

/** Why a text cannot be restored. */
export interface SqlProblem {
  readonly kind: 'cut' | 'zero' | 'foreign' | 'not-sql' | 'meta' | 'too-much';
  /** Lower case, with the line where there is one. */
  readonly message: string;
}

/** What was learnt from a whole text; of one with a problem nothing but that. */
export interface SqlReading {
  readonly problem: SqlProblem | null;
  readonly sections: readonly SqlSection[];
  /** In order. */
  readonly pieces: readonly SqlPiece[];
  /** The databases that it would create. */
  readonly databases: readonly CreatedDatabase[];
  /** The first line from which on another reader might read it in another way, or `null`. */
  readonly ambiguousLine: number | null;
}

/** Settings that pg_dump writes and that servers before this major version refuse. */
export const settingsSince: Readonly<Record<string, number>> = { transaction_timeout: 17 };

const nothingKnown = { sections: [], pieces: [], databases: [], ambiguousLine: null } as const;

/** So many pieces and roles are remembered: a dump has some dozens. */
const rememberedMax = 20_000;
/** Encodings in which a byte of a character may look like a backslash (psql masks these). */
const unsafeEncoding = /SJIS|SHIFT_JIS|BIG5|GBK|GB18030|UHC|JOHAB/i;
const shownLength = 100;
/** What pg_dump writes for psql. */
const expected = ['\\restrict ', '\\unrestrict ', '\\connect ', '\\encoding '];

const beginnings: ReadonlyMap<string, 'dump' | 'cluster'> = new Map([
  ['PostgreSQL database dump', 'dump'],
  ['PostgreSQL database cluster dump', 'cluster'],
]);

const ends: Readonly<Record<Exclude<SqlEnd, 'whole'>, string>> = {
  statement: 'ends in the middle of a statement',
  string: 'ends inside of quotes',
  comment: 'ends inside of a comment',
  data: 'ends in the middle of the rows of a table',
};

function newSection(database: string | null, start: number): SqlSection {
  return {
    database,
    start,
    end: start,
    statements: 0,
    createdTables: 0,
    created: 0,
    copies: 0,
    rows: 0,
    inserts: 0,
    roles: new Map(),
  };
}

/** Takes the events of the lexer. */
class Reading implements SqlEvents {
  problem: SqlProblem | null = null;
  ambiguousLine: number | null = null;
  section = newSection(null, 0);
  readonly sections: SqlSection[] = [this.section];
  readonly pieces: SqlPiece[] = [];
  readonly databases: CreatedDatabase[] = [];
  /** What pg_dump and pg_dumpall began and have not said the end of. */
  readonly open = new Set<'dump' | 'cluster'>();
  isFirst = true;

  refuse(kind: SqlProblem['kind'], message: string): void {
    this.problem ??= { kind, message };
  }

  cutOut(piece: SqlPiece): void {
    if (this.pieces.length < rememberedMax) this.pieces.push(piece);
    else this.refuse('too-much', `holds more than ${rememberedMax} commands for other databases`);
  }

  statement(statement: SqlStatement): boolean {
    const { words, text, line, start, end } = statement;
    if (this.isFirst && !isCommand(words[0])) this.#foreign(words[0] ?? '', line);
    this.isFirst = false;
    const kind = statementKind(words);
    const { section } = this;
    if (kind === 'database') {
      this.cutOut({ kind, line, start, end, text });
      const created = text === null ? null : createdDatabase(text);
      if (created !== null && this.databases.length < rememberedMax) this.databases.push(created);
      return false;
    }
    if (kind === 'server') {
      this.cutOut({ kind, line, start, end, text });
      return false;
    }
    section.statements += 1;
    if (kind === 'insert') section.inserts += 1;
    else if (kind === 'copy') section.copies += 1;
    else if (kind === 'create table') section.createdTables += 1;
    else if (kind === 'create') section.created += 1;
    else if (kind === 'setting') this.#setting(statement);
    else if (kind === 'role' && text !== null) this.#role(text, line);
    return kind === 'copy';
  }

  #foreign(word: string, line: number): void {
    const shown = JSON.stringify(word.slice(0, 40));
    if (word === 'pragma') this.refuse('foreign', 'is a dump of SQLite');
    else this.refuse('not-sql', `line ${line} begins with ${shown}, which is no command of SQL`);
  }

  #setting({ words, text, line, start, end }: SqlStatement): void {
    const setting = words[1] ?? '';
    if (setting in settingsSince) this.cutOut({ kind: 'setting', line, start, end, text });
    if (setting === 'client_encoding' && unsafeEncoding.test(text ?? '')) this.ambiguous(line);
  }

  #role(text: string, line: number): void {
    const { roles } = this.section;
    const role = neededRole(text);
    const isNew = role !== null && !roles.has(role) && roles.size < rememberedMax;
    if (isNew) roles.set(role, line);
  }

  meta({ text, line, start, end, isInside, isLast }: MetaCommand): void {
    // A text that is cut in the middle of one of those is told as cut, if it is.
    const isHalf = isLast && expected.some((command) => command.startsWith(text));
    if (!isInside && (isNeedless(text) || isHalf)) {
      this.cutOut({ kind: 'psql', line, start, end, text });
      return;
    }
    const database = isInside ? null : connectedDatabase(text);
    if (database === null) {
      const shown = JSON.stringify(text.slice(0, shownLength));
      this.refuse('meta', `line ${line} is a command to psql itself: ${shown}`);
      return;
    }
    this.cutOut({ kind: 'psql', line, start, end, text });
    this.section.end = start;
    this.section = newSection(database, end);
    if (this.sections.length < rememberedMax) this.sections.push(this.section);
    else this.refuse('too-much', `holds more than ${rememberedMax} databases`);
  }

  comment(text: string): void {
    const system = /^(MySQL|MariaDB) dump /.exec(text)?.[1];
    if (system !== undefined) this.refuse('foreign', `is a dump of ${system}`);
    const begun = beginnings.get(text);
    if (begun !== undefined) this.open.add(begun);
    const ended = text.endsWith(' complete') ? beginnings.get(text.slice(0, -9)) : undefined;
    if (ended !== undefined) this.open.delete(ended);
  }

  data(rows: number): void {
    this.section.rows += rows;
  }

  ambiguous(line: number): void {
    this.ambiguousLine ??= line;
  }

  zero(line: number): void {
    this.refuse('zero', `line ${line} holds a zero byte, which no SQL has`);
  }
}

/** Consumes a text chunk by chunk; memory does not grow with it. */
export interface SqlScanner {
  /** Takes the next bytes; keeps no hold on them. */
  update(chunk: Buffer): void;
  /** Tells the result, after the last chunk. */
  finish(): SqlReading;
}

/** The byte order mark of UTF-8. psql passes over it in the first line of a file only. */
const mark = Buffer.from([0xef, 0xbb, 0xbf]);

/** A scanner for one text. */
export function createSqlScanner(): SqlScanner {
  const reading = new Reading();
  const lexer = new SqlLexer(reading);
  /** The first bytes, until it is known whether they are the mark. */
  let head: Buffer | null = Buffer.alloc(0);

  function flush(bytes: Buffer): void {
    const isMarked = bytes.subarray(0, mark.length).equals(mark);
    if (isMarked) reading.cutOut({ kind: 'psql', line: 1, start: 0, end: mark.length, text: '' });
    head = null;
    lexer.update(isMarked ? Buffer.from(bytes).fill(' ', 0, mark.length) : bytes);
  }

  return {
    update(chunk) {
      // Nothing more is learnt from what is refused; the rest may be anything.
      if (reading.problem !== null) return;
      if (head === null) {
        lexer.update(chunk);
        return;
      }
      head = Buffer.concat([head, chunk]);
      if (head.length >= mark.length) flush(head);
    },
    finish() {
      if (head !== null) flush(head);
      const end = reading.problem === null ? lexer.finish() : 'whole';
      reading.section.end = lexer.bytes;
      if (reading.isFirst && reading.open.size === 0) {
        reading.refuse('not-sql', 'holds no whole statement of SQL');
      }
      if (end !== 'whole') reading.refuse('cut', ends[end]);
      if (reading.open.size > 0) {
        reading.refuse('cut', 'lacks the last line that pg_dump writes ("dump complete")');
      }
      const { problem, sections, pieces, databases, ambiguousLine } = reading;
      if (problem !== null) return { ...nothingKnown, problem };
      return { problem, sections, pieces, databases, ambiguousLine };
    },
  };
}
