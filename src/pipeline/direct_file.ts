/**
 * Writes large files past the page cache (open(2), O_DIRECT): their bytes go to the disk as they
 * come, several pieces at once, and nothing is left for a sync at the end. Where that is not to be
 * had (some file systems, some systems) they are written as all others are.
 */

import { closeSync, constants, ftruncate, openSync, write } from 'node:fs';
import { promisify } from 'node:util';
import { errorNumber } from '../process/durable.ts';

const writePiece = promisify(write);
const truncate = promisify(ftruncate);

/** Of the file's length at each write, and of the memory that it comes from; a page is enough. */
const alignmentBytes = 4096;
const pieceBytes = 1024 * 1024;
/** So many pieces may be on their way to the disk at once. */
const pieces = 4;
const wasmPageBytes = 64 * 1024;

/** The engine's, as far as it is used here: its memory begins at a page of the machine. */
declare const WebAssembly: {
  readonly Memory: new (size: {
    readonly initial: number;
    readonly maximum: number;
  }) => { readonly buffer: ArrayBuffer };
};

/** Memory that is aligned; `null` where there is none to be had. */
function alignedPieces(): Buffer[] | null {
  try {
    const size = (pieces * pieceBytes) / wasmPageBytes;
    const { buffer } = new WebAssembly.Memory({ initial: size, maximum: size });
    return Array.from({ length: pieces }, (_, index) =>
      Buffer.from(buffer, index * pieceBytes, pieceBytes),
    );
  } catch {
    // It reserves addresses, which may be limited (ulimit -v).
    return null;
  }
}

/** A file that is being written, from its beginning. */
export interface DirectFile {
  /** Takes the next bytes, which nobody looks at when it resolves. @throws Node's errors */
  append(data: Buffer): Promise<void>;
  /** Resolves when all of it is with the disk. @throws Node's errors */
  end(): Promise<void>;
  /** Stops; resolves when nothing is on its way any more. */
  abandon(): Promise<void>;
}

/** Writes files, one after the other or several at once, out of the same few pieces of memory. */
export interface DirectWriter {
  /**
   * Begins to write a file.
   *
   * @param fd of a new and empty one, open for writing; the caller closes it after the end
   * @returns `null`: it has to be written in the ordinary way
   */
  begin(fd: number): DirectFile | null;
}

/** What the files of one writer share. */
class Pool {
  readonly #idle: Buffer[];
  readonly #waiting: ((piece: Buffer) => void)[] = [];
  /** Whether a file system has said no: it is not asked again. */
  isRefused = false;

  constructor(idle: Buffer[]) {
    this.#idle = idle;
  }

  take(): Promise<Buffer> {
    const piece = this.#idle.pop();
    if (piece !== undefined) return Promise.resolve(piece);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  give(piece: Buffer): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(piece);
    else next(piece);
  }
}

class PooledFile implements DirectFile {
  readonly #pool: Pool;
  /** The same file in the ordinary way: for its length, and where a direct write is refused. */
  readonly #fd: number;
  readonly #directFd: number;
  #piece: Buffer | null = null;
  #filled = 0;
  /** Bytes of the file before the piece. */
  #position = 0;
  #failure: unknown = null;
  readonly #writes = new Set<Promise<void>>();

  constructor(pool: Pool, fd: number, directFd: number) {
    this.#pool = pool;
    this.#fd = fd;
    this.#directFd = directFd;
  }

  async append(data: Buffer): Promise<void> {
    for (let at = 0; at < data.length; ) {
      const piece = this.#piece ?? (await this.#pool.take());
      this.#piece = piece;
      if (this.#failure !== null) throw this.#failure;
      const taken = data.copy(piece, this.#filled, at);
      at += taken;
      this.#filled += taken;
      if (this.#filled === pieceBytes) this.#send(piece, pieceBytes);
    }
  }

  async end(): Promise<void> {
    const bytes = this.#position + this.#filled;
    if (this.#piece !== null) {
      const rounded = Math.ceil(this.#filled / alignmentBytes) * alignmentBytes;
      this.#send(this.#piece.fill(0, this.#filled, rounded), rounded);
    }
    await this.#settle();
    if (this.#failure !== null) throw this.#failure;
    if (bytes % alignmentBytes !== 0) await truncate(this.#fd, bytes);
  }

  async abandon(): Promise<void> {
    this.#failure ??= new Error('abandoned');
    await this.#settle();
    if (this.#piece !== null) this.#pool.give(this.#piece);
    this.#piece = null;
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#writes);
    closeSync(this.#directFd);
  }

  /** Hands the piece over; whoever calls next hears of a failure. */
  #send(piece: Buffer, bytes: number): void {
    const position = this.#position;
    this.#position += this.#filled;
    this.#piece = null;
    this.#filled = 0;
    const written = this.#writeAll(piece.subarray(0, bytes), position)
      .catch((error: unknown) => {
        this.#failure ??= error;
      })
      .then(() => {
        this.#pool.give(piece);
        this.#writes.delete(written);
      });
    this.#writes.add(written);
  }

  async #writeAll(bytes: Buffer, position: number): Promise<void> {
    let fd = this.#directFd;
    for (let at = 0; at < bytes.length; ) {
      try {
        at += (await writePiece(fd, bytes, at, bytes.length - at, position + at)).bytesWritten;
      } catch (error) {
        if (errorNumber(error) !== 'EINVAL' || fd === this.#fd) throw error;
        this.#pool.isRefused = true;
        fd = this.#fd;
      }
    }
  }
}

/** What says that this file system, or this machine, has no such thing. */
const refusals = new Set(['EINVAL', 'ENOENT', 'ENOTSUP', 'EOPNOTSUPP', 'EACCES', 'EPERM']);

/** Gets ready to write files so; memory is taken with the first one. */
export function createDirectWriter(): DirectWriter {
  let pool: Pool | null = null;
  let isImpossible = constants.O_DIRECT === undefined;
  return {
    begin(fd) {
      if (isImpossible || pool?.isRefused === true) return null;
      const memory = pool === null ? alignedPieces() : [];
      isImpossible = memory === null;
      if (memory === null) return null;
      pool ??= new Pool(memory);
      try {
        // Linux alone has both the folder and the flag. The path may be another file by now.
        const directFd = openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_DIRECT);
        return new PooledFile(pool, fd, directFd);
      } catch (error) {
        if (!refusals.has(errorNumber(error) ?? '')) throw error;
        pool.isRefused = true;
        return null;
      }
    },
  };
}
