/**
 * Takes a text of SQL apart as psql does, while it streams by: where its statements begin and end,
 * what is data of a COPY, and what is a command to psql itself, which runs on the machine of who
 * restores. The rules are those of psql's psqlscan.l.
 */

import { countLines, SqlCopyData } from './sql_copy_data.ts';
import { KeptText } from './sql_kept.ts';
import { type QuotedKind, SqlQuoted } from './sql_quoted.ts';
import { SqlWords } from './sql_words.ts';

/** A statement, without its semicolon. */
export interface SqlStatement {
  /** The line it begins in, from 1. */
  readonly line: number;
  /** Its first byte, and the byte after its semicolon, from the beginning of the text. */
  readonly start: number;
  readonly end: number;
  /** Its first words in lower case, outside of parentheses; `""` for a quoted name. */
  readonly words: readonly string[];
  /** Its text; `null` where it is longer than those are that matter, or an INSERT. */
  readonly text: string | null;
}

/** A backslash outside of quotes and data, to the end of its line. */
export interface MetaCommand {
  readonly line: number;
  readonly start: number;
  readonly end: number;
  /** With its backslash; only that where it is too long. */
  readonly text: string;
  /** It stands in the middle of a statement. */
  readonly isInside: boolean;
  /** The text ends in its line. */
  readonly isLast: boolean;
}

/** Told what there is, in order. Positions are bytes of the whole text. */
export interface SqlEvents {
  /** @returns whether psql now reads lines of data up to `\.` */
  statement(statement: SqlStatement): boolean;
  meta(command: MetaCommand): void;
  /** A comment of one line that stands between statements, without its dashes. */
  comment(text: string): void;
  /** The data of a COPY has ended. */
  data(rows: number): void;
  /** What follows may be read in another way by another psql, or by the server. */
  ambiguous(line: number): void;
  /** A zero byte: no SQL has one, and psql would read the line only up to it. */
  zero(line: number): void;
}

/** Where the text ends, after its last byte. */
export type SqlEnd = 'whole' | 'statement' | 'string' | 'comment' | 'data';

/** So much of a statement's text is kept, and of a line that is a comment or a meta-command. */
const textBytesMax = 16 * 1024;
const lineBytesMax = 4096;
const wordLengthMax = 64;
const tagLengthMax = 4096;

const newline = 0x0a;
const carriageReturn = 0x0d;
const backslash = 0x5c;
const quote = 0x27;
const dollar = 0x24;
const dash = 0x2d;
const slash = 0x2f;
const star = 0x2a;
const semicolon = 0x3b;
const openingParenthesis = 0x28;

/** What a byte may begin outside of quotes. */
const kinds = { other: 0, space: 1, letter: 2, digit: 3, special: 4 } as const;

function kindOf(byte: number): number {
  const character = String.fromCharCode(byte);
  if (byte >= 0x80 || /[A-Za-z_]/.test(character)) return kinds.letter;
  if (/[0-9]/.test(character)) return kinds.digit;
  if (byte === 0x20 || (byte >= 0x09 && byte <= carriageReturn)) return kinds.space;
  return `'"$-/;()\\`.includes(character) ? kinds.special : kinds.other;
}

const kindTable = Uint8Array.from({ length: 256 }, (_, byte) => kindOf(byte));

type State =
  | 'text'
  | 'word'
  | 'number'
  | 'dash'
  | 'slash'
  | 'line comment'
  | 'meta'
  | 'quoted'
  | 'dollar'
  | 'parameter'
  | 'copy';

const nothing = Buffer.alloc(0);

/** Follows a text chunk by chunk; the result does not depend on where the chunks are cut. */
export class SqlLexer {
  readonly #events: SqlEvents;
  #state: State = 'text';
  /** Bytes before the current chunk. */
  #base = 0;
  #lines = 1;
  /** In the current chunk: up to where lines were counted. */
  #counted = 0;
  #isStarted = false;
  #line = 1;
  #start = 0;
  readonly #words = new SqlWords();
  readonly #statement = new KeptText(textBytesMax);
  /** A comment or a meta-command. */
  readonly #rest = new KeptText(lineBytesMax);
  readonly #quoted = new SqlQuoted();
  readonly #copyData = new SqlCopyData();
  #word = '';
  /** In the current chunk. */
  #wordFrom = 0;
  #hasDigit = false;
  #tag = '';
  /** The line that the COPY statement ends in: its rows begin in the next. */
  #copyLine = 0;

  constructor(events: SqlEvents) {
    this.#events = events;
  }

  /** How many bytes were taken. */
  get bytes(): number {
    return this.#base;
  }

