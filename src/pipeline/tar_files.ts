/** Writes members of a tar archive as files while it streams by: only those that are wanted. */

import {
  chmodSync,
  closeSync,
  fchmodSync,
  futimesSync,
  lstatSync,
  mkdirSync,
  openSync,
  writeSync,
} from 'node:fs';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { pathBytes } from '../core/server_manifest.ts';
import { joinBytes } from '../process/file_tree.ts';
import type { Observer } from './measure.ts';
import { createTarReader, requireInside, type TarStart, type TarTaker } from './tar_reader.ts';

export interface TarFilesOptions {
  /** Exists. */
  readonly folder: string;
  /** Where a file goes below the folder; `null`: it is not written. */
  readonly placeOf: (path: string) => string | null;
  /** What a file that was written has to be; `undefined` where nobody knows. */
  readonly expected: (path: string) => { readonly sha256: string } | undefined;
}

/** Writes files as it is shown their archive. Whatever goes wrong ends the stream at once. */
export interface TarFiles extends Observer {
  /** To be called after the last byte. @throws HoldfastError DAMAGED */
  finish(): void;
  /** How many bytes of files were written. */
  writtenBytes(): number;
  /** To be called when the stream has failed. */
  abandon(): void;
}

const damaged = (why: string) => new HoldfastError('DAMAGED', why);

class WritingTarFiles implements TarFiles {
  readonly #options: TarFilesOptions;
  readonly #reader = createTarReader({
    onStart: (start) => this.#guard(() => this.#start(start)),
    onMember: ({ path, kind, sha256 }) => this.#guard(() => this.#end(path, kind, sha256)),
  });
  #file: { readonly fd: number; readonly modifiedSeconds: number } | null = null;
  #failure: HoldfastError | null = null;
  #writtenBytes = 0;

  constructor(options: TarFilesOptions) {
    this.#options = options;
  }

  update(chunk: Buffer): void {
    this.#reader.update(chunk);
    if (this.#failure !== null) throw this.#failure;
  }

  finish(): void {
    this.#reader.finish();
  }

  writtenBytes(): number {
    return this.#writtenBytes;
  }

  abandon(): void {
    if (this.#file !== null) closeSync(this.#file.fd);
    this.#file = null;
  }

  #guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.#failure ??= toHoldfastError(error, 'unpacking');
      throw this.#failure;
    }
  }

  #path(place: string): Buffer {
    return joinBytes(Buffer.from(this.#options.folder), pathBytes(place));
  }

  #start({ path, kind, mode, modifiedSeconds }: TarStart): TarTaker | null {
    // The folder itself.
    if (kind === 'folder' && (path === '' || path === '.')) return null;
    requireInside(path);
    if (kind === 'folder') this.#makeFolder(path, mode);
    const place = kind === 'file' ? this.#options.placeOf(path) : null;
    if (place === null) return null;
    // A new one always: no link that lies there is followed.
    const fd = openSync(this.#path(place), 'wx', mode & 0o777);
    this.#file = { fd, modifiedSeconds };
    // Whatever this process' mask takes away.
    fchmodSync(fd, mode & 0o777);
    return (data) => {
      this.#guard(() => {
        for (let at = 0; at < data.length; ) at += writeSync(fd, data, at);
      });
      this.#writtenBytes += data.length;
    };
  }

  #makeFolder(path: string, mode: number): void {
    const folder = this.#path(path);
    if (lstatSync(folder, { throwIfNoEntry: false }) === undefined) {
      mkdirSync(folder, { mode: 0o700 });
      chmodSync(folder, mode & 0o777);
    }
  }

  #end(path: string, kind: string, sha256: string): void {
    if (kind !== 'file' || this.#file === null) return;
    const { fd, modifiedSeconds } = this.#file;
    futimesSync(fd, modifiedSeconds, modifiedSeconds);
    this.#file = null;
    closeSync(fd);
    const expected = this.#options.expected(path);
    if (expected === undefined || expected.sha256 === sha256) return;
    throw damaged(`${JSON.stringify(path)} differs from what the server listed`);
  }
}

/** Begins to write the files of an archive. */
export function createTarFiles(options: TarFilesOptions): TarFiles {
  return new WritingTarFiles(options);
}
