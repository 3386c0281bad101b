/** What is told about base backups whose copies lie in several stores. */

import type { BaseFilter } from '../../catalog/base_catalog.ts';
import type { Store } from '../../catalog/stores.ts';
import type { RepositoryContext } from '../context.ts';
import { type Copies, mergeCopies } from '../merge_copies.ts';
import { inStores } from '../store_choice.ts';
import { type BaseFacts, listBases, type UnfinishedBase } from './list_bases.ts';

/** A base backup, and where its copies lie. */
export interface CopiedBaseFacts extends BaseFacts, Copies {}

/** All base backups of a repository, in whichever of its stores. */
export interface CopiedBaseList {
  /** Oldest first. */
  readonly base_backups: readonly CopiedBaseFacts[];
  readonly unfinished_base_backups: readonly (UnfinishedBase & { readonly store: string })[];
}

/**
 * Lists the base backups in several stores as one list.
 *
 * @param stores those that have answered before
 * @throws HoldfastError when no store can be read
 */
export async function listBaseStores(
  context: RepositoryContext,
  stores: readonly Store[],
  filter: BaseFilter = {},
): Promise<CopiedBaseList> {
  const { answers } = await inStores(context, stores, (view) => listBases(view, filter));
  const lists = answers.map(({ store, result }) => {
    return { spec: store.spec, copies: result.base_backups };
  });
  return {
    base_backups: mergeCopies(lists, context.clock()),
    unfinished_base_backups: answers.flatMap(({ store, result }) =>
      result.unfinished_base_backups.map((each) => ({ ...each, store: store.spec.name })),
    ),
  };
}
