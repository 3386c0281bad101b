/** Looks at files piece by piece: at one that a child is writing, and at parts of a whole one. */

import type { FileHandle } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';

/** Bytes read at once. */
const pieceBytes = 1024 * 1024;
/** How long to wait for more: a fast program writes some megabytes meanwhile. */
const pauseMs = 3;

/**
 * Reads what somebody writes into a file, from its beginning, while it is being written. All of it
 * goes through one buffer: a stream of new ones took three times the processor time (measured).
 *
 * @param handle open for reading; it is not closed here
 * @param writerEnded settles when nothing more will be written
 * @param see shown every piece once, in order; it keeps no hold on it
 * @throws what `see` throws, Node's errors, the reason of the signal
 */
export async function followFile(
  handle: FileHandle,
  writerEnded: Promise<unknown>,
  see: (piece: Buffer) => void,
  signal: AbortSignal,
): Promise<void> {
  let hasEnded = false;
  const ended = () => {
    hasEnded = true;
  };
  writerEnded.then(ended, ended);
  const buffer = Buffer.allocUnsafeSlow(pieceBytes);
  let position = 0;
  for (;;) {
    signal.throwIfAborted();
    // Asked before the read: what was written before the end is then surely seen.
    const isLast = hasEnded;
    const { bytesRead } = await handle.read(buffer, 0, pieceBytes, position);
    if (bytesRead > 0) {
      position += bytesRead;
      see(buffer.subarray(0, bytesRead));
    } else if (isLast) {
      return;
    } else {
      await sleep(pauseMs);
    }
  }
}

/** Bytes of a file, from the first up to the one before `to`. */
export interface FilePart {
  readonly from: number;
  /** `Infinity` for all that there is. */
  readonly to: number;
}

/**
 * Reads a part of a file that nobody writes any more, through one buffer as {@link followFile}.
 *
 * @param handle open for reading; it is not closed here
 * @param see shown every piece once, in order; it keeps no hold on it
 * @throws what `see` throws, Node's errors, the reason of the signal
 */
export async function readPart(
  handle: FileHandle,
  { from, to }: FilePart,
  see: (piece: Buffer) => void,
  signal: AbortSignal,
): Promise<void> {
  const buffer = Buffer.allocUnsafeSlow(pieceBytes);
  let position = from;
  while (position < to) {
    signal.throwIfAborted();
    const wanted = Math.min(pieceBytes, to - position);
    const { bytesRead } = await handle.read(buffer, 0, wanted, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    see(buffer.subarray(0, bytesRead));
  }
}
