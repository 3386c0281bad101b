/** Collects what pg_restore says while it goes on after errors. */

import { redactPasswords } from '../core/secret.ts';

/** One error of pg_restore. */
export interface RestoreError {
  /** The beginning of the statement that failed, which names the object; `null` without one. */
  readonly command: string | null;
  readonly message: string;
}

/** The errors of one run. */
export interface CollectedErrors {
  readonly count: number;
  /** The first ones: at most {@link errorsKeptMax}. */
  readonly errors: readonly RestoreError[];
}

/** So many errors are kept; all are counted. */
export const errorsKeptMax = 100;
const messageLengthMax = 1000;
const commandLengthMax = 200;

const errorLine = /^pg_restore: (?:\[[^\]]*\] )?error: (.*)$/;
const otherLine = /^pg_restore: /;
const detailLine = /^(?:DETAIL|HINT|CONTEXT): {1,2}(.*)$/;
/** To the first constant: a connection string of a subscription may hold a password. */
const commandLine = /^Command was: ([^']*)/;

/**
 * Takes stderr line by line. Memory stays bounded whatever is said: a dump may have a million
 * objects that all fail.
 *
 * @param onError told of every error, when its last line is known
 */
export function createErrorCollector(onError: (error: RestoreError) => void) {
  const errors: RestoreError[] = [];
  let count = 0;
  let current: RestoreError | null = null;

  function flush(): void {
    if (current === null) return;
    count += 1;
    if (errors.length < errorsKeptMax) errors.push(current);
    onError(current);
    current = null;
  }

  return {
    line(text: string): void {
      const error = errorLine.exec(text);
      if (error !== null || otherLine.test(text)) {
        flush();
        const message = redactPasswords(error?.[1] ?? '').slice(0, messageLengthMax);
        if (error !== null) current = { command: null, message };
        return;
      }
      // What follows the statement belongs to it: it may be a whole function.
      if (current === null || current.command !== null) return;
      const command = commandLine.exec(text)?.[1]?.trimEnd().slice(0, commandLengthMax);
      if (command !== undefined) current = { ...current, command };
      const detail = detailLine.exec(text)?.[1];
      if (detail === undefined) return;
      const message = redactPasswords(`${current.message}; ${detail}`).slice(0, messageLengthMax);
      current = { ...current, message };
    },
    /** What there was, after the last line. */
    finish(): CollectedErrors {
      flush();
      return { count, errors };
    },
  };
}

/** Takes the lines, and tells the result. */
export type ErrorCollector = ReturnType<typeof createErrorCollector>;
