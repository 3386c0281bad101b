/**
 * Words for the files of cron and systemd, each by the rules of who reads it: sh behind cron, and
 * systemd by itself. What cannot be said there is refused, never cut.
 */

import { HoldfastError } from '../core/errors.ts';
import { shellQuote } from '../core/quote.ts';

/** Of ASCII: systemd reads what is left as UTF-8. */
const controlCharacter = /[^ -~\u0080-\u{10ffff}]/u;

function refuse(text: string, where: string): never {
  throw new HoldfastError('CONFIG_INVALID', `${JSON.stringify(text)} cannot stand in ${where}`, {
    hint: 'Rename the file or folder: take line breaks and control characters out of its name.',
  });
}

/**
 * One word of a command in a crontab, which cron hands to the shell. `%` is a new line there unless
 * a backslash stands before it (crontab(5)). Some cron programs take that backslash away and one of
 * two adjacent ones too, others leave both to the shell: what is written here, `%` outside of the
 * quotes and no two backslashes together, comes to the same in each.
 *
 * @throws HoldfastError CONFIG_INVALID for a line break or NUL, which end the line of a crontab
 */
export function quoteForCron(word: string): string {
  if (/[\n\r\0]/.test(word)) refuse(word, 'a crontab');
  return shellQuote(word)
    .replaceAll('%', "'\\%'")
    .replace(/\\(?=\\)/g, "\\''");
}

const cEscapes: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '"': '\\"',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
};

/** In double quotes with C-style escapes (systemd.syntax(7), "Quoting"); `%` is no specifier. */
function quoteC(text: string): string {
  if (text.includes('\0')) refuse(text, 'a unit of systemd');
  const escaped = text.replace(/["\\]|[^ -~\u0080-\u{10ffff}]/gu, (character) => {
    const code = character.charCodeAt(0).toString(16).padStart(2, '0');
    return cEscapes[character] ?? `\\x${code}`;
  });
  return `"${escaped.replaceAll('%', '%%')}"`;
}

/**
 * One argument of `ExecStart=` (systemd.service(5), "Command lines"): neither a specifier nor a
 * variable is put in. For the program itself take {@link quoteExecProgram}.
 *
 * @throws HoldfastError CONFIG_INVALID for NUL
 */
export function quoteExecArgument(text: string): string {
  return quoteC(text.replaceAll('$', '$$$$'));
}

/**
 * The program of `ExecStart=`: an absolute path, in which systemd knows no variables and no quotes,
 * backslashes or control characters.
 *
 * @throws HoldfastError CONFIG_INVALID for what systemd refuses there
 */
export function quoteExecProgram(path: string): string {
  if (/["'\\]/.test(path) || controlCharacter.test(path)) refuse(path, 'ExecStart= as a program');
  return quoteC(path);
}

/**
 * One path in a list of them, as `ReadWritePaths=` has (systemd.exec(5)): quoted, but without
 * C-style escapes, so a backslash stands for what follows.
 *
 * @throws HoldfastError CONFIG_INVALID for a control character
 */
export function quoteListedPath(path: string): string {
  if (controlCharacter.test(path)) refuse(path, 'a list of paths in a unit of systemd');
  return `"${path.replace(/["\\]/g, '\\$&').replaceAll('%', '%%')}"`;
}

/**
 * A path that is all of a value, as `WorkingDirectory=` and `EnvironmentFile=` have it: it reaches
 * to the end of the line, and quotes would be part of it.
 *
 * @throws HoldfastError CONFIG_INVALID for a control character, a space at an end, and a backslash
 *   at the end, which would join the next line to it
 */
export function quoteWholePath(path: string): string {
  if (controlCharacter.test(path) || path !== path.trim() || path.endsWith('\\')) {
    refuse(path, 'a unit of systemd');
  }
  return path.replaceAll('%', '%%');
}
