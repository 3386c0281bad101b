/** What a server and a database tell of themselves, for the manifest, the plan and the compare. */

import type { DatabaseProperties } from '../core/database_properties.ts';
import { leftoverKind } from '../core/names.ts';
import { readDatabaseProperties } from './properties.ts';
import {
  disableTimeouts,
  execute,
  pinSearchPath,
  type Queryable,
  queryOne,
  queryRows,
  serverVersionNum,
} from './query.ts';

/** The server, as the manifest records it. */
export interface ServerFacts {
  /** server_version, e.g. `15.18 (Debian 15.18-0+deb12u1)`. */
  readonly version: string;
  /** server_version_num, e.g. 150018. */
  readonly version_num: number;
  readonly major: number;
  readonly system_identifier: string;
  readonly wal_segment_bytes: number;
  readonly timeline: number;
  /** Of the last WAL record; on a standby, of the last one replayed. */
  readonly lsn: string;
  readonly in_recovery: boolean;
}

/** A relation, by its schema and name as the catalog holds them. */
export interface RelationName {
  readonly schema: string;
  readonly name: string;
}

/** An installed extension. */
export interface ExtensionFact {
  readonly name: string;
  readonly version: string;
  readonly schema: string;
}

/** A subscription of logical replication. */
export interface SubscriptionFact {
  readonly name: string;
  readonly enabled: boolean;
  /** On the publisher; `null`: none. */
  readonly slot: string | null;
}

/** A logical replication slot. */
export interface SlotFact {
  readonly name: string;
  readonly plugin: string;
  readonly active: boolean;
}

/** A transaction that waits for COMMIT PREPARED or ROLLBACK PREPARED. */
export interface PreparedTransaction {
  readonly gid: string;
  readonly owner: string;
  /** ISO 8601, UTC. */
  readonly preparedAt: string;
}

/** One database, as the manifest and the plan of a restore need it. */
export interface DatabaseFacts {
  readonly name: string;
  readonly oid: number;
  /** pg_database_size. */
  readonly bytes: number;
  readonly properties: DatabaseProperties;
  /** How many relations of each pg_class.relkind a dump carries. */
  readonly relations: Readonly<Record<string, number>>;
  /** By the OID of each partition: its topmost partitioned table. */
  readonly partitionRoots: ReadonlyMap<number, RelationName>;
  readonly extensions: readonly ExtensionFact[];
  readonly subscriptions: readonly SubscriptionFact[];
  /** Logical replication slots of this database: they hold WAL, and block a drop. */
  readonly logicalSlots: readonly SlotFact[];
  readonly preparedTransactions: readonly PreparedTransaction[];
}

/**
 * Reads the facts about the server. Any role may: PostgreSQL leaves the pg_control_… functions to
 * everybody (manual, "Control Data Functions").
 *
 * The timeline of a standby is that of its last restart point, or a newer one that recovery has
 * to reach.
 */
export async function readServerFacts(client: Queryable): Promise<ServerFacts> {
  await pinSearchPath(client);
  const row = await queryOne<{
    version: string;
    version_num: number;
    system_identifier: string;
    wal_segment_bytes: number;
    timeline: number;
    lsn: string | null;
    in_recovery: boolean;
  }>(
    client,
    `SELECT current_setting('server_version') AS version,
            current_setting('server_version_num')::int AS version_num,
            system.system_identifier::text AS system_identifier,
            init.bytes_per_wal_segment AS wal_segment_bytes,
            CASE WHEN pg_is_in_recovery()
              THEN greatest(checkpoint.timeline_id, recovery.min_recovery_end_timeline)
              -- The control file still tells the old one for a moment after a promotion.
              ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
              END AS timeline,
            CASE WHEN pg_is_in_recovery()
              THEN coalesce(pg_last_wal_replay_lsn(), checkpoint.redo_lsn)
              ELSE pg_current_wal_lsn() END::text AS lsn,
            pg_is_in_recovery() AS in_recovery
       FROM pg_control_system() AS system, pg_control_init() AS init,
            pg_control_checkpoint() AS checkpoint, pg_control_recovery() AS recovery`,
    [],
    { doing: 'reading what the server is' },
  );
  return { ...row, lsn: row.lsn ?? '0/0', major: Math.floor(row.version_num / 10_000) };
}

/** Schemas of the system; a user cannot make one that begins with `pg_`. */
export const userSchemas = `(n.nspname <> 'information_schema' AND n.nspname !~ '^pg_')`;

/** Whether an extension brought the relation itself: a dump then leaves it to CREATE EXTENSION. */
export function isExtensionMember(oid: string): string {
  return `EXISTS (SELECT FROM pg_depend AS d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = ${oid} AND d.objsubid = 0
              AND d.deptype = 'e')`;
}

/**
 * Counts the relations of users by their kind, as a dump carries them: no temporary ones, none of
 * an extension, and no invalid index (pg_dump leaves it out).
 */
export async function countRelations(client: Queryable): Promise<Record<string, number>> {
  const rows = await queryRows<{ kind: string; count: number }>(
    client,
    `SELECT c.relkind::text AS kind, count(*)::int AS count
       FROM pg_class AS c
       JOIN pg_namespace AS n ON n.oid = c.relnamespace
       LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
      WHERE ${userSchemas} AND c.relpersistence <> 't'
        AND NOT ${isExtensionMember('coalesce(i.indrelid, c.oid)')}
        AND (i.indexrelid IS NULL OR i.indisvalid)
      GROUP BY c.relkind ORDER BY c.relkind`,
    [],
    { doing: 'counting the relations' },
  );
  return Object.fromEntries(rows.map(({ kind, count }) => [kind, count]));
}