  /** Takes the next bytes; keeps no hold on them. After a zero byte nothing is understood. */
  update(bytes: Buffer): void {
    this.#counted = 0;
    this.#wordFrom = 0;
    const zero = bytes.indexOf(0);
    const chunk = zero === -1 ? bytes : bytes.subarray(0, zero);
    for (let at = 0; at < chunk.length; ) at = this.#step(chunk, at);
    this.#lineAt(chunk, chunk.length);
    if (zero !== -1) this.#events.zero(this.#lines);
    this.#statement.carry(chunk);
    this.#rest.carry(chunk);
    this.#base += chunk.length;
  }

  /** After the last byte. */
  finish(): SqlEnd {
    this.#counted = 0;
    if (this.#state === 'line comment' || this.#state === 'meta') this.#endLine(nothing, 0);
    if (this.#state === 'copy' && this.#copyData.mayEnd) this.#endData(nothing, 0);
    if (this.#state === 'copy') return 'data';
    if (this.#state === 'quoted' && !this.#quoted.mayEnd) {
      return this.#quoted.kind === 'comment' ? 'comment' : 'string';
    }
    const isOpen = this.#isStarted || this.#state === 'dash' || this.#state === 'slash';
    return isOpen ? 'statement' : 'whole';
  }

  #step(chunk: Buffer, at: number): number {
    switch (this.#state) {
      case 'text':
        return this.#text(chunk, at);
      case 'word':
        return this.#inWord(chunk, at);
      case 'number':
        return this.#inNumber(chunk, at);
      case 'dash':
      case 'slash':
        return this.#afterSign(chunk, at);
      case 'line comment':
      case 'meta':
        return this.#toLineEnd(chunk, at);
      case 'quoted':
        return this.#inQuoted(chunk, at);
      case 'dollar':
      case 'parameter':
        return this.#afterDollar(chunk, at);
      default:
        return this.#inData(chunk, at);
    }
  }

  /** The line of a byte of this chunk; positions only grow. */
  #lineAt(chunk: Buffer, at: number): number {
    this.#lines += countLines(chunk, this.#counted, at);
    this.#counted = Math.max(this.#counted, at);
    return this.#lines;
  }

  #begin(chunk: Buffer, at: number): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    this.#line = this.#lineAt(chunk, at);
    this.#start = this.#base + at;
    this.#statement.begin(at);
  }

