/** A short piece of a text that streams by, put together wherever the chunks are cut. */
export class KeptText {
  readonly #max: number;
  #parts: Buffer[] = [];
  #bytes = 0;
  /** In the current chunk: from where on it is kept; -1 for nothing. */
  #from = -1;

  /** @param max in bytes: a longer piece is not kept */
  constructor(max: number) {
    this.#max = max;
  }

  begin(at: number): void {
    this.#from = at;
  }

  /** At the end of a chunk. */
  carry(chunk: Buffer): void {
    if (this.#from === -1) return;
    this.#add(chunk, chunk.length);
    this.#from = 0;
  }

  #add(chunk: Buffer, end: number): void {
    const stop = Math.min(end, this.#from + this.#max + 1 - this.#bytes);
    if (stop <= this.#from) return;
    this.#parts.push(Buffer.from(chunk.subarray(this.#from, stop)));
    this.#bytes += stop - this.#from;
  }

  /** Ends the piece before a byte of this chunk. @returns `null` when it is too long */
  take(chunk: Buffer, end: number): string | null {
    let text: string | null;
    if (this.#parts.length === 0) {
      const isShort = end - this.#from <= this.#max;
      text = isShort ? chunk.toString('utf8', this.#from, end) : null;
    } else {
      this.#add(chunk, end);
      text = this.#bytes <= this.#max ? Buffer.concat(this.#parts).toString('utf8') : null;
    }
    this.drop();
    return text;
  }

  drop(): void {
    this.#parts = [];
    this.#bytes = 0;
    this.#from = -1;
  }
}
