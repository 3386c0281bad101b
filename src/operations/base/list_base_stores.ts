/** What is told about base backups whose copies lie in several stores. */

import type { BaseFilter } from '../../catalog/base_catalog.ts';
import type { Store } from '../../catalog/stores.ts';
import { incrementalPolicy } from '../../core/base_retention.ts';
import { parseBaseLabel } from '../../core/label.ts';
import type { RepositoryContext } from '../context.ts';
import { type Copies, mergeCopies } from '../merge_copies.ts';
import { inStores } from '../store_choice.ts';
import { type BaseFacts, listBases, type UnfinishedBase } from './list_bases.ts';

/** A base backup, and where its copies lie. */
export interface CopiedBaseFacts extends BaseFacts, Copies {
  /** Stores that have to have a copy by their settings and their window, and have none. */
  readonly missing_in: readonly string[];
}

/** All base backups of a repository, in whichever of its stores. */
export interface CopiedBaseList {
  /** Oldest first. */
  readonly base_backups: readonly CopiedBaseFacts[];
  readonly unfinished_base_backups: readonly (UnfinishedBase & { readonly store: string })[];
}

const dayMs = 86_400_000;

/** Whether it is of a store's recovery window, younger than what the store has, and not there. */
function isMissing(
  { spec }: Store,
  base: BaseFacts & Copies,
  all: readonly (BaseFacts & Copies)[],
  now: Date,
): boolean {
  if (!spec.isRequired || base.stores.includes(spec.name) || base.state === 'damaged') return false;
  const startedAt = parseBaseLabel(base.label)?.startedAt.getTime() ?? 0;
  if (now.getTime() - startedAt > incrementalPolicy(spec.retention).windowDays * dayMs)
    return false;
  const own = all.filter(({ cluster }) => cluster === base.cluster);
  const oldest = own.find(({ stores }) => stores.includes(spec.name)) ?? own.at(-1);
  return oldest === undefined || base.label >= oldest.label;
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
  const merged = mergeCopies(
    answers.map(({ store, result }) => ({ name: store.spec.name, copies: result.base_backups })),
  );
  const now = context.clock();
  return {
    base_backups: merged.map((base) => {
      const lacking = answers.filter(({ store }) => isMissing(store, base, merged, now));
      return { ...base, missing_in: lacking.map(({ store }) => store.spec.name) };
    }),
    unfinished_base_backups: answers.flatMap(({ store, result }) =>
      result.unfinished_base_backups.map((each) => ({ ...each, store: store.spec.name })),
    ),
  };
}