  #text(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at] as number;
      const kind = kindTable[byte];
      if (kind === kinds.space) continue;
      if (kind === kinds.special) {
        this.#special(chunk, at, byte);
        if (this.#state !== 'text') return at + 1;
        continue;
      }
      this.#begin(chunk, at);
      if (kind === kinds.other) continue;
      this.#word = '';
      this.#wordFrom = at;
      this.#hasDigit = kind === kinds.digit;
      this.#state = this.#hasDigit ? 'number' : 'word';
      return at;
    }
    return chunk.length;
  }

  #special(chunk: Buffer, at: number, byte: number): void {
    // A comment between statements is none of them: which it is, the next byte tells.
    if (byte === dash) this.#state = 'dash';
    else if (byte === slash) this.#state = 'slash';
    else if (byte === backslash) this.#beginMeta(chunk, at);
    else if (byte === semicolon) {
      if (this.#words.endsHere) this.#endStatement(chunk, at);
    } else {
      this.#begin(chunk, at);
      if (byte === quote) this.#open('plain');
      else if (byte === dollar) {
        this.#state = 'dollar';
        this.#tag = '$';
      } else if (byte === openingParenthesis) this.#words.parenthesis(true);
      else if (byte === 0x29) this.#words.parenthesis(false);
      else this.#open('name');
    }
  }

  #open(kind: QuotedKind, tag?: string): void {
    this.#quoted.open(kind, tag);
    this.#state = 'quoted';
  }

  #endStatement(chunk: Buffer, at: number): void {
    if (!this.#isStarted) return;
    const { words } = this.#words;
    const text = words[0] === 'insert' ? null : this.#statement.take(chunk, at);
    this.#statement.drop();
    this.#isStarted = false;
    this.#words.reset();
    const end = this.#base + at + 1;
    const told = { line: this.#line, start: this.#start, end, words, text };
    if (!this.#events.statement(told)) return;
    this.#copyData.open();
    this.#copyLine = this.#lineAt(chunk, at);
    this.#state = 'copy';
  }

  #inWord(chunk: Buffer, from: number): number {
    let at = from;
    for (; at < chunk.length; at += 1) {
      const byte = chunk[at] as number;
      const kind = kindTable[byte];
      if (kind === kinds.letter || kind === kinds.digit) continue;
      if (byte !== dollar) break;
      // `1abc$tag$`: where the number ends is not the same in every version.
      if (this.#hasDigit) this.#events.ambiguous(this.#lineAt(chunk, at));
    }
    const isEscape = at < chunk.length && chunk[at] === quote;
    if (isEscape || this.#words.wantsWord) {
      const stop = Math.min(at, this.#wordFrom + wordLengthMax - this.#word.length);
      if (stop > this.#wordFrom) this.#word += chunk.toString('latin1', this.#wordFrom, stop);
    } else if (at === chunk.length) {
      const stop = Math.min(at, this.#wordFrom + 2);
      this.#word = (this.#word + chunk.toString('latin1', this.#wordFrom, stop)).slice(0, 2);
    }
    if (at === chunk.length) return at;
    this.#state = 'text';
    if (this.#hasDigit) return at;
    if (isEscape && /^e$/i.test(this.#word)) {
      this.#open('escape');
      return at + 1;
    }
    if (this.#words.wantsWord) this.#words.word(this.#word);
    return at;
  }

  #inNumber(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at += 1) {
      const kind = kindTable[chunk[at] as number];
      if (kind === kinds.digit) continue;
      this.#state = kind === kinds.letter ? 'word' : 'text';
      return at;
    }
    return chunk.length;
  }

  /** After `-` or `/`: a comment, or an operator. */
  #afterSign(chunk: Buffer, at: number): number {
    const byte = chunk[at];
    const isDash = this.#state === 'dash';
    if (byte === slash && !isDash) return at + 1;
    if (byte === dash && isDash) {
      this.#state = 'line comment';
      if (!this.#isStarted) this.#rest.begin(at + 1);
      return at + 1;
    }
    if (byte === star && !isDash) {
      this.#open('comment');
      return at + 1;
    }
    this.#begin(chunk, at);
    this.#state = 'text';
    return at;
  }

  #beginMeta(chunk: Buffer, at: number): void {
    this.#state = 'meta';
    this.#rest.begin(at);
    this.#line = this.#lineAt(chunk, at);
    this.#start = this.#base + at;
  }

  /** A comment ends at a newline or a carriage return, a meta-command at a newline. */
  #toLineEnd(chunk: Buffer, from: number): number {
    const isMeta = this.#state === 'meta';
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (byte !== newline && (byte !== carriageReturn || isMeta)) continue;
      this.#endLine(chunk, at);
      return at;
    }
    return chunk.length;
  }

  #endLine(chunk: Buffer, at: number): void {
    const isMeta = this.#state === 'meta';
    this.#state = 'text';
    if (!isMeta) {
      if (this.#isStarted) return;
      const text = this.#rest.take(chunk, at);
      if (text !== null) this.#events.comment(text.trim());
      return;
    }
    const text = (this.#rest.take(chunk, at) ?? '\\').trim();
    const end = this.#base + at;
    const isInside = this.#isStarted;
    const told = { line: this.#line, start: this.#start, end, text, isInside };
    this.#events.meta({ ...told, isLast: chunk === nothing });
  }

  #inQuoted(chunk: Buffer, from: number): number {
    const at = this.#quoted.pass(chunk, from);
    if (at === -1) return chunk.length;
    if (this.#quoted.isAmbiguous) this.#events.ambiguous(this.#lineAt(chunk, at));
    if (this.#quoted.kind === 'name') this.#words.name();
    this.#state = 'text';
    return at;
  }

  /** After `$`: a parameter, the delimiter of a string, or nothing of the kind. */
  #afterDollar(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at] as number;
      const kind = kindTable[byte];
      if (kind === kinds.digit && (this.#tag === '$' || this.#state === 'parameter')) {
        this.#state = 'parameter';
        continue;
      }
      const isTag = this.#state === 'dollar' && this.#tag.length < tagLengthMax;
      if (isTag && (kind === kinds.letter || kind === kinds.digit)) {
        this.#tag += String.fromCharCode(byte);
        continue;
      }
      if (isTag && byte === dollar) {
        this.#open('dollar', `${this.#tag}$`);
        return at + 1;
      }
      this.#state = 'text';
      return at;
    }
    return chunk.length;
  }

  #inData(chunk: Buffer, from: number): number {
    const { at, isEnd } = this.#copyData.pass(chunk, from);
    if (isEnd) this.#endData(chunk, at);
    return at;
  }

  #endData(chunk: Buffer, at: number): void {
    const line = this.#lineAt(chunk, at);
    if (this.#copyData.hasMore) this.#events.ambiguous(line);
    this.#events.data(line - this.#copyLine - 1);
    this.#state = 'text';
  }
}
