/** Asks on the terminal for a private key, which nobody sees and no file keeps. */

import { once } from 'node:events';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { holdsAgeSecret } from '../core/recipients.ts';
import { Secret } from '../core/secret.ts';
import type { World } from './command.ts';

/**
 * Asks for an identity of age.
 *
 * @param recipients the public keys of those who can decrypt
 * @returns `null` where there is no terminal, or nothing that is one was typed
 */
export async function askIdentity(
  world: Pick<World, 'stdin' | 'stderr' | 'signal'>,
  recipients: readonly string[],
): Promise<Secret | null> {
  const { stdin, stderr, signal } = world;
  if (stdin.isTTY !== true) return null;
  const whom = recipients.length === 0 ? '' : ` for ${recipients.join(', ')}`;
  stderr.write(`It is encrypted with age${whom}.\n`);
  stderr.write('The identity (AGE-SECRET-KEY-1…, not shown; without it --identity FILE): ');
  // What is typed is echoed to nobody.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: stdin, output: nowhere, terminal: true });
  const closed = once(terminal, 'close').then(() => '');
  try {
    const typed = await Promise.race([terminal.question('', { signal }), closed]);
    return holdsAgeSecret(typed) ? new Secret(typed.trim()) : null;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    terminal.close();
    stderr.write('\n');
  }
}
