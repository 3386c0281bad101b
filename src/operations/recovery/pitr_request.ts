/** What a recovery is asked for, what was found before it begins, and what came of it. */

import type { Store } from '../../catalog/stores.ts';
import type { RecoveryRequest } from '../../core/recovery.ts';
import type { RestoredCluster } from '../../postgres/recovery_cluster.ts';
import type { RecoveryReport } from '../../postgres/recovery_log.ts';
import type { TargetAction } from '../../postgres/recovery_settings.ts';
import type { ExistingPgdata } from './existing_pgdata.ts';
import type { PitrAnswer, PitrQuestion } from './pitr_check.ts';
import type { Delta } from './pitr_delta.ts';
import type { MappedTablespace } from './pitr_tablespaces.ts';
import type { WalPlace } from './pitr_wal.ts';

/** What was found. */
export interface PreparedPitr {
  /** Where the cluster goes: its own path where the folder is there. */
  readonly pgdata: string;
  readonly cluster: RestoredCluster;
  readonly mapped: readonly MappedTablespace[];
  /** The data directory that is changed or replaced; `null` for a new or empty folder. */
  readonly existing: ExistingPgdata | null;
  /** What of it stays; `null` where nothing does. */
  readonly delta: Delta | null;
  /** Where it is moved to; `null` where it is not. */
  readonly aside: string | null;
  /** Where the WAL is brought; `null`: the server takes it from the archive itself. */
  readonly wal: WalPlace | null;
}

/** What is restored, and where to. */
export interface PitrRequest {
  readonly recovery: RecoveryRequest;
  /** An absolute path. */
  readonly pgdata: string;
  readonly action: TargetAction;
  /** Absolute paths by the name or the OID of a tablespace. */
  readonly tablespaces: ReadonlyMap<string, string>;
  /** Starts the server on this port and waits until it is promoted; `null`: it is not started. */
  readonly startPort: number | null;
  /** With the start: is asked when the server is promoted. */
  readonly question?: PitrQuestion | null;
  /** Takes the configuration that was saved beside the data directory. */
  readonly withConfig?: boolean;
  /**
   * Into a new or empty folder (unless told), into a data directory of which stays what is as it is
   * in the backup, or in place of one, which is put aside.
   */
  readonly way?: 'new' | 'delta' | 'replace';
  /** Besides the store that is restored from: asked for the WAL that it has damaged. */
  readonly fallback?: readonly Store[];
  /** Asks before anything is touched; rejects to stop. */
  readonly confirm?: (prepared: PreparedPitr) => Promise<void>;
}

/** What came of it. */
export interface PitrResult {
  /** The data directory: its own path. */
  readonly pgdata: string;
  /** The program that ends the server. */
  readonly pgCtl: string;
  /** The folder of the server's socket; `null` where it was not started. */
  readonly socket: string | null;
  readonly report: RecoveryReport | null;
  /** What the started server has answered. */
  readonly check: PitrAnswer | null;
  /** What pg_combinebackup warns of, where a chain was put together. */
  readonly warnings: readonly string[];
  /** What of the original's configuration was changed. */
  readonly notes: readonly string[];
  /** Where the WAL lies that the server reads until it is promoted; `null`: in the archive. */
  readonly walFolder: string | null;
  /** Where the data directory is that was there before; `null` where there was none. */
  readonly aside: string | null;
}
