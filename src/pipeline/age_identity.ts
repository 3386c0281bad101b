/** The private key that age decrypts with: out of a file, or from a person at the terminal. */

import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { access, type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { HoldfastError } from '../core/errors.ts';
import { type EncryptionSpec, holdsAgeSecret } from '../core/recipients.ts';
import { Secret } from '../core/secret.ts';
import { findProgram } from '../process/find_program.ts';
import { childFailure, startChild } from '../process/stream.ts';
import type { FilterContext, KeySources } from './filter.ts';

/** No file of identities is larger. */
const identityBytesMax = 256 * 1024;
/** Memory that looks like a folder, on Linux. */
const memoryFolder = '/dev/shm';

/** A file that age reads by itself, or the text of one that is on no disk. */
type Identity =
  | { readonly kind: 'file'; readonly path: string; readonly isInteractive: boolean }
  | { readonly kind: 'text'; readonly text: Secret };

/** How age gets at an identity. */
export interface OpenIdentity {
  readonly args: readonly string[];
  /** What the program finds as its file 3. */
  readonly secretInput: FileHandle | undefined;
  /** It may ask for a passphrase on the terminal. */
  readonly isInteractive: boolean;
  /** For when the program has been started. */
  close(): Promise<void>;
}

function invalid(path: string, fact: string, hint: string, cause?: unknown): HoldfastError {
  return new HoldfastError('CONFIG_INVALID', `the identity ${path} ${fact}`, { hint, cause });
}

async function readIdentityFile(path: string): Promise<Buffer> {
  try {
    const file = await open(path);
    try {
      const bytes = Buffer.alloc(identityBytesMax + 1);
      const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
      return bytes.subarray(0, bytesRead);
    } finally {
      await file.close();
    }
  } catch (error) {
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    const fact = isMissing ? 'does not exist' : `cannot be read: ${(error as Error).message}`;
    const hint = 'Name the file with the private key: --identity FILE (AGE_IDENTITY_FILE).';
    throw invalid(path, fact, hint, error);
  }
}

/** age itself asks for the passphrase, once: several files are decrypted with what comes out. */
async function unlock(path: string, context: FilterContext): Promise<Secret> {
  const { environment, signal } = context;
  const program = (await findProgram('age', environment)) ?? 'age';
  const input = await open(path);
  try {
    const child = startChild(program, ['--decrypt'], {
      environment,
      signal,
      input,
      isInteractive: true,
    });
    const text = await buffer(child.stdout);
    const exit = await child.exited;
    if (exit.status === 0) return new Secret(text.toString('utf8'));
    if (signal.aborted) throw signal.reason;
    const words = childFailure(child, exit).message;
    throw new HoldfastError('WRONG_KEY', `the identity ${path} was not unlocked: ${words}`, {
      hint: 'It is protected by a passphrase, which age asks for on the terminal: run it there.',
    });
  } finally {
    await input.close();
  }
}

async function identityFile(path: string, context: FilterContext): Promise<Identity> {
  const bytes = await readIdentityFile(path);
  const text = bytes.toString('latin1');
  if (/^(?:age-encryption\.org\/|-----BEGIN AGE ENCRYPTED FILE-----)/.test(text)) {
    return { kind: 'text', text: await unlock(path, context) };
  }
  if (bytes.length <= identityBytesMax) {
    if (/^\s*AGE-(?:SECRET-KEY|PLUGIN)-/im.test(text)) {
      // A plug-in may ask for a touch or a PIN.
      return { kind: 'file', path, isInteractive: /^\s*AGE-PLUGIN-/im.test(text) };
    }
    if (holdsAgeSecret(text)) return { kind: 'file', path, isInteractive: true };
  }
  const isPublic = /^\s*(?:age1|ssh-)/m.test(text);
  throw invalid(
    path,
    isPublic ? 'is a public key, which decrypts nothing' : 'holds no private key of age',
    'Name the file that age-keygen has written, or a private key of SSH.',
  );
}

async function loadIdentity(
  spec: EncryptionSpec,
  keys: KeySources,
  context: FilterContext,
): Promise<Identity> {
  if (keys.identityFile !== null) return identityFile(keys.identityFile, context);
  const typed = (await keys.askIdentity?.(spec.recipients)) ?? null;
  if (typed !== null) return { kind: 'text', text: typed };
  const whom = spec.recipients.length === 0 ? '' : ` for ${spec.recipients.join(', ')}`;
  throw new HoldfastError('USAGE', `it is encrypted with age${whom}, and no identity was given`, {
    hint: 'Give the file with the private key of one of them: --identity FILE (AGE_IDENTITY_FILE).',
    details: { encryption: spec.name, recipients: spec.recipients },
  });
}

/** Nobody is asked twice in one run. */
const loaded = new WeakMap<KeySources, Promise<Identity>>();
const noKeys: KeySources = { identityFile: null, gpgHome: null };

/** A file without a name, with the text in it: in memory where there is such a folder. */
async function namelessFile(text: string, folder: string): Promise<FileHandle> {
  const isMemory = await access(memoryFolder, constants.W_OK).then(
    () => true,
    () => false,
  );
  const path = join(isMemory ? memoryFolder : folder, `holdfast-${randomUUID()}`);
  const writer = await open(path, 'wx', 0o600);
  try {
    // Both ends are open before anything secret is in it, and it has lost its name by then.
    const reader = await open(path, 'r');
    await rm(path);
    await writer.writeFile(text);
    return reader;
  } finally {
    await rm(path, { force: true });
    await writer.close();
  }
}

/**
 * Finds the identity for something that is encrypted for these recipients.
 *
 * @throws HoldfastError USAGE when none was given, CONFIG_INVALID when the file is none, WRONG_KEY
 *   when its passphrase is not known
 */
export async function openAgeIdentity(
  spec: EncryptionSpec,
  context: FilterContext,
): Promise<OpenIdentity> {
  const { keys = noKeys, temporaryDir = '/tmp' } = context;
  let loading = loaded.get(keys);
  if (loading === undefined) {
    loading = loadIdentity(spec, keys, context);
    if (keys !== noKeys) loaded.set(keys, loading);
    // Who was asked and has mistyped may be asked again.
    loading.catch(() => loaded.delete(keys));
  }
  const identity = await loading;
  if (identity.kind === 'file') {
    return {
      args: ['--identity', identity.path],
      secretInput: undefined,
      isInteractive: identity.isInteractive,
      close: () => Promise.resolve(),
    };
  }
  const file = await namelessFile(identity.text.reveal(), temporaryDir);
  return {
    args: ['--identity', '/dev/fd/3'],
    secretInput: file,
    isInteractive: false,
    close: () => file.close(),
  };
}
