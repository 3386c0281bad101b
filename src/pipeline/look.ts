/** What a program prints is looked at, and goes nowhere. */

import { closeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { makePipe } from '../process/pipe.ts';
import { carry } from './carry.ts';
import { type Observer, observe } from './measure.ts';
import type { FlowContext, StartSource } from './pipeline.ts';

/** Takes everything, and keeps nothing. */
function nowhere(): Writable {
  return new Writable({
    write(_chunk, _encoding, done) {
      done();
    },
  });
}

/**
 * Starts a program and shows the observers what it prints, up to the end of that. Whoever starts it
 * looks at its status, and ends it where this fails.
 *
 * @throws what an observer or the signal broke it off with
 */
export async function lookAt(
  start: StartSource,
  observers: readonly Observer[],
  context: FlowContext,
): Promise<void> {
  const { temporaryDir, signal } = context;
  const pipe = temporaryDir === undefined ? null : await makePipe(temporaryDir, context);
  if (pipe === null) {
    const { stdout } = start();
    observe(stdout, observers);
    await pipeline(stdout, nowhere(), { signal });
    return;
  }
  try {
    start(pipe.write);
  } catch (error) {
    closeSync(pipe.read);
    throw error;
  }
  await carry({ pipe: pipe.read, observers, to: nowhere(), signal });
}
