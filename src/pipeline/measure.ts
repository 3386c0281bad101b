/** What looks at the bytes as they pass, and changes none of them. */

import { createHash } from 'node:crypto';
import { Transform } from 'node:stream';
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

/** A stream that shows every chunk to the observers and hands it on as it is. */
export function createTap(observers: readonly Observer[]): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      for (const observer of observers) observer.update(chunk);
      done(null, chunk);
    },
  });
}
