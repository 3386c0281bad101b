/** What a base backup is asked for, and what came of it. */

import type { StoredCopy } from '../../catalog/copies_writer.ts';
import type { BaseManifest } from '../../core/base_manifest.ts';
import type { ResolvedTarget } from '../../postgres/connection.ts';

/** Which base backup, and how. */
export interface BaseBackupRequest {
  /** Any database of the cluster that the role may connect to. */
  readonly target: ResolvedTarget;
  /**
   * `incremental`: what has changed since the youngest good base backup of this cluster, where
   * the server can tell (PostgreSQL 17+, `summarize_wal`); else a whole one is taken.
   */
  readonly mode: 'full' | 'incremental';
  /** How long to wait for another base backup of the same cluster; 0 ends with LOCKED at once. */
  readonly waitMs: number;
}

/** A base backup that is committed. */
export interface BaseBackupResult {
  readonly manifest: BaseManifest;
  /** Its key in the repository. */
  readonly folder: string;
  /** What became of it in each store; it is whole in at least one. */
  readonly copies: readonly StoredCopy[];
  readonly warnings: readonly string[];
  /** Why it is a whole one where an incremental one was asked for; `null` when it is what was. */
  readonly fullInstead: string | null;
}
