/** The data of a custom-format archive: its chunks put together again, counted and hashed. */

import { createHash, type Hash } from 'node:crypto';
import type { RowLayout } from '../core/copy_columns.ts';
import {
  type ArchiveInput,
  intBytes,
  lengthMax,
  type PayloadSink,
  type Reading,
} from './archive_input.ts';
import { RowSumSink } from './archive_rows.ts';

/** Rows in COPY's text format, without the terminator. */
export interface CopyDigest {
  readonly rows: number;
  readonly bytes: number;
  /** SHA-256 in lower-case hexadecimal. */
  readonly sha256: string;
  /** What does not depend on the order of the rows (archive_rows.ts), where it was asked for. */
  readonly rowSum?: string;
}

/** All large objects of a dump, together. */
export interface LargeObjectsDigest {
  readonly count: number;
  readonly bytes: number;
  /**
   * The sum, modulo 2^256, of SHA-256(OID as 4 bytes, highest first, then the data) over all large
   * objects, in hexadecimal. A sum, because their order in the dump differs between versions of
   * pg_dump (by OID; from 17 on by owner and privileges first).
   */
  readonly sha256: string;
}

/** The types of a block of data (pg_backup_custom.c). */
export const blockData = 1;
export const blockLargeObjects = 3;

/** What pg_dump writes after the last row (`dumpTableData_copy` of pg_dump.c). */
const terminator = Buffer.from('\\.\n\n\n', 'latin1');
const terminatorNewlines = 3;
const newline = 0x0a;
const newlineWord = 0x0a0a_0a0a;

function countNewlinesByByte(bytes: Buffer, start: number, end: number): number {
  let count = 0;
  for (let at = start; at < end; at += 1) if (bytes[at] === newline) count += 1;
  return count;
}

/**
 * How many newlines there are in the range. Four bytes at a time: the usual trick for "has this
 * word a zero byte" passes over nearly all of them, four times as fast as byte by byte. `bytes`
 * begins at a multiple of four, as the window of ArchiveInput does.
 */
function countNewlines(bytes: Buffer, start: number, end: number): number {
  const firstWord = (start + 3) >> 2;
  const endWord = end >> 2;
  if (endWord <= firstWord) return countNewlinesByByte(bytes, start, end);
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, endWord);
  let count = countNewlinesByByte(bytes, start, firstWord << 2);
  for (let at = firstWord; at < endWord; at += 1) {
    const word = (words[at] ?? 0) ^ newlineWord;
    if (((word - 0x0101_0101) & ~word & 0x8080_8080) === 0) continue;
    count += countNewlinesByByte(bytes, at << 2, (at + 1) << 2);
  }
  return count + countNewlinesByByte(bytes, endWord << 2, end);
}

/**
 * Counts and hashes COPY's text rows. A row is a newline: COPY writes a newline inside of a value
 * as `\n`, and no client encoding has the byte inside of a character. Chunks are not counted:
 * that each holds one row is how pg_dump 18 does it, not what the format says.
 */
class CopyTextSink implements PayloadSink {
  readonly #hash = createHash('sha256');
  /** The last bytes so far, not hashed yet: the terminator, and the byte before it. */
  readonly #held = Buffer.alloc(terminator.length + 1);
  #heldBytes = 0;
  #bytes = 0;
  #newlines = 0;

