/**
 * Unpacks a tar archive as it streams by. The files are written by other threads (libuv's) while
 * this one looks at what comes next: a program would have every byte carried to it first.
 */

import {
  chmodSync,
  closeSync,
  fchmodSync,
  fdatasync,
  futimesSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writev,
} from 'node:fs';
import { Writable } from 'node:stream';
import { promisify } from 'node:util';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { pathBytes } from '../core/server_manifest.ts';
import { errorNumber } from '../process/durable.ts';
import { createDirectWriter, type DirectFile } from './direct_file.ts';
import {
  createTarReader,
  requireInside,
  type TarMember,
  type TarStart,
  type TarTaker,
} from './tar_reader.ts';

const writeGathered = promisify(writev);
const flush = promisify(fdatasync);

/** A file of so many bytes is written past the page cache, where that can be done. */
const directBytesMin = 1024 * 1024;
/** Else one of so many bytes is brought to the disk while the next ones are unpacked. */
const flushedBytesMin = 4 * 1024 * 1024;
/** So many of them at once: the threads are few, and one has to write. */
const flushesMax = 2;
/** No call takes more pieces (IOV_MAX of Linux). */
const piecesMax = 1024;
const permissions = 0o7777;

/** A file that is being written. */
interface OpenFile {
  readonly fd: number;
  readonly modifiedSeconds: number;
  readonly bytes: number;
  /** `null`: it is written in the ordinary way. */
  readonly direct: DirectFile | null;
}

interface Folder {
  readonly path: Buffer;
  readonly mode: number;
  readonly modifiedSeconds: number;
}

/** What is done in order, as the archive tells it. */
type Step =
  | { readonly kind: 'open'; readonly path: Buffer; readonly start: TarStart }
  | { readonly kind: 'write'; readonly pieces: Buffer[] }
  | { readonly kind: 'close' };

const damaged = (why: string) => new HoldfastError('DAMAGED', why);

/** A new file always: no link that lies there is followed. */
function openNew(path: Buffer): number {
  try {
    return openSync(path, 'wx', 0o600);
  } catch (error) {
    if (errorNumber(error) !== 'EEXIST') throw error;
    unlinkSync(path);
    return openSync(path, 'wx', 0o600);
  }
}

/** Writes all of the pieces: writev(2) may take a part of them. */
async function writeAll(fd: number, pieces: readonly Buffer[]): Promise<void> {
  let left = [...pieces];
  while (left.length > 0) {
    let { bytesWritten } = await writeGathered(fd, left.slice(0, piecesMax));
    left = left.flatMap((piece) => {
      const taken = Math.min(bytesWritten, piece.length);
      bytesWritten -= taken;
      return taken === piece.length ? [] : [piece.subarray(taken)];
    });
  }
}

