/** What stands between quotes of some kind, passed over by the rules of psql's psqlscan.l. */

const backslash = 0x5c;
const quote = 0x27;
const doubleQuote = 0x22;
const dollar = 0x24;
const slash = 0x2f;
const star = 0x2a;

/** A string, one whose backslashes mean something, a name, `$tag$ … $tag$`, or a block comment. */
export type QuotedKind = 'plain' | 'escape' | 'name' | 'dollar' | 'comment';

/** Passes over one quoted thing at a time, wherever the chunks are cut. */
export class SqlQuoted {
  kind: QuotedKind = 'plain';
  /**
   * The string ended with an odd number of backslashes: whoever had switched
   * `standard_conforming_strings` off would read on.
   */
  isAmbiguous = false;
  #backslashes = 0;
  #isMaybeEnd = false;
  #tag = '';
  #matched = 0;
  #depth = 0;
  #previous = 0;

  /** @param tag with `dollar`: the delimiter, with both its dollar signs */
  open(kind: QuotedKind, tag = ''): void {
    this.kind = kind;
    this.isAmbiguous = false;
    this.#backslashes = 0;
    this.#isMaybeEnd = false;
    this.#tag = tag;
    this.#matched = 0;
    this.#depth = 1;
    this.#previous = 0;
  }

  /** Whether the text may end here: an escape string is over unless one more quote follows. */
  get mayEnd(): boolean {
    return this.#isMaybeEnd;
  }

  /** @returns the first byte after it, or -1 when it does not end in this chunk */
  pass(chunk: Buffer, from: number): number {
    switch (this.kind) {
      case 'plain':
        return this.#plain(chunk, from);
      case 'escape':
        return this.#escape(chunk, from);
      case 'name':
        return chunk.indexOf(doubleQuote, from) + 1 || -1;
      case 'dollar':
        return this.#dollar(chunk, from);
      default:
        return this.#comment(chunk, from);
    }
  }

  #plain(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (byte === quote) {
        this.isAmbiguous = this.#backslashes % 2 === 1;
        return at + 1;
      }
      this.#backslashes = byte === backslash ? this.#backslashes + 1 : 0;
    }
    return -1;
  }

  #escape(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#isMaybeEnd) {
      // Two quotes are one inside of the string.
      if (chunk[at] !== quote) return at;
      this.#isMaybeEnd = false;
      at += 1;
    }
    for (; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (byte === quote && this.#backslashes % 2 === 0) {
        if (chunk[at + 1] === quote) at += 1;
        else if (at + 1 < chunk.length) return at + 1;
        else this.#isMaybeEnd = true;
      }
      this.#backslashes = byte === backslash ? this.#backslashes + 1 : 0;
    }
    return -1;
  }

  #dollar(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at];
      if (byte === this.#tag.charCodeAt(this.#matched)) this.#matched += 1;
      else this.#matched = byte === dollar ? 1 : 0;
      if (this.#matched === this.#tag.length) return at + 1;
    }
    return -1;
  }

  #comment(chunk: Buffer, from: number): number {
    for (let at = from; at < chunk.length; at += 1) {
      const byte = chunk[at] as number;
      if (byte === slash && this.#previous === star) {
        this.#depth -= 1;
        this.#previous = 0;
        if (this.#depth === 0) return at + 1;
        continue;
      }
      const isNested = byte === star && this.#previous === slash;
      if (isNested) this.#depth += 1;
      this.#previous = isNested ? 0 : byte;
    }
    return -1;
  }
}
