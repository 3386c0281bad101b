/** A pipe between a child and this process, which Node itself cannot make. */

import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { findProgram } from './find_program.ts';
import { runCommand } from './run.ts';

/** The two ends of a pipe, as file descriptors of this process. */
export interface Pipe {
  /** Does not block. */
  readonly read: number;
  /** Blocks, as a program expects of its standard output. */
  readonly write: number;
}

/** Opens both ends: for reading first, since a writer waits for a reader (POSIX, open). */
function openEnds(path: string): Pipe {
  const read = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return { read, write: openSync(path, constants.O_WRONLY) };
  } catch (error) {
    closeSync(read);
    throw error;
  }
}

/**
 * Makes a pipe. Node gives a child a pair of sockets, reads them into 64 kB of new memory each
 * time, and lets nobody say otherwise: the garbage collector then works as long as the hashing
 * does (measured). So a FIFO is made in a folder of its own, opened at both ends and removed: what
 * is left is a pipe that nobody else can open.
 *
 * @param folder for temporary files
 * @returns `null` where that cannot be done: no mkfifo, or a file system that has no FIFOs
 */
export async function makePipe(
  folder: string,
  options: {
    readonly environment: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
  },
): Promise<Pipe | null> {
  const mkfifo = await findProgram('mkfifo', options.environment);
  if (mkfifo === null) return null;
  let own: string | null = null;
  try {
    own = await mkdtemp(join(folder, 'holdfast-pipe-'));
    const path = join(own, 'pipe');
    const { status } = await runCommand(mkfifo, ['-m', '600', path], options);
    return status === 0 ? openEnds(path) : null;
  } catch {
    // The caller goes the ordinary way, and hears there of what also hinders that one.
    return null;
  } finally {
    if (own !== null) await rm(own, { recursive: true, force: true }).catch(() => undefined);
  }
}
