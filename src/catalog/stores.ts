/** The stores of a repository: the same tree in each, as far as copies have come. */

import type { StoreSpec } from '../config/stores.ts';
import { openStore } from '../storage/open.ts';
import type { Storage } from '../storage/storage.ts';

/** One of the stores of a repository; what it takes to use it is loaded when it is opened. */
export interface Store {
  /** Its name, whether a run needs it, how long it may stall, for how long it keeps what. */
  readonly spec: StoreSpec;
  /**
   * Opens it; once, whoever asks. Whether it answers shows when it is used.
   *
   * @throws HoldfastError CONFIG_INVALID where what its settings name cannot be used
   */
  open(): Promise<Storage>;
}

/** Keeps the first answer; after a failure it is tried again. */
function once<T>(work: () => Promise<T>): () => Promise<T> {
  let kept: Promise<T> | null = null;
  return () => {
    kept ??= work().catch((error: unknown) => {
      kept = null;
      throw error;
    });
    return kept;
  };
}

/** The stores that the settings name, none of them opened. */
export function createStores(specs: readonly StoreSpec[]): readonly Store[] {
  return specs.map((spec) => ({ spec, open: once(() => openStore(spec)) }));
}
