/** What a program prints is looked at, and goes nowhere. */

import { closeSync } from 'node:fs';
import { addAbortSignal } from 'node:stream';
import { makePipe } from '../process/pipe.ts';
import { drain } from './carry.ts';
import type { FlowContext } from './flow.ts';
import { type Observer, showTo } from './measure.ts';
import type { StartSource } from './pipeline.ts';

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
  const see = showTo(observers);
  const pipe = temporaryDir === undefined ? null : await makePipe(temporaryDir, context);
  if (pipe === null) {
    const { stdout } = start();
    for await (const chunk of addAbortSignal(signal, stdout)) see(chunk);
    return;
  }
  try {
    start(pipe.write);
  } catch (error) {
    closeSync(pipe.read);
    throw error;
  }
  await drain({ pipe: pipe.read, see, signal });
}
