/** What people read: lines on stderr, coloured on a terminal, beside the log file. */

import type { Writable } from 'node:stream';
import { styleText } from 'node:util';
import type { HoldfastError } from '../core/errors.ts';
import { printable, printableText } from '../core/printable.ts';
import { redactPasswords } from '../core/secret.ts';
import type { LogFile } from './log_file.ts';
import { createProgressBoard, noProgress, type Progress } from './progress.ts';

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
  /**
   * The same log for a part of the run: its lines in the file have these facts, and those that
   * people read begin with the name, where there is one, `[app] …`.
   */
  about(name: string | null, facts: object): Log;
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
  const { stream, verbosity, clock } = options;
  const board = createProgressBoard({ stream, clock });
  let file: LogFile | null = null;

  function logAbout(name: string | null, common: object): Log {
    const tag = name === null ? '' : `[${printable(name)}] `;

    function print(mark: string, style: Style, message: string): void {
      const isPlain = mark === '' || stream.isTTY !== true;
      const text = isPlain ? mark : styleText(style, mark, { stream });
      board.clear();
      stream.write(`${tag}${text}${printableText(redactPasswords(message))}\n`);
    }

    function write(level: 'info' | 'warn' | 'error', message: string, facts?: object): void {
      file?.write(level, message, { ...common, ...facts });
    }

    return {
      step(message, facts) {
        if (verbosity !== 'quiet') print('', 'reset', message);
        write('info', message, facts);
      },
      detail(message, facts) {
        if (verbosity === 'verbose') print('', 'dim', message);
        write('info', message, facts);
      },
      trace(message, facts) {
        write('info', message, facts);
      },
      warn(message, facts) {
        print('warning: ', 'yellow', message);
        write('warn', message, facts);
      },
      error(error) {
        print('error: ', 'red', error.message);
        if (error.hint !== undefined) print('hint: ', 'cyan', error.hint);
        const { code, status, hint, details } = error;
        const cause = error.cause instanceof Error ? (error.cause.stack ?? '') : undefined;
        write('error', error.message, { code, exit_status: status, hint, details, cause });
      },
      async progress(title, totalBytes) {
        return verbosity === 'quiet' ? noProgress : board.start(`${tag}${title}`, totalBytes);
      },
      about(part, facts) {
        return logAbout(part ?? name, { ...common, ...facts });
      },
      attach(logFile) {
        file = logFile;
      },
    };
  }

  return logAbout(null, {});
}
