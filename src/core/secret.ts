/** A value that never prints: not in a log, an error, JSON, or an inspected object. */

const redacted = '[redacted]';

/** Holds a password. Whatever prints it, prints `[redacted]`; only `reveal()` gives the text. */
export class Secret {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  /** The secret itself, for the one place that hands it on (a child's environment, a driver). */
  reveal(): string {
    return this.#text;
  }

  toString(): string {
    return redacted;
  }

  toJSON(): string {
    return redacted;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return redacted;
  }
}

/**
 * Takes the passwords out of a text, for messages that quote what the user wrote.
 * `postgresql://app:s3cret@db/x` → `postgresql://app:[redacted]@db/x`; `password=` likewise, in a
 * URL and in a connection string, also misspelt (`passwrd=`). Private keys of age go too.
 * A scheme is looked for at the beginning of a word alone: a long text takes its length, not the
 * square of it.
 */
export function redactPasswords(text: string): string {
  return text
    .replace(/((?<![a-z0-9+.-])[a-z0-9+.-]+:\/\/[^\s:/@?#]*):[^\s/]*@/gi, `$1:${redacted}@`)
    .replace(/\b((?:ssl)?passw?[a-z]*\s*=\s*)(?:'[^']*'|[^\s&#']+)/gi, `$1${redacted}`)
    .replace(/AGE-SECRET-KEY-[0-9A-Z-]+/gi, redacted);
}
