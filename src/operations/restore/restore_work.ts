/** What the steps of a restore share: what was asked for, and what is known before it begins. */

import type { Client } from 'pg';
import type { DatabaseProperties } from '../../core/database_properties.ts';
import type { SqlWork } from '../../core/sql_plan.ts';
import type { ConnectionParameters, ResolvedTarget } from '../../postgres/connection.ts';
import type { Tool } from '../../postgres/tools.ts';
import type { BackupSource } from '../backup_source.ts';
import type { Context, RepositoryContext } from '../context.ts';
import type { RestorePlan } from './restore_plan.ts';
import type { OldDatabase, RestoreServer } from './restore_server.ts';

/** What is restored, where to, and how. */
export interface RestoreRequest {
  readonly source: BackupSource;
  /** The server: its database is not looked at. */
  readonly server: ResolvedTarget;
  readonly targetDatabase: string;
  readonly jobs: number;
  readonly compare: 'counts' | 'content' | 'none';
  /** Collects errors instead of stopping at the first; with any, nothing is swapped. */
  readonly keepGoing?: boolean;
  /** Drops the old database, after a safety backup, before the new one is filled. */
  readonly inPlace?: boolean;
  /** Where rates are recorded; with `inPlace` where the safety backup goes. */
  readonly repository?: RepositoryContext | undefined;
  /** Shown the plan; throws when it is not to be carried out. */
  readonly confirm: (plan: RestorePlan) => Promise<void>;
}

/** All that is known when the plan is made. */
export interface RestoreWork {
  readonly context: Context;
  readonly request: RestoreRequest;
  readonly admin: Client;
  /** Of the maintenance database, on the server that answered. */
  readonly parameters: ConnectionParameters;
  readonly server: RestoreServer;
  readonly old: OldDatabase | null;
  /**
   * What the new database is to carry itself: what the manifest says; for a file that has none,
   * what the database that it replaces carries.
   */
  readonly carried: DatabaseProperties | null;
  /** pg_restore; psql for SQL as text. */
  readonly restoreTool: Tool;
  /** Reads the restored database where its content is compared; else `null`. */
  readonly pgDump: Tool | null;
  readonly restoringName: string;
  readonly beforeName: string;
  /** How SQL as text is restored, once it was read; else `null`. */
  readonly sql: SqlWork | null;
}
