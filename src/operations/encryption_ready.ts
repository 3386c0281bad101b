/** What encryption means for a new backup: whether it can begin, and how it can be read back. */

import type { FilterSpec, Manifest, ManifestWarning } from '../core/manifest.ts';
import { encryptionOf } from '../core/recipients.ts';
import { canDecryptOwn, probeEncryption } from '../pipeline/encryption_check.ts';
import { newEncryption } from '../pipeline/new_backup_filters.ts';
import { type Context, flowContext } from './context.ts';

/**
 * Finds before anything is begun what would hinder the encryption at its end.
 *
 * @throws HoldfastError CONFIG_INVALID, PROGRAM_MISSING
 */
export async function requireEncryption(context: Context): Promise<void> {
  const spec = await newEncryption(context.config.settings, context.environment);
  if (spec !== null) await probeEncryption(spec, flowContext(context));
}

type Depth = Manifest['read_back']['depth'];

/** How a new backup is read back, and what a person should know of that. */
export interface ReadBackPlan {
  readonly depth: Depth;
  readonly warnings: readonly ManifestWarning[];
}

/** A machine with public keys alone compares the stored bytes: what is in them it cannot see. */
export async function planReadBack(
  context: Context,
  filters: readonly FilterSpec[],
  wanted: Depth,
): Promise<ReadBackPlan> {
  if (wanted !== 'plain' || (await canDecryptOwn(filters, flowContext(context)))) {
    return { depth: wanted, warnings: [] };
  }
  const warning = notDecrypted(filters);
  context.log.warn(warning.message);
  return { depth: 'stored', warnings: [warning] };
}

/** What is said of a backup that should have been read back whole, and could not be. */
export function notDecrypted(filters: readonly FilterSpec[]): ManifestWarning {
  const message =
    `it is encrypted with ${encryptionOf(filters)?.name}, and no private key of its recipients ` +
    'is on this machine: the stored bytes were read back, and not what is in them';
  return { code: 'not-decrypted', message };
}