  add(bytes: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    this.#newlines += countNewlines(bytes, start, end);
    const heldMax = this.#held.length;
    const holdFrom = Math.max(start, end - heldMax);
    const arriving = end - holdFrom;
    const leaving = Math.max(0, this.#heldBytes + arriving - heldMax);
    if (leaving > 0) {
      this.#hash.update(this.#held.subarray(0, leaving));
      this.#held.copyWithin(0, leaving, this.#heldBytes);
      this.#heldBytes -= leaving;
    }
    if (holdFrom > start) this.#hash.update(bytes.subarray(start, holdFrom));
    bytes.copy(this.#held, this.#heldBytes, holdFrom, end);
    this.#heldBytes += arriving;
  }

  /** The result, or `null` when the payload does not end as COPY's rows do. */
  finish(): CopyDigest | null {
    const held = this.#held.subarray(0, this.#heldBytes);
    const rowsEnd = held.length - terminator.length;
    if (rowsEnd < 0 || !held.subarray(rowsEnd).equals(terminator)) return null;
    if (rowsEnd > 0 && held[0] !== newline) return null;
    return {
      rows: this.#newlines - terminatorNewlines,
      bytes: this.#bytes - terminator.length,
      sha256: this.#hash.update(held.subarray(0, rowsEnd)).digest('hex'),
    };
  }
}

/** Counts and hashes large objects, one after the other. */
export class LargeObjectsSink implements PayloadSink {
  #hash: Hash | null = null;
  #count = 0;
  #bytes = 0;
  #sum = 0n;

  begin(oid: number): void {
    const identity = Buffer.alloc(4);
    identity.writeUInt32BE(oid);
    this.#hash = createHash('sha256').update(identity);
  }

  add(bytes: Buffer, start: number, end: number): void {
    this.#bytes += end - start;
    this.#hash?.update(bytes.subarray(start, end));
  }

  end(): void {
    if (this.#hash === null) return;
    this.#sum = BigInt.asUintN(256, this.#sum + BigInt(`0x${this.#hash.digest('hex')}`));
    this.#hash = null;
    this.#count += 1;
  }

  /** The large objects that ended so far. */
  finish(): LargeObjectsDigest {
    const sha256 = this.#sum.toString(16).padStart(64, '0');
    return { count: this.#count, bytes: this.#bytes, sha256 };
  }
}

/**
 * Moves the payload of as many chunks as have arrived together, in place, and hands it over in one
 * piece: up to pg_dump 18 every row is a chunk, and hashing each by itself would cost ten times
 * the hashing. `missing` is what the current chunk still lacks, at the start and in the result;
 * with 0 the next length is to be read.
 */
function gather(input: ArchiveInput, sink: PayloadSink, missing: number): number {
  const { bytes, view, end, offset: start } = input;
  let at = start;
  let to = start;
  let lacking = missing;
  for (;;) {
    const part = Math.min(lacking, end - at);
    if (to !== at) bytes.copyWithin(to, at, at + part);
    to += part;
    at += part;
    lacking -= part;
    if (lacking > 0 || end - at < intBytes) break;
    const length = view.getInt32(at + 1, true);
    // The end, and lengths that cannot be, are left to the caller.
    if (length <= 0 || view.getUint8(at) !== 0) break;
    lacking = length;
    at += intBytes;
  }
  input.offset = at;
  sink.add(bytes, start, to);
  return lacking;
}

/** Reads chunks of (length, bytes) up to the length 0. */
function* readChunks(input: ArchiveInput, sink: PayloadSink): Reading<void> {
  for (;;) {
    let missing = yield* input.int();
    if (missing === 0) return;
    if (missing < 0 || missing > lengthMax) throw input.malformed(`a chunk of ${missing} bytes`);
    while (missing > 0) {
      if (input.offset === input.end) yield* input.more();
      missing = gather(input, sink, missing);
    }
  }
}

/**
 * Passes over chunks up to the length 0. Those that have arrived whole are passed in one go: up to
 * pg_dump 18 every row is a chunk.
 */
export function* passChunks(input: ArchiveInput): Reading<void> {
  for (;;) {
    const { view, end } = input;
    let at = input.offset;
    while (end - at >= intBytes) {
      const length = view.getInt32(at + 1, true);
      if (length <= 0 || view.getUint8(at) !== 0 || end - at - intBytes < length) break;
      at += intBytes + length;
    }
    input.offset = at;
    const missing = yield* input.int();
    if (missing === 0) return;
    if (missing < 0 || missing > lengthMax) throw input.malformed(`a chunk of ${missing} bytes`);
    yield* input.skip(missing);
  }
}

/** Hands each piece to two sinks. */
class BothSinks implements PayloadSink {
  readonly #sinks: readonly [PayloadSink, PayloadSink];

  constructor(...sinks: readonly [PayloadSink, PayloadSink]) {
    this.#sinks = sinks;
  }

  add(bytes: Buffer, start: number, end: number): void {
    for (const sink of this.#sinks) sink.add(bytes, start, end);
  }
}

/**
 * Reads the block of a table, after its dump id.
 *
 * @param layout also sums up the rows, taken so
 */
export function* readTableData(
  input: ArchiveInput,
  layout: RowLayout | undefined,
): Reading<CopyDigest> {
  const sink = new CopyTextSink();
  const rows = layout === undefined ? null : new RowSumSink(layout);
  yield* readChunks(input, rows === null ? sink : new BothSinks(sink, rows));
  const digest = sink.finish();
  if (digest === null) throw input.malformed("rows without COPY's terminator");
  return rows === null ? digest : { ...digest, rowSum: rows.finish() };
}

/** Reads a block of large objects, after its dump id: (OID, chunks) up to the OID 0. */
export function* readLargeObjects(input: ArchiveInput, sink: LargeObjectsSink): Reading<void> {
  for (;;) {
    // An OID above 2^31 went through a C int and came out negative.
    const oid = (yield* input.int()) >>> 0;
    if (oid === 0) return;
    sink.begin(oid);
    yield* readChunks(input, sink);
    sink.end();
  }
}
