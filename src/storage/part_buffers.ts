/** Memory for the parts of uploads, used again and again: what is freed late would add up. */

/** How many buffers are kept for the next upload. */
const keptMax = 8;

/** Buffers of one size; when larger ones are asked for, the smaller ones go. */
export class PartBuffers {
  #kept: Buffer[] = [];

  /** A buffer of so many bytes, with anything in it. Its pages cost nothing until they are used. */
  take(bytes: number): Buffer {
    const kept = this.#kept.pop();
    if (kept !== undefined && kept.length === bytes) return kept;
    this.#kept = [];
    return Buffer.allocUnsafeSlow(bytes);
  }

  /** Gives one back that nobody uses any more. */
  give(buffer: Buffer): void {
    const [other] = this.#kept;
    const isOfTheSize = other === undefined || other.length === buffer.length;
    if (isOfTheSize && this.#kept.length < keptMax) this.#kept.push(buffer);
  }
}

/** Cuts a stream into pieces of given sizes. */
export class PartFiller {
  readonly #chunks: AsyncIterator<Buffer | Uint8Array | string>;
  #left: Buffer = Buffer.alloc(0);
  #isDone = false;

  constructor(body: AsyncIterable<Buffer | Uint8Array | string>) {
    this.#chunks = body[Symbol.asyncIterator]();
  }

  /** Whether everything was handed out; known for sure once {@link fill} gave less than asked. */
  get isDone(): boolean {
    return this.#isDone && this.#left.length === 0;
  }

  /**
   * Fills a buffer as far as the stream goes, and finds out whether more follows.
   *
   * @returns how many bytes are in it
   * @throws what the stream fails with
   */
  async fill(buffer: Buffer): Promise<number> {
    let filled = 0;
    for (;;) {
      const taken = this.#left.copy(buffer, filled);
      this.#left = this.#left.subarray(taken);
      filled += taken;
      // One chunk more than fits is awaited: whether this was the last part is known then.
      if (this.#left.length > 0 || this.#isDone) return filled;
      const { value, done } = await this.#chunks.next();
      if (done === true) this.#isDone = true;
      else
        this.#left =
          typeof value === 'string'
            ? Buffer.from(value)
            : Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    }
  }
}
