/**
 * What the monitor asks a server about its WAL. Each question by itself: a role may be allowed one
 * and not the other (pg_monitor is allowed all of them).
 */

import type { ArchiverHealth, WaitingWal } from '../core/health_archiver.ts';
import type { SlotHealth } from '../core/health_server.ts';
import { pinSearchPath, type Queryable, queryOne, queryRows } from './query.ts';

/** Settings and state of a server, beside what {@link readServerFacts} tells. */
export interface WalServer {
  readonly archiveMode: string;
  readonly archiveCommand: string;
  /** Empty: archive_command counts (PostgreSQL 15+). */
  readonly archiveLibrary: string;
  /** `null` where the role may not see it. */
  readonly dataDirectory: string | null;
  /** The setting max_slot_wal_keep_size is -1. */
  readonly isUncapped: boolean;
  readonly startedAt: Date;
  /** The transaction that ended last, of all that began; 32 bits, as the WAL names it. */
  readonly lastXid: number;
  /** Transactions run that have begun to write. */
  readonly isWriting: boolean;
}

function time(seconds: number | null): Date | null {
  return seconds === null ? null : new Date(seconds * 1000);
}

/** Reads it. Any role may. */
export async function readWalServer(client: Queryable): Promise<WalServer> {
  await pinSearchPath(client);
  const { started, ...row } = await queryOne<
    Omit<WalServer, 'startedAt'> & { readonly started: number }
  >(
    client,
    `SELECT current_setting('archive_mode') AS "archiveMode",
            current_setting('archive_command') AS "archiveCommand",
            coalesce(current_setting('archive_library', true), '') AS "archiveLibrary",
            (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS "dataDirectory",
            (SELECT setting FROM pg_settings WHERE name = 'max_slot_wal_keep_size') = '-1'
              AS "isUncapped",
            extract(epoch FROM pg_postmaster_start_time())::float8 AS started,
            ((pg_snapshot_xmax(now.snapshot)::text::numeric - 1) % 4294967296)::float8
              AS "lastXid",
            pg_snapshot_xmin(now.snapshot) <> pg_snapshot_xmax(now.snapshot) AS "isWriting"
       FROM (SELECT pg_current_snapshot() AS snapshot) AS now`,
    [],
    { doing: 'reading how the WAL is archived' },
  );
  return { ...row, startedAt: new Date(started * 1000) };
}

/** The archiver, as pg_stat_archiver counts. */
export type ArchiverCounts = Pick<
  ArchiverHealth,
  'lastArchived' | 'lastArchivedAt' | 'lastFailed' | 'lastFailedAt' | 'failedCount'
>;

/** Reads what is counted of the archiver. Any role may. */
export async function readArchiverCounts(client: Queryable): Promise<ArchiverCounts> {
  const { archived, failed, ...row } = await queryOne<
    Pick<ArchiverHealth, 'lastArchived' | 'lastFailed' | 'failedCount'> & {
      readonly archived: number | null;
      readonly failed: number | null;
    }
  >(
    client,
    `SELECT last_archived_wal AS "lastArchived", last_failed_wal AS "lastFailed",
            failed_count::int AS "failedCount",
            extract(epoch FROM last_archived_time)::float8 AS archived,
            extract(epoch FROM last_failed_time)::float8 AS failed
       FROM pg_catalog.pg_stat_archiver`,
    [],
    { doing: 'reading what the archiver has done' },
  );
  return { ...row, lastArchivedAt: time(archived), lastFailedAt: time(failed) };
}

/**
 * Reads what waits for the archiver.
 *
 * @throws HoldfastError DATABASE_PRIVILEGE for a role without pg_monitor
 */
export async function readWaiting(client: Queryable): Promise<WaitingWal> {
  const { count, oldest } = await queryOne<{ count: number; oldest: number | null }>(
    client,
    `SELECT count(*)::int AS count, extract(epoch FROM min(modification))::float8 AS oldest
       FROM pg_catalog.pg_ls_archive_statusdir() WHERE name ~ '[.]ready$'`,
    [],
    { doing: 'reading what waits for the archiver' },
  );
  return { count, oldestAt: time(oldest) };
}

/** So many slots are told: those that hold most. */
const slotsMax = 100;

/** Reads the replication slots. Any role may. */
export async function readSlots(client: Queryable): Promise<SlotHealth[]> {
  await pinSearchPath(client);
  const rows = await queryRows<
    Omit<SlotHealth, 'inactiveSince'> & { readonly inactive: number | null }
  >(
    client,
    // inactive_since is there from PostgreSQL 17 on.
    `SELECT slot_name::text AS name, database::text AS database, active AS "isActive",
            temporary AS "isTemporary", wal_status AS "walStatus",
            CASE WHEN wal_status IS DISTINCT FROM 'lost' THEN
              greatest(0, pg_wal_lsn_diff(
                CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                     ELSE pg_current_wal_lsn() END, restart_lsn))::float8
            END AS "retainedBytes",
            extract(epoch FROM (to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8
              AS inactive
       FROM pg_replication_slots AS s
      ORDER BY restart_lsn NULLS FIRST LIMIT ${slotsMax}`,
    [],
    { doing: 'reading the replication slots' },
  );
  return rows.map(({ inactive, ...row }) => ({ ...row, inactiveSince: time(inactive) }));
}
