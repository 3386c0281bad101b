/** What list_backups.ts and the API tell about the backups of a repository. */

import type { CatalogEntry, CatalogFilter } from '../catalog/catalog.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { decodeComponent } from '../core/names.ts';
import type { RepositoryContext } from './context.ts';

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
  readonly details: BackupDetails | null;
}

/** What the manifest of a backup says, as it is listed. */
export interface BackupDetails {
  readonly tier: string;
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly durationSeconds: number;
  readonly storedBytes: number;
  readonly plainBytes: number;
  readonly databaseBytes: number;
  readonly serverVersion: string;
  /** `null` when the dump could not be counted. */
  readonly tables: number | null;
  readonly rows: number | null;
  readonly warnings: readonly string[];
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

function detailsOf({ manifest }: CatalogEntry): BackupDetails | null {
  if (manifest === null) return null;
  const sum = (numbers: readonly number[]) => numbers.reduce((total, part) => total + part, 0);
  const { tables } = manifest;
  return {
    tier: manifest.tier,
    startedAt: manifest.started_at,
    finishedAt: manifest.finished_at,
    durationSeconds: manifest.duration_seconds,
    storedBytes: totalBytes(manifest, 'stored'),
    plainBytes: totalBytes(manifest, 'plain'),
    databaseBytes: manifest.database_bytes,
    serverVersion: manifest.server.version,
    tables: tables === null ? null : tables.length,
    rows: tables === null ? null : sum(tables.map(({ rows }) => rows)),
    warnings: manifest.warnings.map(({ message }) => message),
  };
}

/** The facts about one entry of the catalog. */
function backupFacts(entry: CatalogEntry): BackupFacts {
  const { label, cluster, database, folder, problem, check } = entry;
  const damaged = problem !== null || check?.kind === 'damaged';
  return {
    label,
    cluster,
    database,
    folder,
    state: damaged ? 'damaged' : 'complete',
    problem: problem === null ? null : { code: problem.code, message: problem.message },
    check: check === null ? null : { kind: check.kind, at: check.at.toISOString() },
    details: detailsOf(entry),
  };
}

/**
 * Lists the backups of a repository, and apart from them what is unfinished.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function listBackups(
  context: Pick<RepositoryContext, 'catalog' | 'repository'>,
  filter: CatalogFilter = {},
): Promise<BackupList> {
  const [entries, folders] = await Promise.all([
    context.catalog.listBackups(filter),
    context.repository.storage.unfinishedFolders('full'),
  ]);
  const unfinished = folders.map(({ folder, modifiedAt }) => {
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
