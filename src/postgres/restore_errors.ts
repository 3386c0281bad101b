/** Collects what pg_restore says while it goes on after errors. */

/** One error of pg_restore. */
export interface RestoreError {
  /** What was being restored, such as `EXTENSION pg_trgm`; `null` when it does not say. */
  readonly object: string | null;
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

/** `pg_restore: from TOC entry 3; 3079 16385 EXTENSION pg_trgm ` and the owner at its end. */
const entryLine = /^pg_restore: from TOC entry \d+; \d+ \d+ (.*?)\s*$/;
const errorLine = /^pg_restore: (?:\[[^\]]*\] )?error: (.*)$/;
const otherLine = /^pg_restore: /;
const detailLine = /^(?:DETAIL|HINT|CONTEXT): {1,2}(.*)$/;

/**
 * Takes stderr line by line. Memory stays bounded whatever is said: a dump may have a million
 * objects that all fail.
 *
 * @param onError told of every error, when its last line is known
 */
export function createErrorCollector(onError: (error: RestoreError) => void) {
  const errors: RestoreError[] = [];
  let count = 0;
  let object: string | null = null;
  let current: RestoreError | null = null;
  /** Of a failed statement nothing after `Command was:` is of use: it may be a whole function. */
  let isDetail = false;

  function flush(): void {
    if (current === null) return;
    count += 1;
    if (errors.length < errorsKeptMax) errors.push(current);
    onError(current);
    current = null;
  }

  return {
    line(text: string): void {
      const entry = entryLine.exec(text);
      const error = errorLine.exec(text);
      if (entry !== null || error !== null || otherLine.test(text)) {
        flush();
        if (entry !== null) object = entry[1] ?? null;
        if (error === null) return;
        current = { object, message: (error[1] ?? '').slice(0, messageLengthMax) };
        isDetail = true;
        return;
      }
      if (current === null) return;
      if (text.startsWith('Command was:')) isDetail = false;
      const detail = isDetail ? detailLine.exec(text)?.[1] : undefined;
      if (detail === undefined) return;
      const message = `${current.message}; ${detail}`.slice(0, messageLengthMax);
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
