/** The rows of a table summed up so that their order does not matter. */

import { createHash, type Hash, hash } from 'node:crypto';
import type { RowLayout } from '../core/copy_columns.ts';
import type { PayloadSink } from './archive_input.ts';

const digestBytes = 32;
const tab = 0x09;
const newline = 0x0a;
/** What pg_dump writes after the last row are three lines more: `\.` and two empty ones. */
const terminatorLines = 3;

/** A digest as a string of 32 characters: four times as fast as a Buffer for so small results. */
function digestOf(bytes: Buffer): string {
  return hash('sha256', bytes, 'binary');
}

/** Adds up SHA-256 digests modulo 2^256. */
class DigestSum {
  /** One sum for each byte of the digests: far from 2^53 whatever the number of rows. */
  readonly #sums = new Float64Array(digestBytes);

  add(digest: string): void {
    for (let at = 0; at < digestBytes; at += 1) {
      this.#sums[at] = (this.#sums[at] ?? 0) + digest.charCodeAt(at);
    }
  }

  /** In hexadecimal, 64 digits. */
  result(): string {
    let sum = 0n;
    for (const each of this.#sums) sum = (sum << 8n) + BigInt(each);
    return BigInt.asUintN(256, sum).toString(16).padStart(64, '0');
  }
}

/** Digests pieces of one text after the other; in one go where a text comes in one piece. */
class TextDigest {
  #begun: Hash | null = null;

  addPart(part: Buffer): void {
    if (part.length === 0) return;
    this.#begun ??= createHash('sha256');
    this.#begun.update(part);
  }

  end(part: Buffer): string {
    if (this.#begun === null) return digestOf(part);
    const digest = this.#begun.update(part).digest('binary');
    this.#begun = null;
    return digest;
  }
}

/**
 * The sum, modulo 2^256, of one SHA-256 for each row: equal for the same rows in whatever order,
 * and for no others that chance could bring about. A row is digested as it is written; where a
 * layout is given, its fields are, and then their digests in the order of the layout, so that no
 * row is ever kept in memory. COPY's text has a tab or a newline in no value (manual, "COPY", "Text
 * Format"), so both are found without looking at what is between them.
 */
export class RowSumSink implements PayloadSink {
  readonly #layout: RowLayout;
  readonly #sum = new DigestSum();
  readonly #text = new TextDigest();
  /** The digests of the fields of this row so far. */
  #fields: string[] = [];
  /** The digests of the last lines: at the end they are the terminator's, and no rows. */
  readonly #last: string[] = [];

  constructor(layout: RowLayout) {
    this.#layout = layout;
  }

  add(bytes: Buffer, start: number, end: number): void {
    const piece = bytes.subarray(start, end);
    if (this.#layout === 'as written') this.#addLines(piece);
    else this.#addFields(piece, this.#layout);
  }

  #addLines(piece: Buffer): void {
    let from = 0;
    for (;;) {
      const to = piece.indexOf(newline, from);
      if (to < 0) break;
      this.#endRow(this.#text.end(piece.subarray(from, to)));
      from = to + 1;
    }
    this.#text.addPart(piece.subarray(from));
  }

  #addFields(piece: Buffer, layout: readonly number[]): void {
    let from = 0;
    for (let at = 0; at < piece.length; at += 1) {
      const byte = piece[at];
      if (byte !== tab && byte !== newline) continue;
      this.#fields.push(this.#text.end(piece.subarray(from, at)));
      from = at + 1;
      if (byte === tab) continue;
      const ordered = layout.map((index) => this.#fields[index] ?? '').join('');
      this.#endRow(digestOf(Buffer.from(ordered, 'latin1')));
      this.#fields = [];
    }
    this.#text.addPart(piece.subarray(from));
  }

  #endRow(digest: string): void {
    this.#last.push(digest);
    if (this.#last.length <= terminatorLines) return;
    const row = this.#last.shift();
    if (row !== undefined) this.#sum.add(row);
  }

  /** The sum of all rows, after the terminator, in hexadecimal. */
  finish(): string {
    return this.#sum.result();
  }
}
