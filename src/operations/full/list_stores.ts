/** What is told about backups whose copies lie in several stores. */

import type { CatalogFilter } from '../../catalog/catalog.ts';
import type { Store } from '../../catalog/stores.ts';
import { parseLabel } from '../../core/label.ts';
import { missingCopies } from '../../core/missing_copies.ts';
import { type RetentionBackup, retentionPolicy } from '../../core/retention.ts';
import type { RepositoryContext } from '../context.ts';
import { type Copies, mergeCopies } from '../merge_copies.ts';
import { type InStore, inStores, type StoreFailure } from '../store_choice.ts';
import { type BackupFacts, type BackupList, listBackups, type UnfinishedFacts } from './list.ts';

/** A backup, and where its copies lie. */
export interface CopiedBackupFacts extends BackupFacts, Copies {
  /** Stores that have to have a copy by their settings and their retention, and have none. */
  readonly missing_in: readonly string[];
}

/** All backups of a repository, in whichever of its stores. */
export interface CopiedBackupList {
  /** Oldest first. */
  readonly backups: readonly CopiedBackupFacts[];
  readonly unfinished: readonly (UnfinishedFacts & { readonly store: string })[];
  /** The stores that were not asked in vain. */
  readonly answered: readonly Store[];
  readonly failures: readonly StoreFailure[];
}

/** What retention has to know of a backup that is only listed. */
function retained({ label, state }: BackupFacts): RetentionBackup[] {
  const parsed = parseLabel(label);
  if (parsed === null) return [];
  const { tier, startedAt } = parsed;
  return [{ label, tier, startedAt, health: state === 'complete' ? 'good' : 'damaged' }];
}

/** The folders of which a store lacks a copy. */
function foldersMissing(
  store: Store,
  all: readonly (BackupFacts & Copies)[],
  now: Date,
): Set<string> {
  const { name, isRequired, retention } = store.spec;
  if (!isRequired) return new Set();
  const policy = retentionPolicy(retention);
  const databases = Map.groupBy(all, ({ cluster, database }) =>
    JSON.stringify([cluster, database]),
  );
  const missing = [...databases.values()].flatMap((backups) => {
    const held = backups.filter(({ stores }) => stores.includes(name)).map(({ label }) => label);
    const retainable = backups.flatMap(retained);
    const labels = new Set(missingCopies(retainable, new Set(held), policy, now));
    return backups.filter(({ label }) => labels.has(label)).map(({ folder }) => folder);
  });
  return new Set(missing);
}

function withMissing(
  context: RepositoryContext,
  answers: readonly InStore<BackupList>[],
): CopiedBackupFacts[] {
  const lists = answers.map(({ store, result }) => {
    return { name: store.spec.name, copies: result.backups };
  });
  const merged = mergeCopies(lists);
  const now = context.clock();
  const missing = answers.map(({ store }) => {
    return { name: store.spec.name, folders: foldersMissing(store, merged, now) };
  });
  return merged.map((backup) => {
    const lacking = missing.filter(({ folders }) => folders.has(backup.folder));
    return { ...backup, missing_in: lacking.map(({ name }) => name) };
  });
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
  const unfinished = answers.flatMap(({ store, result }) =>
    result.unfinished.map((each) => ({ ...each, store: store.spec.name })),
  );
  return {
    backups: withMissing(context, answers),
    unfinished,
    answered: answers.map(({ store }) => store),
    failures,
  };
}
