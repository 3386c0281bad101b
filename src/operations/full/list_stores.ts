/** What is told about backups whose copies lie in several stores. */

import type { CatalogFilter } from '../../catalog/catalog.ts';
import type { Store } from '../../catalog/stores.ts';
import type { RepositoryContext } from '../context.ts';
import { type Copies, mergeCopies } from '../merge_copies.ts';
import { inStores, type StoreFailure } from '../store_choice.ts';
import { type BackupFacts, listBackups, type UnfinishedFacts } from './list.ts';

/** All backups of a repository, in whichever of its stores. */
export interface CopiedBackupList {
  /** Oldest first, each with where its copies lie. */
  readonly backups: readonly (BackupFacts & Copies)[];
  readonly unfinished: readonly (UnfinishedFacts & { readonly store: string })[];
  /** The stores that were not asked in vain. */
  readonly answered: readonly Store[];
  readonly failures: readonly StoreFailure[];
}

/**
 * Lists the backups in several stores as one list. A store that does not answer is told and left
 * out, as long as another one does.
 *
 * @throws HoldfastError when no store can be read
 */
export async function listStores(
  context: RepositoryContext,
  stores: readonly Store[],
  filter: CatalogFilter = {},
): Promise<CopiedBackupList> {
  const { answers, failures } = await inStores(context, stores, (view) =>
    listBackups(view, filter),
  );
  const lists = answers.map(({ store, result }) => ({ spec: store.spec, copies: result.backups }));
  return {
    backups: mergeCopies(lists, context.clock()),
    unfinished: answers.flatMap(({ store, result }) =>
      result.unfinished.map((each) => ({ ...each, store: store.spec.name })),
    ),
    answered: answers.map(({ store }) => store),
    failures,
  };
}
