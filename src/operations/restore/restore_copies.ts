/** The copies of a backup in several stores: which one is read, and what if it turns out bad. */

import {
  type BackupEntry,
  type CatalogEntry,
  type CatalogFilter,
  isUsable,
} from '../../catalog/catalog.ts';
import type { Store } from '../../catalog/stores.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import type { BackupSource } from '../backup_source.ts';
import type { RepositoryContext } from '../context.ts';
import { firstWith, type InStore, inStores, isOfCopy, mostTelling } from '../store_choice.ts';

/** An entry of the catalog of one store, with the repository as it lies there. */
export interface Copy {
  readonly view: RepositoryContext;
  readonly entry: CatalogEntry;
}

/** What narrows the search for a label down. */
interface LabelFilter {
  readonly cluster?: string | undefined;
  readonly database?: string | undefined;
}

/**
 * The first copy of a backup against which nothing is known; where there is none, the first one.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND, and what the stores throw
 */
export async function findCopy(
  context: RepositoryContext,
  stores: readonly Store[],
  label: string,
  filter: LabelFilter,
): Promise<InStore<Copy>> {
  const unusable: InStore<Copy>[] = [];
  try {
    return await firstWith(context, stores, async (view, store) => {
      const entry = await view.catalog.findBackup(label, filter);
      if (isUsable(entry)) return { view, entry };
      unusable.push({ store, result: { view, entry } });
      throw new HoldfastError('BACKUP_NOT_FOUND', `the copy of ${label} is damaged`);
    });
  } catch (error) {
    const [first] = unusable;
    if (first === undefined) throw error;
    return first;
  }
}

/** A usable backup, and younger ones that were passed over for it. */
export interface LatestCopy {
  readonly view: RepositoryContext;
  readonly entry: BackupEntry;
  readonly skipped: readonly CatalogEntry[];
}

/**
 * The youngest usable backup of a database in any of some stores; of several copies that of the
 * first store.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND as the store says it that knows most; what the stores say
 *   where none answers
 */
export async function latestCopy(
  context: RepositoryContext,
  database: string,
  filter: CatalogFilter,
  stores: readonly Store[],
): Promise<InStore<LatestCopy>> {
  const { answers, failures } = await inStores(context, stores, async (view) => {
    try {
      return { view, ...(await view.catalog.latestBackup(database, filter)) };
    } catch (error) {
      // Another store may have one.
      if (error instanceof HoldfastError && error.code === 'BACKUP_NOT_FOUND') return error;
      throw error;
    }
  });
  const found = answers.flatMap(({ store, result }) =>
    result instanceof HoldfastError ? [] : [{ store, result }],
  );
  const [first, ...others] = found;
  if (first !== undefined) {
    return others.reduce(
      (best, each) => (each.result.entry.label > best.result.entry.label ? each : best),
      first,
    );
  }
  // A store that did not answer might have had one.
  const [failure] = failures;
  if (failure !== undefined) throw failure.error;
  throw mostTelling(
    answers.flatMap(({ result }) => (result instanceof HoldfastError ? [result] : [])),
  );
}

/** Whether another copy may do better; after an old database was dropped nobody tries again. */
function mayTryAgain(error: HoldfastError): boolean {
  return isOfCopy(error) && error.details?.safety_backup === undefined;
}

/**
 * Does something with a backup, and does it again with the copy in the next store where this one
 * cannot be used.
 *
 * @param work leaves nothing behind where it throws
 * @throws what the work throws with the last copy
 */
export async function withAnyCopy<Result>(
  source: BackupSource,
  work: (source: BackupSource) => Promise<Result>,
): Promise<Result> {
  for (let current = source; ; ) {
    try {
      return await work(current);
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      const next = mayTryAgain(error) ? await current.nextCopy?.(error) : null;
      if (next == null) throw thrown;
      current = next;
    }
  }
}

/** Keeps what was found wrong with a copy in the store where it lies; never fails a restore. */
async function recordDamage({ view, entry }: Copy, error: HoldfastError): Promise<void> {
  if (error.code !== 'DAMAGED') return;
  const { clock, runId, host, log } = view;
  const findings = error.details?.findings ?? [{ message: error.message }];
  const facts = { run_id: runId, host, depth: 'plain', findings };
  try {
    await view.catalog.recordCheck(entry, { kind: 'damaged', at: clock() }, facts);
  } catch (thrown) {
    log.warn(`the damage could not be recorded: ${toHoldfastError(thrown).message}`);
  }
}

/**
 * What gives the copy in the next of some stores, once: asked again it gives the same.
 *
 * @param bad the copy that cannot be used
 * @param rest the stores that have not been tried
 * @param sourceOf makes a source of what was found
 */
export function nextCopy(
  context: RepositoryContext,
  { store, result: bad }: InStore<Copy>,
  rest: readonly Store[],
  sourceOf: (found: InStore<Copy>) => BackupSource,
): BackupSource['nextCopy'] {
  const { label, cluster, database } = bad.entry;
  let next: Promise<BackupSource | null> | null = null;
  const look = async (error: HoldfastError): Promise<BackupSource | null> => {
    if (rest.length === 0) return null;
    try {
      const found = await findCopy(context, rest, label, { cluster, database });
      const source = sourceOf(found);
      const names = [store, found.store].map(({ spec }) => printable(spec.name));
      context.log.warn(
        `the copy of ${label} in the store ${names[0]} cannot be used: ${error.message}; ` +
          `going on with the one in ${names[1]}`,
      );
      await recordDamage(bad, error);
      return source;
    } catch (thrown) {
      context.log.detail(`there is no other copy: ${toHoldfastError(thrown).message}`);
      return null;
    }
  };
  return (error) => {
    next ??= look(error);
    return next;
  };
}
