/** How large the next base backup will be. Pure. */

import type { BaseManifest } from './base_manifest.ts';
import { totalBytes } from './manifest_sizes.ts';

/** What is expected of a base backup, in bytes. */
export interface BaseEstimate {
  readonly plainBytes: number;
  /** What it will take in the store. */
  readonly storedBytes: number;
  /** Whether an earlier backup says so, or only the size of the cluster. */
  readonly from: 'history' | 'database';
}

type Sized = Pick<BaseManifest, 'kind' | 'cluster_bytes' | 'files'>;

/** The archives of a cluster, compressed, are rarely more than half of it. */
const storedPart = 0.5;
/** How much changes differs from day to day. */
const incrementFactor = 2;

function estimateWhole(clusterBytes: number, last: Sized | undefined): BaseEstimate {
  if (last === undefined || last.cluster_bytes === 0) {
    const storedBytes = Math.ceil(clusterBytes * storedPart);
    return { plainBytes: clusterBytes, storedBytes, from: 'database' };
  }
  const growth = Math.max(1, clusterBytes / last.cluster_bytes);
  const storedBytes = Math.ceil(totalBytes(last, 'stored') * growth);
  return { plainBytes: clusterBytes, storedBytes, from: 'history' };
}

/**
 * A whole one by the last whole one, scaled by how the cluster has grown, else by the cluster's
 * size alone. An incremental one by twice the last increment; without one it may be as large as a
 * whole one, which is then no reason to refuse it.
 *
 * @param earlier manifests of the cluster's base backups, oldest first
 */
export function estimateBase(
  kind: 'base' | 'incr',
  clusterBytes: number,
  earlier: readonly Sized[],
): BaseEstimate {
  const last = (wanted: Sized['kind']) => earlier.findLast((each) => each.kind === wanted);
  const whole = estimateWhole(clusterBytes, last('base'));
  if (kind === 'base') return whole;
  const increment = last('incr');
  if (increment === undefined) return { ...whole, from: 'database' };
  const plain = totalBytes(increment, 'plain') ?? whole.plainBytes;
  return {
    plainBytes: Math.min(whole.plainBytes, plain * incrementFactor),
    storedBytes: Math.min(whole.storedBytes, totalBytes(increment, 'stored') * incrementFactor),
    from: 'history',
  };
}