class TarUnpacker extends Writable {
  readonly #folder: Buffer;
  readonly #reader = createTarReader({
    digests: false,
    onStart: (start) => this.#guard(() => this.#start(start)),
    onMember: (member) => this.#guard(() => this.#end(member)),
  });
  #steps: Step[] = [];
  #file: OpenFile | null = null;
  #failure: unknown = null;
  /** Their modes and times are set at the end: what is put into them changes both. */
  readonly #folders: Folder[] = [];
  /** Made at the end: nothing is written through one. */
  readonly #links: { readonly path: Buffer; readonly target: Buffer }[] = [];
  readonly #flushes = new Set<Promise<void>>();
  readonly #direct = createDirectWriter();

  constructor(folder: string) {
    super({ highWaterMark: 1024 * 1024 });
    this.#folder = Buffer.from(`${folder}/`);
  }

  override _write(piece: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#take([piece]).then(() => done(), done);
  }

  override _writev(
    pieces: readonly { readonly chunk: Buffer }[],
    done: (error?: Error | null) => void,
  ): void {
    this.#take(pieces.map(({ chunk }) => chunk)).then(() => done(), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finish().then(() => done(), done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const file = this.#file;
    this.#file = null;
    Promise.allSettled([...this.#flushes, file?.direct?.abandon()]).then(() => {
      if (file !== null) closeSync(file.fd);
      done(error);
    });
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  #path(path: string): Buffer {
    requireInside(path);
    return Buffer.concat([this.#folder, pathBytes(path)]);
  }

  #start(start: TarStart): TarTaker | null {
    const { path, kind, mode, modifiedSeconds } = start;
    if (path === '' || path === '.') return null;
    if (kind === 'other') throw damaged(`the archive has no file at ${JSON.stringify(path)}`);
    if (kind === 'folder') this.#makeFolder({ path: this.#path(path), mode, modifiedSeconds });
    if (kind !== 'file') return null;
    this.#steps.push({ kind: 'open', path: this.#path(path), start });
    return (data) => {
      const last = this.#steps.at(-1);
      if (last?.kind === 'write') last.pieces.push(data);
      else this.#steps.push({ kind: 'write', pieces: [data] });
    };
  }

  #makeFolder(folder: Folder): void {
    try {
      mkdirSync(folder.path, { mode: 0o700 });
    } catch (error) {
      if (errorNumber(error) !== 'EEXIST') throw error;
    }
    this.#folders.push(folder);
  }

  #end({ path, kind, target }: TarMember): void {
    if (kind === 'file') this.#steps.push({ kind: 'close' });
    if (kind === 'symlink') {
      this.#links.push({ path: this.#path(path), target: pathBytes(target) });
    }
  }

  /** Reads what the pieces hold, then does it: the pieces are not used again before that. */
  async #take(pieces: readonly Buffer[]): Promise<void> {
    try {
      for (const piece of pieces) this.#reader.update(piece);
      if (this.#failure !== null) throw this.#failure;
      const steps = this.#steps;
      this.#steps = [];
      for (const step of steps) await this.#do(step);
    } catch (error) {
      throw toHoldfastError(error, 'unpacking');
    }
  }

  async #do(step: Step): Promise<void> {
    if (step.kind === 'open') {
      const { mode, bytes, modifiedSeconds } = step.start;
      const fd = openNew(step.path);
      const direct = bytes < directBytesMin ? null : this.#direct.begin(fd);
      this.#file = { fd, bytes, modifiedSeconds, direct };
      fchmodSync(fd, mode & permissions);
    } else if (this.#file !== null) {
      const { fd, direct } = this.#file;
      if (step.kind === 'close') await this.#close(this.#file);
      else if (direct === null) await writeAll(fd, step.pieces);
      else for (const piece of step.pieces) await direct.append(piece);
    }
  }

  async #close({ fd, bytes, modifiedSeconds, direct }: OpenFile): Promise<void> {
    this.#file = null;
    const setTime = () => futimesSync(fd, modifiedSeconds, modifiedSeconds);
    if (direct === null && bytes < flushedBytesMin) {
      setTime();
      closeSync(fd);
      return;
    }
    if (this.#flushes.size >= flushesMax) await Promise.race(this.#flushes);
    const toDisk = direct === null ? flush(fd) : direct.end();
    const flushed = toDisk.then(setTime).finally(() => closeSync(fd));
    // Whoever waits for one hears of a failure; all are waited for at the end.
    flushed.catch((error: unknown) => {
      this.#failure ??= error;
    });
    const settled = flushed.catch(() => undefined).then(() => void this.#flushes.delete(settled));
    this.#flushes.add(settled);
  }

  async #finish(): Promise<void> {
    try {
      this.#reader.finish();
      await Promise.all(this.#flushes);
      if (this.#failure !== null) throw this.#failure;
      for (const { path, target } of this.#links) symlinkSync(target, path);
      for (const { path, mode, modifiedSeconds } of this.#folders.toReversed()) {
        utimesSync(path, modifiedSeconds, modifiedSeconds);
        chmodSync(path, mode & permissions);
      }
    } catch (error) {
      throw toHoldfastError(error, 'unpacking');
    }
  }
}

/**
 * Begins to unpack an archive as `tar --extract --preserve-permissions --no-same-owner` does:
 * files, folders and symbolic links, with their modes and times. A file that lies there already is
 * replaced. The bytes of large files are with the disk at the end; the caller makes all of it safe.
 *
 * @param folder exists; when the stream fails some files lie in it
 * @returns takes the archive. It fails with HoldfastError DAMAGED for what is no whole archive, or
 *   leads out of the folder, and NO_SPACE
 */
export function createTarUnpacker(folder: string): Writable {
  return new TarUnpacker(folder);
}
