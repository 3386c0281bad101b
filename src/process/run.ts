/**
 * Short commands: a program that answers in a few lines. Everything it prints is kept in memory,
 * so no data ever goes this way (src/ARCHITECTURE.md, "Two planes"); see stream.ts for that.
 */

import { spawn } from 'node:child_process';
import { $ } from 'zx/core';
import { HoldfastError } from '../core/errors.ts';
import { shellQuote } from '../core/quote.ts';
import { childFolder } from './child_folder.ts';
import type { OsUser } from './user.ts';

export interface RunOptions {
  /** The whole environment of the program: nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** After this time the program is ended and the status is null; 60 s unless told. */
  readonly timeoutMs?: number;
  /** Text for the program's standard input; it is empty otherwise. */
  readonly input?: string;
  readonly cwd?: string;
  /** Runs the program as this user; only root can. */
  readonly user?: OsUser | undefined;
}

/** How a short command ended, and what it printed. */
export interface RunResult {
  readonly stdout: string;
  readonly stderr: string;
  /** `null` when the program was ended by a signal. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * Runs a program and gives back what it printed, whatever its status: the caller looks at it.
 *
 * @throws HoldfastError PROGRAM_MISSING when there is no such program, INTERRUPTED on the signal
 */
export async function runCommand(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<RunResult> {
  const { user } = options;
  const run = $({
    shell: '/bin/sh',
    prefix: '',
    postfix: '',
    quote: shellQuote,
    nothrow: true,
    quiet: true,
    verbose: false,
    detached: false,
    env: { ...options.environment },
    // zx leaves the pipe open after an empty text: a program that reads would wait for ever.
    ...(options.input ? { input: options.input } : { stdio: ['ignore', 'pipe', 'pipe'] as const }),
    timeout: options.timeoutMs ?? 60_000,
    cwd: options.cwd ?? childFolder(),
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    spawn: ((file: string, argv: string[], spawnOptions: object) => {
      const own = user === undefined ? {} : { uid: user.uid, gid: user.gid };
      const child = spawn(file, argv, { ...spawnOptions, ...own });
      // One that ends without reading its input is told by its status, not by a broken pipe.
      child.stdin?.on('error', () => undefined);
      return child;
    }) as typeof spawn,
  });
  const output = await run`exec ${program} ${args}`;
  if (options.signal?.aborted === true) {
    throw new HoldfastError('INTERRUPTED', `${program} was interrupted`);
  }
  if (output.exitCode === 127) {
    throw new HoldfastError('PROGRAM_MISSING', `${program}: ${output.stderr.trim()}`, {
      hint: 'Install it, or put its folder on PATH.',
    });
  }
  return {
    stdout: output.stdout,
    stderr: output.stderr,
    status: output.exitCode,
    signal: output.signal,
  };
}

/**
 * Like {@link runCommand}, for a program whose failure is a failure of the caller.
 *
 * @throws HoldfastError CHILD_FAILED with the last lines of what it printed
 */
export async function runChecked(
  program: string,
  args: readonly string[],
  options: RunOptions,
): Promise<RunResult> {
  const result = await runCommand(program, args, options);
  if (result.status !== 0) {
    const how = result.status === null ? `signal ${result.signal}` : `status ${result.status}`;
    const words = result.stderr.trim().split('\n').slice(-3).join('; ');
    throw new HoldfastError('CHILD_FAILED', `${program} ended with ${how}: ${words}`);
  }
  return result;
}
