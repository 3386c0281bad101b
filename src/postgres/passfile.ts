/** The password file (PostgreSQL manual, "The Password File"; libpq's `passwordFromFile`). */

import { readFile, stat } from 'node:fs/promises';
import { Secret } from '../core/secret.ts';

/** What the first four fields of a line are compared with. */
export interface PasswordKey {
  /** Names that the host field may hold: for the default socket also `localhost`. */
  readonly hosts: readonly string[];
  readonly port: number;
  readonly dbname: string;
  readonly user: string;
}

/** The first line that fits, or why there is none. */
export interface PasswordFound {
  readonly password: Secret | null;
  /** Counted from 1. */
  readonly line: number | null;
  /** Why the file was left alone. */
  readonly warning: string | null;
}

const nothing: PasswordFound = { password: null, line: null, warning: null };

/** A line's fields without their escapes; `*` alone and unescaped is `null`: anything. */
function splitLine(line: string): (string | null)[] {
  const fields: (string | null)[] = [];
  let field = '';
  let raw = '';
  for (let at = 0; at <= line.length; at += 1) {
    const character = line[at];
    if (character === undefined || character === ':') {
      fields.push(raw === '*' ? null : field);
      field = '';
      raw = '';
      continue;
    }
    const escaped = character === '\\' ? line[at + 1] : undefined;
    if (escaped !== undefined) at += 1;
    field += escaped ?? character;
    raw += escaped === undefined ? character : `\\${escaped}`;
  }
  return fields;
}

/**
 * The first line that matches, as libpq reads it: `host:port:database:user:password`, `*` for
 * anything, backslash before a colon or backslash; the password ends at the next bare colon.
 */
export function findPassword(
  text: string,
  key: PasswordKey,
): { readonly password: string; readonly line: number } | null {
  const wanted = [key.hosts, [String(key.port)], [key.dbname], [key.user]];
  for (const [index, line] of text.split('\n').entries()) {
    if (line.startsWith('#')) continue;
    const fields = splitLine(line.replace(/\r+$/, ''));
    if (fields.length < 5) continue;
    const matches = wanted.every((values, position) => {
      const field = fields[position];
      return field === null || (field !== undefined && values.includes(field));
    });
    if (matches) return { password: fields[4] ?? '*', line: index + 1 };
  }
  return null;
}

/**
 * Looks a password up in a file. As libpq does, leaves a file alone that is no plain file or that
 * others have any access to, and says so; a file that is not there is no fault.
 */
export async function passwordFromFile(file: string, key: PasswordKey): Promise<PasswordFound> {
  let text: string;
  try {
    const status = await stat(file);
    if (!status.isFile()) {
      return {
        ...nothing,
        warning: `the password file ${file} is not a plain file: it is ignored`,
      };
    }
    if ((status.mode & 0o077) !== 0) {
      const fact = `${file} is open to other users and ignored`;
      return { ...nothing, warning: `the password file ${fact}: run chmod 600 on it` };
    }
    text = await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return nothing;
    return { ...nothing, warning: `cannot read the password file: ${(error as Error).message}` };
  }
  const found = findPassword(text, key);
  if (found === null || found.password === '') return nothing;
  return { password: new Secret(found.password), line: found.line, warning: null };
}
