/** Looks at a file that a child is writing, up to the child's end. */

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