/** By the OID of each partition: its topmost partitioned table. */
export async function readPartitionRoots(client: Queryable): Promise<Map<number, RelationName>> {
  const rows = await queryRows<{ oid: number; schema: string; name: string }>(
    client,
    `SELECT c.oid, n.nspname AS schema, r.relname AS name
       FROM pg_class AS c
       JOIN pg_class AS r ON r.oid = pg_partition_root(c.oid)
       JOIN pg_namespace AS n ON n.oid = r.relnamespace
      WHERE c.relispartition AND c.relkind IN ('r', 'p', 'f')`,
  );
  return new Map(rows.map(({ oid, schema, name }) => [oid, { schema, name }]));
}

async function readExtensions(client: Queryable): Promise<ExtensionFact[]> {
  return queryRows(
    client,
    `SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema
       FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
      ORDER BY e.extname`,
  );
}

/** The subscriptions of a database; any database of the server can be asked. */
export async function readSubscriptions(
  client: Queryable,
  databaseOid: number,
): Promise<SubscriptionFact[]> {
  return queryRows(
    client,
    `SELECT subname AS name, subenabled AS enabled, subslotname AS slot
       FROM pg_subscription WHERE subdbid = $1 ORDER BY subname`,
    [databaseOid],
  );
}

/** The logical replication slots of a database; any database of the server can be asked. */
async function readLogicalSlots(client: Queryable, databaseOid: number): Promise<SlotFact[]> {
  return queryRows(
    client,
    `SELECT slot_name AS name, plugin, active
       FROM pg_replication_slots WHERE datoid = $1 ORDER BY slot_name`,
    [databaseOid],
  );
}

/** The prepared transactions of a database, by its name as pg_prepared_xacts tells it. */
export async function readPreparedTransactions(
  client: Queryable,
  databaseOid: number,
): Promise<PreparedTransaction[]> {
  const rows = await queryRows<{ gid: string; owner: string; prepared: Date }>(
    client,
    `SELECT p.gid, p.owner::text AS owner, p.prepared
       FROM pg_prepared_xacts AS p JOIN pg_database AS d ON d.datname = p.database
      WHERE d.oid = $1 ORDER BY p.prepared`,
    [databaseOid],
  );
  return rows.map(({ gid, owner, prepared }) => ({
    gid,
    owner,
    preparedAt: prepared.toISOString(),
  }));
}

/** Reads the facts about the database that the client is connected to. */
export async function readDatabaseFacts(client: Queryable): Promise<DatabaseFacts> {
  await pinSearchPath(client);
  const versionNum = await serverVersionNum(client);
  const { name, oid, bytes } = await queryOne<{ name: string; oid: number; bytes: string }>(
    client,
    `SELECT datname AS name, oid, pg_database_size(oid)::text AS bytes
       FROM pg_database WHERE datname = current_database()`,
    [],
    { doing: 'reading the size of the database' },
  );
  return {
    name,
    oid,
    bytes: Number(bytes),
    properties: await readDatabaseProperties(client, oid, versionNum),
    relations: await countRelations(client),
    partitionRoots: await readPartitionRoots(client),
    extensions: await readExtensions(client),
    subscriptions: await readSubscriptions(client, oid),
    logicalSlots: await readLogicalSlots(client, oid),
    preparedTransactions: await readPreparedTransactions(client, oid),
  };
}

/** A snapshot that pg_dump can take part in. */
export interface Snapshot {
  /** For `pg_dump --snapshot`; valid until {@link Snapshot.release}. */
  readonly id: string;
  /** Ends the transaction that holds it. */
  release(): Promise<void>;
}

/**
 * Opens the transaction of a backup and exports its snapshot: what the same client reads from here
 * on, and what pg_dump dumps with it, is the same state (manual, "Snapshot Synchronization
 * Functions"). No time-out ends it.
 */
export async function exportSnapshot(client: Queryable): Promise<Snapshot> {
  await pinSearchPath(client);
  const versionNum = await serverVersionNum(client);
  await execute(client, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  await disableTimeouts(client, versionNum);
  const { id } = await queryOne<{ id: string }>(client, 'SELECT pg_export_snapshot() AS id', [], {
    doing: 'exporting the snapshot',
  });
  return { id, release: () => execute(client, 'COMMIT') };
}

/** A database that `--all` finds. */
export interface ListedDatabase {
  readonly name: string;
  readonly oid: number;
  readonly isTemplate: boolean;
  /** Whether the role may connect to it. */
  readonly mayConnect: boolean;
}

/**
 * The databases of a server that `--all` backs up: all that allow connections, the users' own
 * templates too; without template0 and template1, what a restore has left behind, and what a
 * broken DROP DATABASE has left invalid (datconnlimit -2).
 */
export async function listDatabases(client: Queryable): Promise<ListedDatabase[]> {
  await pinSearchPath(client);
  const rows = await queryRows<ListedDatabase>(
    client,
    `SELECT datname AS name, oid, datistemplate AS "isTemplate",
            has_database_privilege(oid, 'CONNECT') AS "mayConnect"
       FROM pg_database
      WHERE datallowconn AND datconnlimit <> -2 AND datname NOT IN ('template0', 'template1')
      ORDER BY datname COLLATE "C"`,
    [],
    { doing: 'listing the databases' },
  );
  return rows.filter((row) => leftoverKind(row.name) === null);
}

/** The databases, without template0, that let nobody connect: no backup can be taken of them. */
export async function listClosedDatabases(client: Queryable): Promise<string[]> {
  const rows = await queryRows<{ name: string }>(
    client,
    `SELECT datname AS name FROM pg_database
      WHERE NOT datallowconn AND datname <> 'template0' ORDER BY datname COLLATE "C"`,
    [],
    { doing: 'listing the databases' },
  );
  return rows.map(({ name }) => name);
}
