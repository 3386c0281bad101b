/** What looks at the bytes as they pass, and changes none of them. */

import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { MeasuredBytes } from '../core/manifest.ts';

/** Sees each chunk once, in order. It keeps no reference to a chunk after `update` has returned. */
export interface Observer {
  update(chunk: Buffer): void;
}

/** An observer that tells how many bytes went by and their SHA-256. */
export interface Measure extends Observer {
  result(): MeasuredBytes;
}

/** Measures a stream: size and SHA-256. `result()` is for after the end, once. */
export function createMeasure(): Measure {
  const hash = createHash('sha256');
  let bytes = 0;
  return {
    update(chunk) {
      bytes += chunk.length;
      hash.update(chunk);
    },
    result() {
      return { bytes, sha256: hash.digest('hex') };
    },
  };
}

/** Counts bytes for a progress display. */
export function createByteCounter(onBytes: (bytes: number) => void): Observer {
  return { update: (chunk) => onBytes(chunk.length) };
}

/**
 * Shows every chunk of a stream to the observers, at the pace of whoever takes it: the caller pipes
 * it on before it returns to the event loop. A Transform between the two would do the same for
 * half as much processor time again (measured: 0.4 s for 640 MB in chunks of a pipe).
 */
export function observe(stream: Readable, observers: readonly Observer[]): void {
  if (observers.length === 0) return;
  stream.on('data', (chunk: Buffer) => {
    try {
      for (const observer of observers) observer.update(chunk);
    } catch (error) {
      stream.destroy(error as Error);
    }
  });
}

/** Shows pieces of bytes, one after the other, to all of the observers. */
export function showTo(observers: readonly Observer[]): (piece: Buffer) => void {
  return (piece) => {
    for (const observer of observers) observer.update(piece);
  };
}
