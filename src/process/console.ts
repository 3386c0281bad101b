/** What people read: lines on stderr, coloured on a terminal, beside the log file. */

import type { Writable } from 'node:stream';
import { styleText } from 'node:util';
import type { HoldfastError } from '../core/errors.ts';
import { printableText } from '../core/printable.ts';
import { redactPasswords } from '../core/secret.ts';
import type { LogFile } from './log_file.ts';
import { noProgress, type Progress, startProgress } from './progress.ts';

/** `quiet` leaves warnings and errors; `verbose` adds details. */
export type Verbosity = 'quiet' | 'normal' | 'verbose';

/**
 * What a run says. Everything also goes into the log file; a warning is besides a value in the
 * operation's result, so that it cannot scroll past unseen.
 */
export interface Log {
  /** A step that is done or begins. */
  step(message: string, facts?: object): void;
  /** A detail, shown with `--verbose` only. */
  detail(message: string, facts?: object): void;
  /** For the log file only. */
  trace(message: string, facts?: object): void;
  warn(message: string, facts?: object): void;
  error(error: HoldfastError): void;
  /** Long work: a bar on a terminal, a line now and then elsewhere. */
  progress(title: string, totalBytes: number | null): Promise<Progress>;
  /** From here on the log file takes part. */
  attach(file: LogFile): void;
}

export interface ConsoleOptions {
  readonly stream: Writable & { readonly isTTY?: boolean };
  readonly verbosity: Verbosity;
  /** In milliseconds, monotonic, for rates. */
  readonly clock: () => number;
}

type Style = Parameters<typeof styleText>[0];

/** A log that writes to a stream for people and, once attached, to a file. */
export function createConsole(options: ConsoleOptions): Log {
  const { stream, verbosity } = options;
  let file: LogFile | null = null;

  function print(mark: string, style: Style, message: string): void {
    const isPlain = mark === '' || stream.isTTY !== true;
    const text = isPlain ? mark : styleText(style, mark, { stream });
    stream.write(`${text}${printableText(redactPasswords(message))}\n`);
  }

  return {
    step(message, facts) {
      if (verbosity !== 'quiet') print('', 'reset', message);
      file?.write('info', message, facts);
    },
    detail(message, facts) {
      if (verbosity === 'verbose') print('', 'dim', message);
      file?.write('info', message, facts);
    },
    trace(message, facts) {
      file?.write('info', message, facts);
    },
    warn(message, facts) {
      print('warning: ', 'yellow', message);
      file?.write('warn', message, facts);
    },
    error(error) {
      print('error: ', 'red', error.message);
      if (error.hint !== undefined) print('hint: ', 'cyan', error.hint);
      const { code, status, hint, details } = error;
      const cause = error.cause instanceof Error ? (error.cause.stack ?? '') : undefined;
      file?.write('error', error.message, { code, exit_status: status, hint, details, cause });
    },
    async progress(title, totalBytes) {
      if (verbosity === 'quiet') return noProgress;
      return startProgress({ title, totalBytes, stream, clock: options.clock });
    },
    attach(logFile) {
      file = logFile;
    },
  };
}
