/** The lines of data after a COPY statement, as `handleCopyIn` of psql's copy.c reads them. */

const newline = 0x0a;
const carriageReturn = 0x0d;
const backslash = 0x5c;
const dot = 0x2e;
const rowEnd = Buffer.from('\n\\.', 'latin1');

/** How many newlines there are in a range. */
export function countLines(chunk: Buffer, start: number, end: number): number {
  let lines = 0;
  for (let at = start; at < end; at += 1) if (chunk[at] === newline) lines += 1;
  return lines;
}

/** Where in the data the next byte stands. */
type Place = 'statement' | 'start' | 'backslash' | 'dot' | 'return' | 'row';

/** Passes over the rest of a COPY statement's line, and over its rows up to a line that is `\.`. */
export class SqlCopyData {
  #place: Place = 'statement';
  /** Something but its newline follows the statement: psql reads that after the data. */
  hasMore = false;

  open(): void {
    this.#place = 'statement';
    this.hasMore = false;
  }

  /** Whether the data may end where the text does. */
  get mayEnd(): boolean {
    return this.#place === 'dot' || this.#place === 'return';
  }

  /** @returns where to go on: the newline that ends the data, negative, or the end of the chunk */
  pass(chunk: Buffer, from: number): { readonly at: number; readonly isEnd: boolean } {
    let at = from;
    while (at < chunk.length) {
      const byte = chunk[at];
      switch (this.#place) {
        case 'statement':
          if (byte === newline) this.#place = 'start';
          else if (byte !== 0x20 && byte !== carriageReturn) this.hasMore = true;
          at += 1;
          break;
        case 'start':
          this.#place = byte === backslash ? 'backslash' : 'row';
          if (byte === backslash) at += 1;
          break;
        case 'backslash':
          this.#place = byte === dot ? 'dot' : 'row';
          if (byte === dot) at += 1;
          break;
        case 'dot':
        case 'return':
          if (byte === newline) return { at, isEnd: true };
          if (byte === carriageReturn && this.#place === 'dot') {
            this.#place = 'return';
            at += 1;
          } else {
            this.#place = 'row';
          }
          break;
        default:
          at = this.#row(chunk, at);
      }
    }
    return { at, isEnd: false };
  }

  #row(chunk: Buffer, at: number): number {
    const found = chunk.indexOf(rowEnd, at);
    if (found !== -1) {
      this.#place = 'dot';
      return found + rowEnd.length;
    }
    // The last bytes may be the beginning of the mark.
    const { length } = chunk;
    const isHalf = length - 2 >= at && chunk[length - 2] === newline;
    if (isHalf && chunk[length - 1] === backslash) this.#place = 'backslash';
    else if (chunk[length - 1] === newline) this.#place = 'start';
    return length;
  }
}
