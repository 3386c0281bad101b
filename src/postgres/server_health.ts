/** What a server tells of itself that may hurt a backup or a restore later. */

import type { LockTable } from '../core/doctor.ts';
import { isExtensionMember, userSchemas } from './facts.ts';
import { pinSearchPath, type Queryable, queryOne, queryRows } from './query.ts';

/** The server's clock, at the moment of the answer. */
export async function readServerClock(client: Queryable): Promise<Date> {
  const { now } = await queryOne<{ now: string }>(
    client,
    'SELECT (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000)::text AS now',
  );
  return new Date(Number(now));
}

/** The size of the lock table, and how many tables a dump of this database locks at once. */
export async function readLockNeed(
  client: Queryable,
): Promise<{ readonly table: LockTable; readonly tables: number }> {
  await pinSearchPath(client);
  const row = await queryOne<Record<'locks' | 'connections' | 'prepared' | 'tables', number>>(
    client,
    `SELECT current_setting('max_locks_per_transaction')::int AS locks,
            current_setting('max_connections')::int AS connections,
            current_setting('max_prepared_transactions')::int AS prepared,
            (SELECT count(*)::int FROM pg_class AS c JOIN pg_namespace AS n
                ON n.oid = c.relnamespace
              WHERE ${userSchemas} AND c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
                AND NOT ${isExtensionMember('c.oid')}) AS tables`,
  );
  const table = {
    locksPerTransaction: row.locks,
    connections: row.connections,
    preparedTransactions: row.prepared,
  };
  return { table, tables: row.tables };
}

/** A replication slot that nobody reads from. */
export interface IdleSlot {
  readonly name: string;
  /** `null` for a physical one. */
  readonly database: string | null;
  /** The WAL that the server keeps for it. */
  readonly bytes: number;
}

/** The slots that hold WAL while nobody fetches it, the one that holds most first. */
export async function readIdleSlots(client: Queryable): Promise<IdleSlot[]> {
  await pinSearchPath(client);
  const rows = await queryRows<{ name: string; database: string | null; bytes: string }>(
    client,
    `SELECT slot_name::text AS name, database::text AS database,
            greatest(0, pg_wal_lsn_diff(
              CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                   ELSE pg_current_wal_lsn() END, restart_lsn))::bigint::text AS bytes
       FROM pg_replication_slots
      WHERE NOT active AND restart_lsn IS NOT NULL
      ORDER BY restart_lsn LIMIT 100`,
    [],
    { doing: 'reading the replication slots' },
  );
  return rows.map((row) => ({ ...row, bytes: Number(row.bytes ?? 0) }));
}
