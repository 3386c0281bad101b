/** Whether a hook of the settings can run. */

import { access, constants, stat } from 'node:fs/promises';
import { shellQuote } from '../core/quote.ts';

/** What is wrong with a hook, and what to do about it. */
export interface HookTrouble {
  /** `fatal`: it cannot run; `risky`: it runs, and others decide what it does. */
  readonly kind: 'fatal' | 'risky';
  readonly message: string;
  /** What to do, one sentence. */
  readonly hint: string;
  /** What to type for it, or `null` where it is not that simple. */
  readonly command: string | null;
}

const renamed = 'Name the file of the hook, or take the setting out.';

function fatal(message: string, hint: string): HookTrouble {
  return { kind: 'fatal', message, hint, command: null };
}

function typed(kind: HookTrouble['kind'], message: string, command: string): HookTrouble {
  return { kind, message, hint: `Type ${command}.`, command };
}

/** Looks at the file of a hook; `null`: there is nothing to say. */
export async function hookTrouble(path: string): Promise<HookTrouble | null> {
  let mode: number;
  try {
    const found = await stat(path);
    if (!found.isFile()) return fatal('it is no file', renamed);
    mode = found.mode;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return fatal('it is not there', renamed);
    return fatal(`it cannot be looked at (${code ?? 'unknown'})`, 'Let this user get to it.');
  }
  try {
    await access(path, constants.X_OK);
  } catch {
    return typed('fatal', 'this user may not execute it', `chmod +x ${shellQuote(path)}`);
  }
  if ((mode & 0o002) === 0) return null;
  const message = 'everybody on this machine may write it, and so run programs as this user';
  return typed('risky', message, `chmod o-w ${shellQuote(path)}`);
}
