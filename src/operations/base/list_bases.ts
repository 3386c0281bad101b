/** What list_backups.ts and the API tell about the base backups of a repository. */

import {
  type BaseEntry,
  type BaseFilter,
  baseFolder,
  listBaseBackups,
} from '../../catalog/base_catalog.ts';
import { incrementalFolder, openWalArchive } from '../../catalog/wal_archive.ts';
import { chainOf } from '../../core/base_chain.ts';
import { toHoldfastError } from '../../core/errors.ts';
import { totalBytes } from '../../core/manifest_sizes.ts';
import { decodeComponent } from '../../core/names.ts';
import { retainedBase } from '../../core/retained_base.ts';
import { planIncremental } from '../../core/wal_retention.ts';
import { readIncrementalScene } from '../archiving/incremental_scene.ts';
import type { RepositoryContext } from '../context.ts';

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
  /** What the retention says of it now, and why; `null` where that cannot be told. */
  readonly retention: { readonly action: 'keep' | 'remove'; readonly reason: string } | null;
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

/** By the folder of a base backup. */
type Decisions = ReadonlyMap<string, NonNullable<BaseFacts['retention']>>;

function factsOf(entry: BaseEntry, all: readonly BaseEntry[], decisions: Decisions): BaseFacts {
  const { label, cluster, folder, check, manifest } = entry;
  const problem = problemOf(entry, all);
  return {
    label,
    cluster,
    folder,
    state: problem === null ? 'complete' : 'damaged',
    problem,
    check: check === null ? null : { kind: check.kind, at: check.at.toISOString() },
    retention: decisions.get(folder) ?? null,
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

/** What the retention of one cluster says, without a look at the files of base backups. */
async function decideCluster(
  context: RepositoryContext,
  cluster: string,
  entries: readonly BaseEntry[],
): Promise<[string, NonNullable<BaseFacts['retention']>][]> {
  try {
    const archive = openWalArchive(context.repository.storage, cluster);
    const found = { entries, listing: await archive.list() };
    const scene = await readIncrementalScene(context, archive, found, (entry) => {
      return { ...retainedBase(entry, null), folder: entry.folder };
    });
    const { bases } = planIncremental(scene);
    return bases.map(({ base, action, reason }) => [base.folder, { action, reason }]);
  } catch (error) {
    // The list is about what there is, also where an archive cannot be read.
    context.log.detail(`the retention cannot be told: ${toHoldfastError(error).message}`);
    return [];
  }
}

/**
 * Lists the base backups of a repository, and apart from them what is unfinished.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function listBases(
  context: RepositoryContext,
  filter: BaseFilter = {},
): Promise<BaseList> {
  const { storage } = context.repository;
  const entries = await listBaseBackups(storage, filter);
  const decisions = new Map<string, NonNullable<BaseFacts['retention']>>();
  for (const each of new Set(entries.map(({ cluster }) => cluster))) {
    const own = entries.filter(({ cluster }) => cluster === each);
    for (const [folder, said] of await decideCluster(context, each, own)) {
      decisions.set(folder, said);
    }
  }
  const folders = await storage.unfinishedFolders(incrementalFolder);
  const unfinished = folders.flatMap(({ folder, modifiedAt }) => {
    const [, component = '', , label = ''] = folder.split('/');
    const cluster = decodeComponent(component) ?? component;
    if (folder !== `${baseFolder(cluster)}/${label}`) return [];
    if ((filter.cluster ?? cluster) !== cluster) return [];
    return [{ cluster, label, folder, modifiedAt: modifiedAt.toISOString() }];
  });
  return {
    base_backups: entries.map((entry) => factsOf(entry, entries, decisions)),
    unfinished_base_backups: unfinished,
  };
}
