/**
 * Reads a tar archive as it streams by: the name, size and digest of each member, and the bytes of
 * small ones. It knows what POSIX (ustar, pax) and GNU tar write, and what PostgreSQL does
 * (src/port/tar.c): ustar with sizes in base 256 where eight octal digits do not hold them.
 */

import { createHash, type Hash } from 'node:crypto';
import { HoldfastError } from '../core/errors.ts';
import { pathText } from '../core/server_manifest.ts';
import type { Observer } from './measure.ts';

/** What a member is. */
export type TarKind = 'file' | 'folder' | 'symlink' | 'other';

/** One member of an archive. */
export interface TarMember {
  /** Without `./` before and `/` behind. */
  readonly path: string;
  readonly kind: TarKind;
  /** Of its data. */
  readonly bytes: number;
  /** Of its data, in lower-case hexadecimal; empty where nobody wanted the data. */
  readonly sha256: string;
  /** Where a symbolic link points, else empty. */
  readonly target: string;
  /** Its data, where it was asked for. */
  readonly content: Buffer | null;
}

/** A member whose data is about to pass. */
export interface TarStart extends Pick<TarMember, 'path' | 'kind' | 'bytes'> {
  /** Its permissions. */
  readonly mode: number;
  /** When it was last written: seconds since 1970. */
  readonly modifiedSeconds: number;
}

/** Takes the data of a member, in pieces that are no longer good when it returns. */
export type TarTaker = (data: Buffer) => void;

export interface TarReaderOptions {
  /** Called for each member when its last byte has passed. */
  readonly onMember: (member: TarMember) => void;
  /**
   * Called for each member before its data: gives what takes the data; `null` where nobody wants
   * it, and then its digest is not told either.
   */
  readonly onStart?: (start: TarStart) => TarTaker | null;
  /** Whether digests are told at all; they are unless told. */
  readonly digests?: boolean;
  /** Whether the data of a member is kept in memory; none is unless told. */
  readonly keep?: (path: string) => boolean;
  /** A larger one that is to be kept is damage; 1 GiB unless told. */
  readonly keptBytesMax?: number;
}

/** Reads what it is shown; memory does not grow with the archive. */
export interface TarReader extends Observer {
  /**
   * To be called after the last byte.
   *
   * @returns how many members there were
   * @throws HoldfastError DAMAGED when the bytes are no whole tar archive
   */
  finish(): number;
}

const blockBytes = 512;
/** No name and no extended header is longer. */
const headerBytesMax = 1024 * 1024;
const keptBytesMaxDefault = 1024 * 1024 * 1024;

/** The fields of a header block (POSIX, "pax", "ustar Interchange Format"). */
interface Header {
  readonly path: Buffer;
  readonly target: Buffer;
  readonly bytes: number;
  readonly mode: number;
  readonly modifiedSeconds: number;
  readonly type: string;
}

const damaged = (why: string) => new HoldfastError('DAMAGED', `is no whole tar archive: ${why}`);

/** Bytes up to the first NUL. */
function textField(block: Buffer, start: number, length: number): Buffer {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return end === -1 ? field : field.subarray(0, end);
}

/** A number in octal digits, or in base 256 where its first bit is set (GNU, and POSIX since). */
function numberField(block: Buffer, start: number, length: number): number {
  const field = block.subarray(start, start + length);
  if (((field[0] ?? 0) & 0x80) === 0) {
    const text = field.toString('latin1').replace(/[\0 ].*$/s, '');
    const digits = text === '' ? field.toString('latin1').replaceAll(/[\0 ]/g, '') : text;
    if (!/^[0-7]*$/.test(digits)) throw damaged('a number in a header is none');
    return digits === '' ? 0 : Number.parseInt(digits, 8);
  }
  let value = BigInt((field[0] ?? 0) & 0x7f);
  for (const byte of field.subarray(1)) value = value * 256n + BigInt(byte);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged('a member is too large to be true');
  return Number(value);
}

