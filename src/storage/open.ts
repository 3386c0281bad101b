/** The one place that knows which stores there are. */

import type { StoreSpec } from '../config/stores.ts';
import { HoldfastError } from '../core/errors.ts';
import { createLocalStorage } from './local.ts';
import type { Storage } from './storage.ts';

/**
 * Opens the store in a folder of this machine.
 *
 * @param path absolute
 */
export function openFolder(path: string): Storage {
  return createLocalStorage({ root: path });
}

/** Opens a store; what it takes to speak to a bucket is loaded for a bucket only. */
export async function openStore(spec: StoreSpec): Promise<Storage> {
  if (spec.kind === 'folder') return openFolder(spec.path);
  throw new HoldfastError('CONFIG_INVALID', 'buckets are not there yet', { hint: 'Leave it out.' });
}
