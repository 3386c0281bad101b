/** Bytes with their digest in the line before them: no cache with a flipped bit is believed. */

import { sha256Of } from './sums.ts';

/** The body with its digest before it. */
export function sealed(body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${sha256Of(body)}\n`), body]);
}

/** What {@link sealed} was given; `null` where its digest is another one. */
export function unsealed(bytes: Buffer): Buffer | null {
  const end = bytes.indexOf('\n');
  const body = bytes.subarray(end + 1);
  return end > 0 && bytes.toString('latin1', 0, end) === sha256Of(body) ? body : null;
}
