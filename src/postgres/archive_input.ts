/** The bytes of a custom-format archive as they arrive, read by generators that wait for more. */

import { isUtf8 } from 'node:buffer';

/** Why an archive could not be read to its end. */
export type ArchiveProblemKind =
  | 'unknown-version'
  | 'not-an-archive'
  | 'compressed'
  | 'not-copy'
  | 'truncated'
  | 'malformed';

/** Ends the reading; `createArchiveReader` turns it into a value, it never reaches a caller. */
export class ArchiveProblem extends Error {
  readonly kind: ArchiveProblemKind;

  constructor(kind: ArchiveProblemKind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** A step of reading: it yields whenever it needs bytes that have not arrived yet. */
export type Reading<T> = Generator<void, T, void>;

/** Takes the payload of one block piece by piece; must not keep `bytes` after it returned. */
export interface PayloadSink {
  add(bytes: Buffer, start: number, end: number): void;
}

/** `WriteInt` of pg_backup_archiver.c: a sign byte, then `intSize` (4) bytes, lowest first. */
export const intBytes = 5;

/** `WriteInt` takes a C int, so no length is greater. */
export const lengthMax = 0x7fff_ffff;

/**
 * The longest string that is kept (names and tags). A name has 63 bytes, the tag of a function
 * with 100 arguments some 13 kB: a longer one is damage, and must not cost memory.
 */
const keptBytesMax = 1024 * 1024;

/** Bytes taken from a chunk at once: they stay in the processor's cache while they are read. */
const windowBytes = 128 * 1024;

/**
 * A window on the archive. It holds a copy, so that the reader may move payload together in place
 * and keeps no hold on a chunk of its caller.
 */
export class ArchiveInput {
  readonly bytes: Buffer = Buffer.from(new ArrayBuffer(windowBytes));
  readonly view = new DataView(this.bytes.buffer);
  /** The next byte to read, and the end of what has arrived, both in `bytes`. */
  offset = 0;
  end = 0;
  /** Set when no byte will come any more. */
  ended = false;
  /** How many bytes of the archive lie before the window. */
  #before = 0;
  /** What is being read, for the message about an archive that ends there. */
  place = 'the header';

  /** Takes over what fits of `chunk` from `from` on, once all before was read; says how much. */
  load(chunk: Buffer, from: number): number {
    this.#before += this.end;
    this.offset = 0;
    this.end = chunk.copy(this.bytes, 0, from, from + windowBytes);
    return this.end;
  }

  /** Where in the archive the next byte lies. */
  get position(): number {
    return this.#before + this.offset;
  }

  malformed(message: string): ArchiveProblem {
    return new ArchiveProblem('malformed', `${message} in ${this.place}`);
  }

  /** Whether the archive ends here; waits for the next byte to know. */
  *atEnd(): Reading<boolean> {
    while (this.offset === this.end) {
      if (this.ended) return true;
      yield;
    }
    return false;
  }

  /** Waits until there is at least one byte. */
  *more(): Reading<void> {
    if (yield* this.atEnd()) {
      throw new ArchiveProblem('truncated', `ends in the middle of ${this.place}`);
    }
  }

  *byte(): Reading<number> {
    if (this.offset === this.end) yield* this.more();
    const value = this.view.getUint8(this.offset);
    this.offset += 1;
    return value;
  }

  /** A C int as `WriteInt` wrote it. */
  *int(): Reading<number> {
    let sign: number;
    let magnitude: number;
    if (this.end - this.offset >= intBytes) {
      sign = this.view.getUint8(this.offset);
      magnitude = this.view.getUint32(this.offset + 1, true);
      this.offset += intBytes;
    } else {
      sign = yield* this.byte();
      magnitude = 0;
      for (let scale = 1; scale <= 0x100_0000; scale *= 256) {
        magnitude += (yield* this.byte()) * scale;
      }
    }
    // A zero has no sign: one that has is damage.
    if (sign > 1 || (sign === 1 && magnitude === 0)) {
      throw this.malformed(`the number ${magnitude} with the sign byte ${sign}`);
    }
    return sign === 1 ? -magnitude : magnitude;
  }

  *skip(bytes: number): Reading<void> {
    let missing = bytes;
    while (missing > 0) {
      if (this.offset === this.end) yield* this.more();
      const part = Math.min(missing, this.end - this.offset);
      this.offset += part;
      missing -= part;
    }
  }

  /**
   * A string as `WriteStr` wrote it; `null` for a NULL (a negative length). It is in the dump's
   * client encoding: bytes that are no UTF-8 are taken as LATIN1, so that no two become one.
   */
  *text(): Reading<string | null> {
    const length = yield* this.int();
    if (length < 0) return null;
    if (length > keptBytesMax) throw this.malformed(`a name of ${length} bytes`);
    const text = Buffer.alloc(length);
    let filled = 0;
    while (filled < length) {
      if (this.offset === this.end) yield* this.more();
      const part = this.bytes.copy(text, filled, this.offset, this.end);
      this.offset += part;
      filled += part;
    }
    return isUtf8(text) ? text.toString('utf8') : text.toString('latin1');
  }

  /** Passes over a string of any length; gives its length in bytes, negative for NULL. */
  *skipText(): Reading<number> {
    const length = yield* this.int();
    if (length > lengthMax) throw this.malformed(`a string of ${length} bytes`);
    yield* this.skip(length);
    return length;
  }
}

/** A reading that goes on with each chunk. */
export interface DrivenReading {
  /** Takes the next bytes; keeps no hold on `chunk`, and never throws for what they are. */
  update(chunk: Buffer): void;
  /** After the last chunk: why the reading stopped before the end; `null`: it did not. */
  finish(): ArchiveProblem | null;
}

/** Lets a reading of `input` go on as its bytes arrive, up to its end or to a problem. */
export function driveReading(input: ArchiveInput, reading: Reading<void>): DrivenReading {
  let stopped = false;
  let problem: ArchiveProblem | null = null;

  const step = (): void => {
    try {
      stopped = reading.next().done === true;
    } catch (error) {
      if (!(error instanceof ArchiveProblem)) throw error;
      stopped = true;
      problem = error;
    }
  };

  return {
    update(chunk) {
      for (let taken = 0; taken < chunk.length && !stopped; ) {
        taken += input.load(chunk, taken);
        step();
      }
    },
    finish() {
      input.ended = true;
      if (!stopped) step();
      return problem;
    },
  };
}
