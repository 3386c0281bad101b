/** The bodies of objects, as they are written and read. */

import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { MeasuredBytes } from '../core/manifest.ts';

/** The body of an object failed, not the store that it was written to. */
export class BodyFailure extends Error {
  constructor(cause: unknown) {
    super('the body failed', { cause });
  }
}

/** A body that nobody will read is ended, so that what feeds it does not wait for ever. */
export function endBody(body: Readable | Uint8Array): void {
  if (!(body instanceof Uint8Array)) body.destroy();
}

/**
 * Reads a body to its end, and measures it; nothing of it is kept.
 *
 * @throws what the body fails with; the reason of the signal
 */
export async function measureBody(body: Readable, signal: AbortSignal): Promise<MeasuredBytes> {
  const stop = () => body.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      hash.update(chunk);
      bytes += chunk.length;
    }
    signal.throwIfAborted();
    return { bytes, sha256: hash.digest('hex') };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    body.destroy();
  }
}
