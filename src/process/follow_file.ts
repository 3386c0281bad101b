/** Reads a file that a child is writing, up to the child's end. */

import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes read at once. */
const pieceBytes = 1024 * 1024;
/** How long to wait for more: a fast program writes some megabytes meanwhile. */
const pauseMs = 3;

/** The bytes of a growing file, from its beginning; the handle stays open. */
class FileFollower extends Readable {
  readonly #handle: FileHandle;
  #writerEnded = false;
  #position = 0;

  constructor(handle: FileHandle, writerEnded: Promise<unknown>) {
    super({ highWaterMark: pieceBytes });
    this.#handle = handle;
    const ended = () => {
      this.#writerEnded = true;
    };
    writerEnded.then(ended, ended);
  }

  override _read(): void {
    this.#next().then(
      (piece) => this.push(piece),
      (error: Error) => this.destroy(error),
    );
  }

  /** The next bytes; `null` when the writer has ended and everything was read after that. */
  async #next(): Promise<Buffer | null> {
    while (!this.destroyed) {
      // Asked before the read: what was written before the end is then surely seen.
      const isLast = this.#writerEnded;
      const buffer = Buffer.allocUnsafeSlow(pieceBytes);
      const { bytesRead } = await this.#handle.read(buffer, 0, pieceBytes, this.#position);
      if (bytesRead > 0) {
        this.#position += bytesRead;
        return buffer.subarray(0, bytesRead);
      }
      if (isLast) return null;
      await sleep(pauseMs);
    }
    return null;
  }
}

/**
 * A stream of what somebody writes into a file, at the pace of whoever writes and whoever reads.
 *
 * @param handle open for reading; it is not closed here
 * @param writerEnded settles when nothing more will be written
 */
export function followFile(handle: FileHandle, writerEnded: Promise<unknown>): Readable {
  return new FileFollower(handle, writerEnded);
}
