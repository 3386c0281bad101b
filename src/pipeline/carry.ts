/** The way of most bytes: out of a pipe, past the observers, and on into a program or nowhere. */

import { Socket } from 'node:net';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { Observer } from './measure.ts';

/** As much as a pipe holds (pipe(7)): one read never gives more. */
const pieceBytes = 64 * 1024;
/** So many pieces may be on their way at once: 1 MiB. */
const pieces = 16;

export interface CarryInput {
  /** The reading end of a pipe, which is closed at the end. */
  readonly pipe: number;
  /** See every piece once, in order; none keeps a hold on it. */
  readonly observers: readonly Observer[];
  readonly to: Writable;
  /** So many pieces are handed over at once, for whoever does better with many; 1 unless told. */
  readonly atOnce?: number;
  readonly signal: AbortSignal;
}

/**
 * Carries what comes out of a pipe into a stream, up to the end of both, in buffers that are used
 * again and again. Nothing is read while all of them are on their way: that holds back the writer.
 *
 * @throws what the stream, an observer or the signal broke it off with
 */
export async function carry(input: CarryInput): Promise<void> {
  const { pipe, observers, to, atOnce = 1, signal } = input;
  const idle = Array.from({ length: pieces }, () => Buffer.allocUnsafeSlow(pieceBytes));
  const next = () => idle.pop() ?? Buffer.allocUnsafeSlow(pieceBytes);
  let isPaused = false;
  let held = 0;

  /** Nothing is held back while no buffer is left to wait for more. */
  function handOver(piece: Buffer, done: () => void): void {
    if (atOnce > 1 && held === 0) to.cork();
    to.write(piece, done);
    held += 1;
    if (held < atOnce && idle.length > 1) return;
    held = 0;
    if (atOnce > 1) to.uncork();
  }

  /** @returns whether to go on: the next buffer is taken at once, so one is kept for that */
  function take(bytes: number, buffer: Uint8Array): boolean {
    const piece = Buffer.from(buffer.buffer, buffer.byteOffset, bytes);
    try {
      for (const observer of observers) observer.update(piece);
    } catch (error) {
      from.destroy(error as Error);
      return false;
    }
    handOver(piece, () => {
      idle.push(buffer as Buffer<ArrayBuffer>);
      if (!isPaused) return;
      isPaused = false;
      from.resume();
    });
    isPaused = idle.length <= 1;
    return !isPaused;
  }

  const from = new Socket({
    fd: pipe,
    readable: true,
    writable: false,
    signal,
    onread: { buffer: next, callback: take },
  });
  const read = finished(from, { writable: false }).then(() => to.end());
  const written = finished(to, { readable: false, signal });
  try {
    from.resume();
    await Promise.all([read, written]);
  } catch (error) {
    from.destroy();
    to.destroy();
    await Promise.allSettled([read, written]);
    throw error;
  }
}

export interface DrainInput extends Pick<CarryInput, 'pipe' | 'signal'> {
  /** Shown every piece once, in order; it keeps no hold on it. */
  readonly see: (piece: Buffer) => void;
}

/**
 * Shows what comes out of a pipe, up to its end, in one buffer that is used again and again.
 *
 * @throws what `see` or the signal broke it off with
 */
export async function drain({ pipe, see, signal }: DrainInput): Promise<void> {
  const from = new Socket({
    fd: pipe,
    readable: true,
    writable: false,
    signal,
    onread: {
      buffer: Buffer.allocUnsafeSlow(pieceBytes),
      callback(bytes, buffer) {
        try {
          see(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
          return true;
        } catch (error) {
          from.destroy(error as Error);
          return false;
        }
      },
    },
  });
  from.resume();
  await finished(from, { writable: false });
}
