/** What list_backups.ts and the API tell about the base backups of a repository. */

import {
  type BaseEntry,
  type BaseFilter,
  baseFolder,
  listBaseBackups,
} from '../catalog/base_catalog.ts';
import { incrementalFolder } from '../catalog/wal_archive.ts';
import { chainOf } from '../core/base_chain.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { decodeComponent } from '../core/names.ts';
import type { RepositoryContext } from './context.ts';

/** One line of the list. Sizes in bytes, times ISO 8601 UTC, durations in seconds. */
export interface BaseFacts {
  readonly label: string;
  readonly cluster: string;
  readonly folder: string;
  /** `damaged`: it, or one that it needs, is missing or was found damaged. */
  readonly state: 'complete' | 'damaged';
  /** Why it cannot be used. */
  readonly problem: string | null;
  readonly check: { readonly kind: string; readonly at: string } | null;
  /** Of the manifest; `null` where it cannot be used. */
  readonly details: {
    readonly kind: 'base' | 'incr';
    readonly parent: string | null;
    readonly startedAt: string;
    readonly durationSeconds: number;
    readonly storedBytes: number;
    readonly clusterBytes: number;
    readonly serverVersion: string;
    readonly startLsn: string;
    readonly stopLsn: string;
    readonly timeline: number;
    /** How many pages of the cluster were damaged when it was taken. */
    readonly damagedPages: number;
    readonly warnings: readonly string[];
  } | null;
}

/** Base backups that are being written, or that a killed run has left. */
export interface UnfinishedBase {
  readonly cluster: string;
  readonly label: string;
  readonly folder: string;
  readonly modifiedAt: string;
}

/** All base backups of a repository. */
export interface BaseList {
  /** Oldest first. */
  readonly base_backups: readonly BaseFacts[];
  readonly unfinished_base_backups: readonly UnfinishedBase[];
}

function problemOf(entry: BaseEntry, all: readonly BaseEntry[]): string | null {
  if (entry.problem !== null) return entry.problem.message;
  if (entry.check?.kind === 'damaged') return 'it was found damaged';
  const { broken } = chainOf(
    all.filter(({ cluster }) => cluster === entry.cluster),
    entry.label,
  );
  return broken === null ? null : `it needs ${broken}, which is missing or damaged`;
}

function factsOf(entry: BaseEntry, all: readonly BaseEntry[]): BaseFacts {
  const { label, cluster, folder, check, manifest } = entry;
  const problem = problemOf(entry, all);
  return {
    label,
    cluster,
    folder,
    state: problem === null ? 'complete' : 'damaged',
    problem,
    check: check === null ? null : { kind: check.kind, at: check.at.toISOString() },
    details:
      manifest === null
        ? null
        : {
            kind: manifest.kind,
            parent: manifest.parent,
            startedAt: manifest.started_at,
            durationSeconds: manifest.duration_seconds,
            storedBytes: totalBytes(manifest, 'stored'),
            clusterBytes: manifest.cluster_bytes,
            serverVersion: manifest.server.version,
            startLsn: manifest.start_lsn,
            stopLsn: manifest.stop_lsn,
            timeline: manifest.stop_timeline,
            damagedPages: manifest.damaged_pages.length,
            warnings: manifest.warnings.map(({ message }) => message),
          },
  };
}

/**
 * Lists the base backups of a repository, and apart from them what is unfinished.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function listBases(
  { repository }: Pick<RepositoryContext, 'repository'>,
  filter: BaseFilter = {},
): Promise<BaseList> {
  const { storage } = repository;
  const entries = await listBaseBackups(storage, filter);
  const folders = await storage.unfinishedFolders(incrementalFolder);
  const unfinished = folders.flatMap(({ folder, modifiedAt }) => {
    const [, component = '', , label = ''] = folder.split('/');
    const cluster = decodeComponent(component) ?? component;
    if (folder !== `${baseFolder(cluster)}/${label}`) return [];
    if ((filter.cluster ?? cluster) !== cluster) return [];
    return [{ cluster, label, folder, modifiedAt: modifiedAt.toISOString() }];
  });
  return {
    base_backups: entries.map((entry) => factsOf(entry, entries)),
    unfinished_base_backups: unfinished,
  };
}
