/** Quoting of names and texts from users for SQL and for POSIX shell: never executed, never cut. */

import { HoldfastError } from './errors.ts';

declare const sqlName: unique symbol;

/** SQL text that stands for one identifier: quoted already, or a variable that psql quotes. */
export type SqlName = string & { readonly [sqlName]: true };

function refuseNul(text: string, what: string): void {
  if (text.includes('\0')) {
    throw new HoldfastError('USAGE', `${what} holds a NUL character: ${JSON.stringify(text)}`, {
      hint: 'Neither PostgreSQL nor a shell can hold such a text: write it without NUL.',
    });
  }
}

/**
 * A name as a delimited identifier (manual, "Identifiers and Key Words"): always in quotes, so no
 * list of keywords is needed.
 *
 * @throws HoldfastError USAGE for an empty name and for a NUL character
 */
export function quoteIdentifier(name: string): SqlName {
  refuseNul(name, 'a name');
  if (name === '') {
    throw new HoldfastError('USAGE', 'a name is empty', {
      hint: 'PostgreSQL has no empty names: write the name.',
    });
  }
  return `"${name.replaceAll('"', '""')}"` as SqlName;
}

/** What stands for itself in an identifier that is shown: no control, no mark of direction. */
const plainCharacter = /[\p{L}\p{M}\p{N}\p{P}\p{S} ]/u;

/**
 * A name as a delimited identifier on one line, to be shown and copied: a character that a terminal
 * would act on is written by its code point (manual, "Identifiers and Key Words", `U&"…"`), which
 * the server reads back as the same name.
 *
 * @throws HoldfastError USAGE for an empty name and for a NUL character
 */
export function shownIdentifier(name: string): SqlName {
  const characters = [...name];
  if (characters.every((each) => plainCharacter.test(each))) return quoteIdentifier(name);
  const escaped = characters.map((each) => {
    if (each === '\\') return '\\\\';
    if (plainCharacter.test(each)) return each;
    const code = (each.codePointAt(0) ?? 0).toString(16);
    return code.length > 4 ? `\\+${code.padStart(6, '0')}` : `\\${code.padStart(4, '0')}`;
  });
  return `U&${quoteIdentifier(escaped.join(''))}` as SqlName;
}

/** `:"variable"`: psql puts the variable in as a quoted identifier (manual, "psql", variables). */
export function psqlIdentifier(variable: 'target' | 'work'): SqlName {
  return `:"${variable}"` as SqlName;
}

/**
 * A text as a string constant. With a backslash in it the form is `E'…'`, which means the same
 * whatever standard_conforming_strings is (manual, "String Constants with C-Style Escapes").
 *
 * @throws HoldfastError USAGE for a NUL character
 */
export function quoteLiteral(text: string): string {
  refuseNul(text, 'a text');
  const doubled = text.replaceAll("'", "''");
  return text.includes('\\') ? `E'${doubled.replaceAll('\\', '\\\\')}'` : `'${doubled}'`;
}

/**
 * A text as one word for a POSIX shell, in single quotes (POSIX, "Shell Command Language", 2.2.2):
 * dash does not know `$'…'`.
 *
 * @throws HoldfastError USAGE for a NUL character
 */
export function shellQuote(text: string): string {
  refuseNul(text, 'a text');
  return `'${text.replaceAll("'", "'\\''")}'`;
}
