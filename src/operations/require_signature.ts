/** Holds a backup against those whose signatures count, where the settings name any. */

import { buffer } from 'node:stream/consumers';
import { isDeepStrictEqual } from 'node:util';
import { HoldfastError } from '../core/errors.ts';
import { manifestName, signatureName } from '../core/manifest.ts';
import { signerOf } from '../process/ssh_signature.ts';
import type { Storage } from '../storage/storage.ts';
import type { BackupSource } from './backup_source.ts';
import type { Context } from './context.ts';

/** No signature is larger: those of the largest RSA keys have 3 kB. */
const signatureBytesMax = 64 * 1024;

/** The folder of a backup, in whatever store. */
export interface SignedPlace {
  readonly storage: Storage;
  readonly folder: string;
}

/** What is wrong with a signature: which file, and what to read after its name. */
export interface SignatureFinding {
  readonly file: string;
  readonly check: 'signature';
  readonly message: string;
}

/** The text of the signature beside a manifest; `null`: there is none that could be one. */
async function readSignature({ storage, folder }: SignedPlace): Promise<string | null> {
  const key = `${folder}/${signatureName}`;
  const stored = await storage.stat(key);
  if (stored === null || stored.bytes > signatureBytesMax) return null;
  return (await buffer(await storage.get(key))).toString('latin1');
}

/**
 * Whether somebody who may has signed a manifest. Where nobody was named, nobody has to.
 *
 * @param manifest its bytes
 * @returns what is wrong, or `null`
 * @throws HoldfastError CONFIG_INVALID, PROGRAM_MISSING, STORE_…
 */
export async function findUnsigned(
  context: Context,
  place: SignedPlace,
  manifest: Uint8Array,
): Promise<SignatureFinding | null> {
  const { allowed_signers: allowed, temp_dir: temporaryDir } = context.config.settings;
  if (allowed === null) return null;
  const wrong = (file: string, message: string) => ({ file, check: 'signature', message }) as const;
  const signature = await readSignature(place);
  if (signature === null) return wrong(manifestName, 'has no signature beside it');
  const text = Buffer.from(manifest).toString('utf8');
  const { environment, signal } = context;
  const signer = await signerOf(text, signature, allowed, temporaryDir, { environment, signal });
  return 'problem' in signer ? wrong(signatureName, `does not count: ${signer.problem}`) : null;
}

/** How to restore what nobody has signed. */
const unsignedHint =
  'Somebody else may have written it. If you know better: --unsigned restores it all the same.';

/**
 * Refuses a backup that nobody who may has signed.
 *
 * @param place where it lies, and its label
 * @param manifest as it was read before: the signed one has to say the same
 * @throws HoldfastError NOT_SIGNED, with the label in its details
 */
export async function requireSigned(
  context: Context,
  place: SignedPlace & { readonly label: string },
  manifest: unknown,
): Promise<void> {
  if (context.config.settings.allowed_signers === null) return;
  const { storage, folder, label } = place;
  const bytes = await buffer(await storage.get(`${folder}/${manifestName}`));
  const finding = await findUnsigned(context, place, bytes);
  const isSame = isDeepStrictEqual(JSON.parse(bytes.toString('utf8')), manifest);
  if (finding === null && isSame) return;
  const { file, message } = finding ?? { file: manifestName, message: 'has changed meanwhile' };
  throw new HoldfastError('NOT_SIGNED', `the backup ${label} is not signed: ${file} ${message}`, {
    hint: unsignedHint,
    details: { label },
  });
}

/**
 * Refuses what is to be restored, where nobody who may has signed it.
 *
 * @throws HoldfastError NOT_SIGNED, also for a dump that no manifest belongs to
 */
export async function requireSignedSource(
  context: Context,
  { location, manifest, description }: BackupSource,
): Promise<void> {
  if (context.config.settings.allowed_signers === null) return;
  if (location !== null && manifest !== null) {
    await requireSigned(context, { ...location, label: manifest.label }, manifest);
    return;
  }
  const text = `${description} is not signed: no manifest lies beside it`;
  throw new HoldfastError('NOT_SIGNED', text, { hint: unsignedHint });
}

/** A context in which nobody has to have signed. */
export function withoutSigners<Of extends Context>(context: Of): Of {
  const { config } = context;
  const settings = { ...config.settings, allowed_signers: null };
  return { ...context, config: { ...config, settings } };
}
