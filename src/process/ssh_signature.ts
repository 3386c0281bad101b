/**
 * Signatures by OpenSSH (ssh-keygen(1), `-Y sign` and `-Y verify`; PROTOCOL.sshsig): a key that
 * most people have, and a program that is on every server.
 */

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HoldfastError } from '../core/errors.ts';
import { type RunOptions, runCommand } from './run.ts';

const program = 'ssh-keygen';
/** What the signatures are for: one that was made for anything else counts for nothing here. */
const namespace = 'holdfast-manifest';
const scratchPrefix = 'holdfast-signature-';

type Surroundings = Pick<RunOptions, 'environment' | 'signal'>;

/** What ssh-keygen says, in one line. */
function words(stderr: string): string {
  return stderr.trim().replaceAll(/\s*\n\s*/g, '; ') || 'it said nothing';
}

/** @throws HoldfastError PROGRAM_MISSING with the package that brings it */
async function keygen(args: readonly string[], options: RunOptions) {
  try {
    return await runCommand(program, args, options);
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'PROGRAM_MISSING') throw error;
    throw new HoldfastError('PROGRAM_MISSING', `${program} is needed for signatures`, {
      hint: 'Install OpenSSH (Debian: openssh-client).',
      cause: error,
    });
  }
}

/**
 * Signs a text.
 *
 * @param key the file of a private key without a passphrase, or of a public one whose private half
 *   an agent holds
 * @returns the signature, in OpenSSH's armor
 * @throws HoldfastError CONFIG_INVALID where the key cannot be used, PROGRAM_MISSING
 */
export async function signText(text: string, key: string, around: Surroundings): Promise<string> {
  const environment = { ...around.environment, SSH_ASKPASS_REQUIRE: 'never' };
  const args = ['-Y', 'sign', '-q', '-n', namespace, '-f', key];
  const { status, stdout, stderr } = await keygen(args, { ...around, environment, input: text });
  if (status === 0 && stdout.includes('BEGIN SSH SIGNATURE')) return stdout;
  throw new HoldfastError('CONFIG_INVALID', `nothing can be signed with ${key}: ${words(stderr)}`, {
    hint: 'Let signing_key (SIGNING_KEY) name a private key without a passphrase, mode 0600.',
  });
}

/** Who has signed, or why that counts for nothing. */
export type Signer = { readonly name: string } | { readonly problem: string };

/**
 * Finds out who has signed a text.
 *
 * @param allowedSigners a file as ssh-keygen(1), "ALLOWED SIGNERS", tells
 * @param temporaryDir where the signature lies for a moment
 * @throws HoldfastError CONFIG_INVALID where that file cannot be used, PROGRAM_MISSING
 */
export async function signerOf(
  text: string,
  signature: string,
  allowedSigners: string,
  temporaryDir: string,
  around: Surroundings,
): Promise<Signer> {
  const folder = await mkdtemp(join(temporaryDir, scratchPrefix));
  try {
    const file = join(folder, 'signature');
    await writeFile(file, signature, { mode: 0o600 });
    const given = ['-n', namespace, '-s', file, '-f', allowedSigners];
    const found = await keygen(['-Y', 'find-principals', ...given.slice(2)], around);
    const [name] = found.stdout.split('\n');
    if (found.status !== 0 || name === undefined || name === '') {
      if (/allowed keys file/.test(found.stderr)) {
        const fact = `${allowedSigners} cannot be used: ${words(found.stderr)}`;
        throw new HoldfastError('CONFIG_INVALID', fact, {
          hint: 'Let allowed_signers (ALLOWED_SIGNERS) name a file as ssh-keygen(1) tells.',
        });
      }
      return { problem: `nobody who is allowed has signed it (${words(found.stderr)})` };
    }
    const options = { ...around, input: text };
    const verified = await keygen(['-Y', 'verify', '-I', name, ...given], options);
    if (verified.status === 0) return { name };
    return { problem: `the signature is not of these bytes (${words(verified.stderr)})` };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
