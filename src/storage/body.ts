/** The body of an object that is being written. */

import type { Readable } from 'node:stream';

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
