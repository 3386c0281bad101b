/** Begins a backup in every store at once, and says what became of it in each. */

import {
  type BegunCopy,
  CopiesWriter,
  type StoredCopy,
  stalledError,
  stallMsOf,
} from '../catalog/copies_writer.ts';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { within } from '../process/within.ts';
import type { FolderFacts } from '../storage/storage.ts';
import type { RepositoryContext } from './context.ts';
import type { ReadyStore } from './ready_stores.ts';

/**
 * Creates the folder of a backup in every store. One in which that fails is left behind, as one
 * that fails later: the backup is whole in the others, and a later run brings it there.
 *
 * @param stores as they have answered
 * @param folder its key
 * @throws HoldfastError of the first store, when none takes it
 */
export async function beginCopies(
  context: RepositoryContext,
  stores: readonly ReadyStore[],
  folder: string,
  facts: FolderFacts,
): Promise<CopiesWriter> {
  const begin = async ({ spec, storage, error }: ReadyStore): Promise<BegunCopy> => {
    if (storage === null) return { spec, error };
    try {
      const late = () => stalledError(spec, `writing ${folder}`);
      const created = storage.createFolder(folder, facts);
      return { spec, writer: await within(stallMsOf(spec), created, late) };
    } catch (thrown) {
      return { spec, error: toHoldfastError(thrown, `writing ${folder}`) };
    }
  };
  return new CopiesWriter(await Promise.all(stores.map(begin)), {
    folder,
    stopwatch: context.stopwatch,
    onLeft: ({ name }, { code, message }) => {
      const text = `going on without the store ${JSON.stringify(name)}: ${message}`;
      context.log.step(text, { store: name, code });
    },
  });
}

/** Which stores lack a backup, of those that a run can do without. */
export function copyWarnings(copies: readonly StoredCopy[]): string[] {
  return copies.flatMap(({ store, isRequired, error }) =>
    error === null || isRequired
      ? []
      : [`the store ${JSON.stringify(store)} does not have this backup yet: ${error.message}`],
  );
}

/**
 * The error to end with where a store that the run needs does not have the backup; `null` where all
 * of those do. It is whole in the others all the same.
 */
export function missingCopyError(
  label: string,
  copies: readonly StoredCopy[],
): HoldfastError | null {
  const missing = copies.find(({ isRequired, error }) => isRequired && error !== null);
  if (missing?.error == null) return null;
  const { store, error } = missing;
  const stored = copies.filter(({ status }) => status === 'stored');
  const where = stored.map((copy) => JSON.stringify(copy.store)).join(', ');
  const code = error.code === 'STORE_UNREACHABLE' ? error.code : 'STORE_REFUSED';
  const text = `${label} is whole in ${where}, but not in the store ${JSON.stringify(store)}`;
  return new HoldfastError(code, `${text}: ${error.message}`, {
    hint: 'The next run brings it there; look at the store, or set `required: false` for it.',
    cause: error,
    details: { label, store, cause: error.code },
  });
}
