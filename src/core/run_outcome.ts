/** How a piece of work ended: what alerts, heartbeats and hooks are told. Pure. */

import type { HoldfastError } from './errors.ts';

/** What was done. */
export type RunEvent =
  | 'backup'
  | 'incremental'
  | 'restore'
  | 'recovery'
  | 'prune'
  | 'verify'
  | 'wal_ship'
  | 'wal_stream'
  | 'monitor';

/**
 * What went on beside the work: a copy in a store that may fail without failing the run, or the
 * retention behind a backup.
 */
export interface RunAside {
  readonly event: 'copy' | 'retention';
  /** The store; the server and database whose retention it is. Equal for the same trouble. */
  readonly subject: string;
  /** `null`: it went well. */
  readonly problem: string | null;
}

/** One database, one cluster, or the command as a whole. */
export interface RunOutcome {
  readonly event: RunEvent;
  readonly cluster: string | null;
  /** `null`: a whole cluster, or nobody knows. */
  readonly database: string | null;
  /** As it was named, `db.example.com:5432`; `null` where none was. */
  readonly server: string | null;
  /** `null`: it succeeded. */
  readonly error: HoldfastError | null;
  /** What there is to tell of a success: label, bytes, seconds, digest, what was pruned. */
  readonly facts: Readonly<Record<string, string | number | boolean | null>>;
  readonly asides?: readonly RunAside[];
}
