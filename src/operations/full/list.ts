/** What list_backups.ts and the API tell about the backups of a repository. */

import { type CatalogFilter, createCatalog, type ListedEntry } from '../../catalog/catalog.ts';
import { openManifestCache } from '../../catalog/manifest_cache.ts';
import type { ManifestFacts } from '../../core/manifest_facts.ts';
import { decodeComponent } from '../../core/names.ts';
import type { RepositoryContext } from '../context.ts';
import { surveyBackups } from '../survey_backups.ts';

/** One line of the list. Sizes in bytes, times ISO 8601 UTC, durations in seconds. */
export interface BackupFacts {
  readonly label: string;
  readonly cluster: string;
  readonly database: string;
  readonly folder: string;
  /** `damaged`: its manifest cannot be used, or the latest check found it damaged. */
  readonly state: 'complete' | 'damaged';
  /** Why the manifest cannot be used. */
  readonly problem: { readonly code: string; readonly message: string } | null;
  readonly check: { readonly kind: string; readonly at: string } | null;
  /** Of the manifest; `null` where it cannot be used. */
  readonly details: ManifestFacts | null;
}

/** Something that was begun and is no backup. */
export interface UnfinishedFacts {
  readonly cluster: string;
  readonly database: string;
  readonly label: string;
  readonly folder: string;
  readonly modifiedAt: string;
}

/** All that lies in a repository's folders of backups. */
export interface BackupList {
  /** Oldest first. */
  readonly backups: readonly BackupFacts[];
  /** Backups that are being written, or that a killed run has left. */
  readonly unfinished: readonly UnfinishedFacts[];
}

/** The facts about one entry of the catalog. */
function backupFacts(entry: ListedEntry): BackupFacts {
  const { label, cluster, database, folder, problem, check, facts } = entry;
  const damaged = problem !== null || check?.kind === 'damaged';
  return {
    label,
    cluster,
    database,
    folder,
    state: damaged ? 'damaged' : 'complete',
    problem: problem === null ? null : { code: problem.code, message: problem.message },
    check: check === null ? null : { kind: check.kind, at: check.at.toISOString() },
    details: facts,
  };
}

/**
 * Lists the backups of a repository, and apart from them what is unfinished.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function listBackups(
  context: Pick<RepositoryContext, 'catalog' | 'repository' | 'log'>,
  filter: CatalogFilter = {},
): Promise<BackupList> {
  const { stateDir, id, stores } = context.repository;
  const cache = await openManifestCache(stateDir, id, stores[0].spec.name);
  const { storage, tops } = await surveyBackups(context.repository.storage, filter);
  const catalog = storage === context.repository.storage ? context.catalog : createCatalog(storage);
  const [entries, ...folders] = await Promise.all([
    catalog.listFacts(cache, filter),
    ...tops.map((top) => storage.unfinishedFolders(top)),
  ]);
  const everything = Object.values(filter).every((value) => value === undefined);
  const notKept = await cache.save(everything);
  if (notKept !== null) context.log.detail(`the list will not be faster: ${notKept.message}`);
  const unfinished = folders.flat().map(({ folder, modifiedAt }) => {
    const [, cluster = '', database = '', label = ''] = folder.split('/');
    return {
      cluster: decodeComponent(cluster) ?? cluster,
      database: decodeComponent(database) ?? database,
      label,
      folder,
      modifiedAt: modifiedAt.toISOString(),
    };
  });
  return {
    backups: entries.map(backupFacts),
    unfinished: unfinished.filter(
      ({ cluster, database }) =>
        (filter.cluster ?? cluster) === cluster && (filter.database ?? database) === database,
    ),
  };
}
