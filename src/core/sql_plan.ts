/** Decides what of a text of SQL is restored: which of its databases, and what is left out. */

import { HoldfastError } from './errors.ts';

/** Some bytes of a text, from its beginning. */
export interface ByteRange {
  readonly start: number;
  /** The first byte that no longer belongs to it. */
  readonly end: number;
}

/** What is not for the new database. */
export interface PlannedPiece extends ByteRange {
  readonly kind: 'psql' | 'database' | 'server' | 'setting';
  readonly line: number;
  /** `null` where it is long. */
  readonly text: string | null;
}

/** What one database of the text consists of. */
export interface PlannedSection extends ByteRange {
  readonly database: string | null;
  readonly statements: number;
  readonly createdTables: number;
  readonly created: number;
  readonly copies: number;
  readonly inserts: number;
}

/** All that there is to choose from. */
export interface SqlContents<Section extends PlannedSection> {
  readonly sections: readonly Section[];
  readonly pieces: readonly PlannedPiece[];
}

/** What is restored. */
export interface SqlChoice<Section extends PlannedSection> {
  readonly sections: readonly Section[];
  /** What is not handed on: in order, none overlaps another. */
  readonly leftOut: readonly ByteRange[];
  /** Of what is left out: the statements on the database itself and on the whole server. */
  readonly told: readonly PlannedPiece[];
}

/** How the text is handed to psql. */
export interface SqlWork {
  readonly leftOut: readonly ByteRange[];
  /** Whether psql is told first to take no commands from the text. */
  readonly isRestricted: boolean;
  /** Of the whole text, when it was read before. */
  readonly sha256: string;
  /** Encoding and collation of the new database, as options of CREATE DATABASE. */
  readonly databaseOptions: string;
  readonly warnings: readonly string[];
}

/** Whether a section makes a table or anything else, or brings a row. */
export function makesSomething(section: PlannedSection): boolean {
  return section.createdTables + section.created + section.copies + section.inserts > 0;
}

/** pg_dumpall writes them too; nobody's data is there as long as there is another one. */
const maintenance = new Set<string | null>(['template1', 'postgres']);

function chooseDatabase(sections: readonly PlannedSection[], wanted: string): string | null {
  const named = sections.filter(({ database }) => database !== null);
  const databases = new Set(named.map(({ database }) => database));
  // Before the first of them pg_dumpall writes roles, and pg_dump --create the empty database.
  if (databases.size === 0) return null;
  if (databases.has(wanted)) return wanted;
  const others = [...databases].filter((database) => !maintenance.has(database));
  const [only, ...more] = others.length === 0 ? databases : others;
  if (only !== undefined && more.length === 0) return only;
  const list = [...databases].slice(0, 20).map((database) => JSON.stringify(database));
  throw new HoldfastError(
    'BACKUP_NOT_FOUND',
    `holds no database ${JSON.stringify(wanted)}, but ${list.join(', ')}`,
    { hint: 'Name one of them, and with --target-database what it shall be called.' },
  );
}

/**
 * @param wanted the database that the operator named, as it is called in the text
 * @param refusesSetting whether the server knows no such setting, given its statement
 * @throws HoldfastError BACKUP_NOT_FOUND when the text holds several others, NOT_A_DUMP when it
 *   makes nothing
 */
export function chooseSql<Section extends PlannedSection>(
  contents: SqlContents<Section>,
  wanted: string,
  refusesSetting: (statement: string) => boolean,
): SqlChoice<Section> {
  const { sections, pieces } = contents;
  const database = chooseDatabase(sections, wanted);
  const chosen = sections.filter((section) => section.database === database);
  requireContent(chosen);
  const isChosen = ({ start }: ByteRange) =>
    chosen.some((section) => section.start <= start && start < section.end);
  const inside = pieces.filter(
    (piece) => isChosen(piece) && (piece.kind !== 'setting' || refusesSetting(piece.text ?? '')),
  );
  const outside = sections.filter((section) => section.database !== database);
  // A \connect stands between two sections, in neither.
  const between = pieces.filter(
    (piece) => !sections.some(({ start, end }) => start <= piece.start && piece.start < end),
  );
  return {
    sections: chosen,
    leftOut: [...inside, ...outside, ...between].toSorted((a, b) => a.start - b.start),
    told: [...inside, ...pieces.filter((piece) => !isChosen(piece))].filter(
      (piece) =>
        (piece.kind === 'server' && isChosen(piece)) ||
        (piece.kind === 'database' && names(piece.text, database) && !isCreation(piece.text)),
    ),
  };
}

/** Of a dump of all databases only the statements on the one that is restored matter. */
function names(text: string | null, database: string | null): boolean {
  if (text === null || database === null) return true;
  return text.includes(database) || text.includes(database.replaceAll('"', '""'));
}

function isCreation(text: string | null): boolean {
  return text !== null && /^CREATE DATABASE /i.test(text);
}

function requireContent(chosen: readonly PlannedSection[]): void {
  if (!chosen.some(makesSomething)) {
    throw new HoldfastError('NOT_A_DUMP', 'makes nothing: no table, no row', {
      hint: 'Name another file.',
    });
  }
  const hasRows = chosen.some(({ copies, inserts }) => copies + inserts > 0);
  if (hasRows && !chosen.some(({ createdTables }) => createdTables > 0)) {
    throw new HoldfastError('NOT_A_DUMP', 'holds rows, but makes no table for them', {
      hint: 'It was made with pg_dump --data-only: name the file of the whole database.',
    });
  }
}
