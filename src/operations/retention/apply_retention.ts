/** Applies the retention of one database or cluster after a good run for it. */

import { toHoldfastError } from '../../core/errors.ts';
import type { Manifest } from '../../core/manifest.ts';
import { printable } from '../../core/printable.ts';
import type { RepositoryContext } from '../context.ts';
import { prune } from './prune.ts';
import { pruneCluster } from './prune_cluster.ts';
import { clusterGuardErrors, guardErrors } from './retention_guard.ts';

/** What the retention after a backup has done. */
export interface AppliedRetention {
  /** Labels. */
  readonly removed: readonly string[];
  readonly freed_bytes: number;
  /** What a person should know; the backup is good whatever stands here. */
  readonly warnings: readonly string[];
}

/**
 * Removes what the retention of the database does not keep any more. It never throws: a backup that
 * was taken is a good one, whatever becomes of the older ones.
 */
export async function applyRetention(
  context: RepositoryContext,
  { cluster, database }: Pick<Manifest, 'cluster' | 'database'>,
): Promise<AppliedRetention> {
  try {
    const filter = { cluster, database };
    const done = await prune(context, { filter, force: false, agreed: null });
    const removed = done.removed.map(({ label }) => label);
    const guards = guardErrors(done.plan, false).map(({ message, hint }) => `${message}. ${hint}`);
    for (const warning of guards) context.log.warn(warning);
    return { removed, freed_bytes: done.freedBytes, warnings: guards };
  } catch (thrown) {
    const { message } = toHoldfastError(thrown);
    const warning = `the retention of ${printable(database)} was not applied: ${message}`;
    context.log.warn(warning);
    return { removed: [], freed_bytes: 0, warnings: [warning] };
  }
}

/** What the retention of base backups and WAL has done. */
export interface AppliedClusterRetention extends AppliedRetention {
  /** How many files of the WAL were removed. */
  readonly wal_files: number;
}

/**
 * Removes what the retention of a cluster does not keep any more of its base backups and its WAL.
 * It never throws: the recovery point has moved, whatever becomes of what is old.
 */
export async function applyClusterRetention(
  context: RepositoryContext,
  cluster: string,
): Promise<AppliedClusterRetention> {
  const nothing = { removed: [], wal_files: 0, freed_bytes: 0 };
  try {
    const done = await pruneCluster(context, cluster, { force: false, agreed: null });
    const removed = done.removed.map(({ label }) => label);
    const errors = clusterGuardErrors(done.plan === null ? [] : [done.plan], false);
    const guards = errors.map(({ message, hint }) => `${message}. ${hint}`);
    for (const warning of guards) context.log.warn(warning);
    const { walFiles, freedBytes } = done;
    return { removed, wal_files: walFiles, freed_bytes: freedBytes, warnings: guards };
  } catch (thrown) {
    const { message } = toHoldfastError(thrown);
    const warning = `the retention of ${printable(cluster)} was not applied: ${message}`;
    context.log.warn(warning);
    return { ...nothing, warnings: [warning] };
  }
}
