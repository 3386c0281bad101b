/** Signs the manifest of a backup before it is committed. */

import { signatureName } from '../core/manifest.ts';
import { signText } from '../process/ssh_signature.ts';
import type { FolderWriter } from '../storage/storage.ts';
import type { Context } from './context.ts';

/**
 * Puts the signature of a manifest into its folder, where the settings name a key for that.
 *
 * @param manifest its bytes, which are committed next
 * @throws HoldfastError CONFIG_INVALID where the key cannot be used, PROGRAM_MISSING
 */
export async function putSignature(
  context: Context,
  folder: FolderWriter,
  manifest: Uint8Array,
  signal: AbortSignal,
): Promise<void> {
  const { signing_key: key } = context.config.settings;
  if (key === null) return;
  const { environment } = context;
  const text = Buffer.from(manifest).toString('utf8');
  const signature = await signText(text, key, { environment, signal });
  await folder.put(signatureName, Buffer.from(signature));
}