function parseHeader(block: Buffer): Header {
  let sum = 8 * 0x20;
  for (let at = 0; at < blockBytes; at += 1) {
    if (at < 148 || at >= 156) sum += block[at] ?? 0;
  }
  if (numberField(block, 148, 8) !== sum) throw damaged('a header differs from its checksum');
  const name = textField(block, 0, 100);
  // GNU's own header has other things where POSIX has the front of the path.
  const isPosix = block.toString('latin1', 257, 263) === 'ustar\0';
  const prefix = isPosix ? textField(block, 345, 155) : Buffer.alloc(0);
  const path = prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from('/'), name]);
  return {
    // The block is used again.
    path: Buffer.from(path),
    target: Buffer.from(textField(block, 157, 100)),
    bytes: numberField(block, 124, 12),
    mode: numberField(block, 100, 8),
    modifiedSeconds: numberField(block, 136, 12),
    type: block.toString('latin1', 156, 157),
  };
}

/** The records of an extended header: `<length> <key>=<value>\n` (POSIX, "pax"). */
function parseRecords(data: Buffer): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at);
    const length = Number(data.toString('latin1', at, space));
    const end = at + length;
    const equals = data.indexOf(0x3d, space);
    const isRecord =
      space > at && Number.isInteger(length) && equals > space && equals < end && end > at;
    if (!isRecord || end > data.length || data[end - 1] !== 0x0a) {
      throw damaged('an extended header cannot be read');
    }
    records.set(data.toString('utf8', space + 1, equals), data.subarray(equals + 1, end - 1));
    at = end;
  }
  return records;
}

function kindOf(type: string): TarKind {
  if (type === '0' || type === '\0' || type === '7') return 'file';
  if (type === '5') return 'folder';
  return type === '2' ? 'symlink' : 'other';
}

function cleanPath(bytes: Buffer): string {
  return pathText(bytes)
    .replace(/^(?:\.\/+)+/, '')
    .replace(/\/+$/, '');
}

/** What a member is given by the headers before its own. */
interface Extension {
  path?: Buffer;
  target?: Buffer;
  bytes?: number;
}

/** A member whose data is passing. */
interface Passing {
  readonly header: Header;
  readonly path: string;
  /** `null`: nobody wants its digest. */
  readonly hash: Hash | null;
  readonly take: TarTaker | null;
  /** `null`: not kept. */
  readonly chunks: Buffer[] | null;
  /** Of the data, and then of what fills the last block. */
  left: number;
}

/** An extended header, which is about the next member. */
function isExtension({ type }: Header): boolean {
  return type === 'L' || type === 'K' || type === 'x' || type === 'g';
}

class StreamingTarReader implements TarReader {
  readonly #options: TarReaderOptions;
  readonly #block = Buffer.alloc(blockBytes);
  #filled = 0;
  #passing: Passing | null = null;
  #padding = 0;
  #zeroBlocks = 0;
  #members = 0;
  #next: Extension = {};
  #forAll: Extension = {};
  #problem: HoldfastError | null = null;

  constructor(options: TarReaderOptions) {
    this.#options = options;
  }

