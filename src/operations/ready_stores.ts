/** Opens the stores that a backup goes to, and asks each whether it will hold it. */

import { stalledError, stallMsOf } from '../catalog/copies_writer.ts';
import { openToWrite } from '../catalog/repository.ts';
import type { Store } from '../catalog/stores.ts';
import { localName, type StoreSpec } from '../config/stores.ts';
import { assert } from '../core/assert.ts';
import { type HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { ManifestWarning } from '../core/manifest.ts';
import { within } from '../process/within.ts';
import type { Storage } from '../storage/storage.ts';
import { checkSpace, type SizeEstimate } from './backup_space.ts';
import type { RepositoryContext } from './context.ts';

/** A store that was opened to be written to, or why it cannot be. */
export type ReadyStore = {
  readonly spec: StoreSpec;
  /** `null`: it cannot tell. */
  readonly freeBytes: number | null;
} & (
  | { readonly storage: Storage; readonly error: null }
  | { readonly storage: null; readonly error: HoldfastError }
);

/** What the stores of a run have answered. */
export interface ReadyStores {
  /** In their order, the first that can be written to in front of the others like it. */
  readonly stores: readonly ReadyStore[];
  /** The first store that can be written to. */
  readonly storage: Storage;
  readonly warnings: readonly ManifestWarning[];
}

/** Opens the stores of a run, all at once; what one of them says is no error of the others. */
export async function openStores(context: RepositoryContext): Promise<ReadyStore[]> {
  const { repository } = context;
  const open = async (store: Store): Promise<ReadyStore> => {
    const { spec } = store;
    const late = () => stalledError(spec, 'opening it');
    try {
      const isLocal = spec.name === localName;
      const work = isLocal ? repository.local : openToWrite(repository, store);
      const storage = await within(stallMsOf(spec), Promise.resolve(work), late);
      const freeBytes = await within(stallMsOf(spec), storage.freeBytes(), late);
      return { spec, storage, freeBytes, error: null };
    } catch (thrown) {
      const error = toHoldfastError(thrown, `opening the store ${JSON.stringify(spec.name)}`);
      return { spec, storage: null, freeBytes: null, error };
    }
  };
  return Promise.all(repository.stores.map(open));
}

/**
 * Opens the stores of the run and holds the free space of each against what is expected. A store
 * that will not hold the backup is not begun, as long as another one will.
 *
 * @throws HoldfastError of the first store, where none can be written to: NO_SPACE, STORE_…
 */
export async function readyStores(
  context: RepositoryContext,
  estimate: SizeEstimate,
): Promise<ReadyStores> {
  const keepFreeBytes = context.config.settings.min_disk_space_gb * 1e9;
  const opened = await openStores(context);
  const warnings: ManifestWarning[] = [];
  const stores = opened.map((store): ReadyStore => {
    const { spec, freeBytes } = store;
    try {
      const tight = checkSpace(estimate, freeBytes, keepFreeBytes);
      const where = opened.length === 1 ? '' : `in the store ${JSON.stringify(spec.name)} `;
      if (tight !== null) warnings.push({ code: 'little-space', message: `${where}${tight}` });
      return store;
    } catch (thrown) {
      return { spec, freeBytes, storage: null, error: toHoldfastError(thrown) };
    }
  });
  const usable = stores.find(({ storage }) => storage !== null);
  if (usable?.storage != null) return { stores, storage: usable.storage, warnings };
  const [first] = stores;
  assert(first?.error != null, 'a store that cannot be written to has an error');
  throw first.error;
}
