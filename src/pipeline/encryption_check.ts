/** Whether this machine can encrypt for its recipients, and whether it can decrypt. */

import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { HoldfastError } from '../core/errors.ts';
import type { FilterSpec } from '../core/manifest.ts';
import { type EncryptionSpec, encryptionOf } from '../core/recipients.ts';
import { runCommand } from '../process/run.ts';
import { encryptionFilter, encryptionProgram, gpgArguments } from './encrypt.ts';
import type { FlowContext } from './flow.ts';
import { store } from './pipeline.ts';
import { readBack } from './read_back.ts';

const probe = Buffer.from('holdfast');

/**
 * Encrypts some bytes, which finds a missing program, a key that the keyring does not have and one
 * that has expired before anything large is begun.
 *
 * @returns what came out
 * @throws HoldfastError PROGRAM_MISSING; CONFIG_INVALID with the program's own words
 */
export async function probeEncryption(spec: EncryptionSpec, context: FlowContext): Promise<Buffer> {
  let encrypted = Buffer.alloc(0);
  try {
    await store({
      source: Readable.from([probe]),
      filters: [encryptionFilter(spec)],
      observers: [],
      sinks: [
        async (body) => {
          encrypted = await buffer(body);
        },
      ],
      context,
    });
    return encrypted;
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'CHILD_FAILED') throw error;
    const isGpg = spec.name === 'gpg';
    throw new HoldfastError(
      'CONFIG_INVALID',
      `${spec.name} cannot encrypt for ${spec.recipients.join(', ')}: ${error.message}`,
      {
        hint: isGpg
          ? 'Import the public keys into the keyring (gpg --import, GPG_HOME), or renew them.'
          : 'Check AGE_RECIPIENTS: age-keygen -y FILE prints the public key of an identity.',
        cause: error,
      },
    );
  }
}

/** Whether gpg's keyring has the private key of one of these. */
async function hasGpgSecret(spec: EncryptionSpec, context: FlowContext): Promise<boolean> {
  const { environment, signal } = context;
  const path = await encryptionProgram('gpg', context);
  for (const fingerprint of spec.recipients) {
    const args = [...gpgArguments(context), '--with-colons', '--list-secret-keys', fingerprint];
    const { status } = await runCommand(path, args, { environment, signal });
    if (status === 0) return true;
  }
  return false;
}

/**
 * Whether a private key is at hand that may decrypt what went through these filters. Nobody is
 * asked for one. Whether an identity of age is the right one is only known when it was tried.
 */
export async function mayDecrypt(
  filters: readonly FilterSpec[],
  context: FlowContext,
): Promise<boolean> {
  const spec = encryptionOf(filters);
  if (spec === null) return true;
  if (spec.name === 'gpg') return hasGpgSecret(spec, context);
  return context.keys !== undefined && context.keys.identityFile !== null;
}

/** Whether what this machine encrypts now can be decrypted here too, tried with some bytes. */
export async function canDecryptOwn(
  filters: readonly FilterSpec[],
  context: FlowContext,
): Promise<boolean> {
  const spec = encryptionOf(filters);
  if (spec === null) return true;
  if (!(await mayDecrypt(filters, context))) return false;
  const encrypted = await probeEncryption(spec, context);
  try {
    await readBack({ body: Readable.from([encrypted]), filters: [spec as FilterSpec], context });
    return true;
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'WRONG_KEY') return false;
    throw error;
  }
}