  update(chunk: Buffer): void {
    if (this.#problem !== null) return;
    try {
      for (let at = 0; at < chunk.length; ) at += this.#take(chunk.subarray(at));
    } catch (error) {
      // A throw here would end the process: whoever asks for the end hears of it.
      this.#problem = error instanceof HoldfastError ? error : damaged((error as Error).message);
    }
  }

  finish(): number {
    if (this.#problem !== null) throw this.#problem;
    const isAtEnd = this.#zeroBlocks >= 2 && this.#filled === 0 && this.#passing === null;
    if (!isAtEnd) throw damaged('it is cut');
    return this.#members;
  }

  /** @returns how many bytes of the chunk were taken: at least one */
  #take(chunk: Buffer): number {
    if (this.#passing !== null) return this.#takeData(this.#passing, chunk);
    if (this.#padding > 0) {
      const taken = Math.min(this.#padding, chunk.length);
      this.#padding -= taken;
      return taken;
    }
    const taken = Math.min(blockBytes - this.#filled, chunk.length);
    chunk.copy(this.#block, this.#filled, 0, taken);
    this.#filled += taken;
    if (this.#filled === blockBytes) {
      this.#filled = 0;
      this.#takeBlock();
    }
    return taken;
  }

  #takeBlock(): void {
    if (this.#block.every((byte) => byte === 0)) {
      this.#zeroBlocks += 1;
      return;
    }
    if (this.#zeroBlocks > 0) throw damaged('something follows its end');
    const header = this.#extended(parseHeader(this.#block));
    const path = cleanPath(header.path);
    const { keep, keptBytesMax = keptBytesMaxDefault } = this.#options;
    const isKept = isExtension(header) || (kindOf(header.type) === 'file' && keep?.(path) === true);
    const bytesMax = isExtension(header) ? headerBytesMax : keptBytesMax;
    if (isKept && header.bytes > bytesMax) throw damaged(`${path} has ${header.bytes} bytes`);
    const chunks = isKept ? [] : null;
    const take = isExtension(header) ? null : this.#start(header, path);
    const { digests = true, onStart } = this.#options;
    const isWanted = digests && (take !== null || onStart === undefined);
    const hash = isWanted ? createHash('sha256') : null;
    this.#passing = { header, path, hash, take, chunks, left: header.bytes };
    if (header.bytes === 0) this.#endMember(this.#passing);
  }

  #start(header: Header, path: string): TarTaker | null {
    const { bytes, mode, modifiedSeconds, type } = header;
    const kind = kindOf(type);
    return this.#options.onStart?.({ path, kind, bytes, mode, modifiedSeconds }) ?? null;
  }

  /** The header of a member with what the headers before it have said. */
  #extended(header: Header): Header {
    if (isExtension(header)) return header;
    const extended = { ...header, ...this.#forAll, ...this.#next };
    this.#next = {};
    return extended;
  }

  #takeData(passing: Passing, chunk: Buffer): number {
    const data = chunk.subarray(0, passing.left);
    passing.hash?.update(data);
    passing.take?.(data);
    // A view would keep the whole chunk in memory.
    passing.chunks?.push(Buffer.from(data));
    passing.left -= data.length;
    if (passing.left === 0) this.#endMember(passing);
    return data.length;
  }

  #endMember({ header, path, hash, chunks }: Passing): void {
    this.#passing = null;
    this.#padding = (blockBytes - (header.bytes % blockBytes)) % blockBytes;
    const content = chunks === null ? null : Buffer.concat(chunks);
    if (isExtension(header)) {
      this.#endExtension(header.type, content ?? Buffer.alloc(0));
      return;
    }
    this.#members += 1;
    const { bytes, type } = header;
    const target = pathText(header.target);
    const sha256 = hash?.digest('hex') ?? '';
    this.#options.onMember({ path, kind: kindOf(type), bytes, sha256, target, content });
  }

  #endExtension(type: string, content: Buffer): void {
    if (type === 'L') this.#next.path = textField(content, 0, content.length);
    else if (type === 'K') this.#next.target = textField(content, 0, content.length);
    else {
      const extension = type === 'g' ? this.#forAll : this.#next;
      const records = parseRecords(content);
      const [path, target, size] = ['path', 'linkpath', 'size'].map((key) => records.get(key));
      if (path !== undefined) extension.path = path;
      if (target !== undefined) extension.target = target;
      if (size !== undefined) extension.bytes = Number(size.toString('latin1'));
      if (size !== undefined && !Number.isSafeInteger(extension.bytes)) {
        throw damaged('an extended header has no size');
      }
    }
  }
}

/** Begins to read an archive. */
export function createTarReader(options: TarReaderOptions): TarReader {
  return new StreamingTarReader(options);
}

/**
 * Nothing in an archive is written outside of the folder that it is unpacked into.
 *
 * @param path of a member
 * @throws HoldfastError DAMAGED
 */
export function requireInside(path: string): void {
  const isOutside = path === '' || path.startsWith('/') || path.split('/').includes('..');
  if (!isOutside) return;
  const name = JSON.stringify(path);
  throw new HoldfastError('DAMAGED', `the archive has a member that leads out: ${name}`);
}
