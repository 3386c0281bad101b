/** The replication slot of a stream on its server: made, looked at, dropped. */

import type { SlotState } from '../core/stream_slot.ts';
import { execute, pinSearchPath, type Queryable, queryOne, queryRows } from './query.ts';

/** The position up to which the server's WAL is on its disk; of a standby what it has received. */
const flushedSql = `CASE WHEN pg_is_in_recovery()
    THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
    ELSE pg_current_wal_flush_lsn() END`;

/** Reads a slot; `null` when there is none of that name. Any role may. */
export async function readSlot(client: Queryable, name: string): Promise<SlotState | null> {
  await pinSearchPath(client);
  const [row] = await queryRows<SlotState>(
    client,
    `SELECT slot_name AS name, slot_type AS type, active AS "isActive", active_pid AS "activePid",
            restart_lsn::text AS "restartLsn", wal_status AS "walStatus",
            safe_wal_size::float8 AS "safeBytes",
            greatest(0, ${flushedSql} - restart_lsn)::float8 AS "lagBytes"
       FROM pg_replication_slots WHERE slot_name = $1`,
    [name],
    { doing: 'looking at the replication slot' },
  );
  return row ?? null;
}

/** What a stream has to know of its server besides. */
export interface StreamSettings {
  readonly walLevel: string;
  readonly maxWalSenders: number;
  /** In bytes; `null`: without limit. */
  readonly keepBytesMax: number | null;
  /** `null` where the role may not see it. */
  readonly dataDirectory: string | null;
  /** Up to here its WAL is on its disk. */
  readonly flushedLsn: string;
}

/** Reads them. Any role may. */
export async function readStreamSettings(client: Queryable): Promise<StreamSettings> {
  await pinSearchPath(client);
  const { keepMb, ...row } = await queryOne<
    Omit<StreamSettings, 'keepBytesMax'> & { keepMb: number }
  >(
    client,
    `SELECT current_setting('wal_level') AS "walLevel",
            current_setting('max_wal_senders')::int AS "maxWalSenders",
            (SELECT setting::float8 FROM pg_settings
              WHERE name = 'max_slot_wal_keep_size') AS "keepMb",
            (SELECT setting FROM pg_settings WHERE name = 'data_directory') AS "dataDirectory",
            (${flushedSql})::text AS "flushedLsn"`,
    [],
    { doing: 'reading what a stream needs' },
  );
  return { ...row, keepBytesMax: keepMb < 0 ? null : keepMb * 1024 * 1024 };
}

/** Makes a physical slot that keeps WAL from now on, not only from its first use. */
export async function createSlot(client: Queryable, name: string): Promise<void> {
  const text = 'SELECT pg_catalog.pg_create_physical_replication_slot($1, true)';
  await queryRows(client, text, [name], { doing: 'making the replication slot' });
}

/** Drops a slot that nobody uses. */
export async function dropSlot(client: Queryable, name: string): Promise<void> {
  await queryRows(client, 'SELECT pg_catalog.pg_drop_replication_slot($1)', [name], {
    doing: 'dropping the replication slot',
  });
}

/**
 * Commits something, so that there is a commit behind everything before it, and gives the position
 * up to which the WAL is on the server's disk then.
 */
export async function beat(client: Queryable): Promise<string> {
  // With a record of its own the commit is flushed; txid_current() alone is flushed some time.
  await execute(client, "SELECT pg_catalog.pg_logical_emit_message(true, 'holdfast', '')", {
    doing: 'writing a mark into the WAL',
  });
  const text = 'SELECT pg_catalog.pg_current_wal_flush_lsn()::text AS lsn';
  return (await queryOne<{ lsn: string }>(client, text)).lsn;
}
