/** What a restore asks of the server before it begins. */

import { stat, statfs } from 'node:fs/promises';
import type { Client } from 'pg';
import type { DatabaseProperties } from '../../core/database_properties.ts';
import { HoldfastError } from '../../core/errors.ts';
import { formatBytes } from '../../core/units.ts';
import { databaseOid } from '../../postgres/admin.ts';
import { type ConnectionParameters, isSocket, withDatabase } from '../../postgres/connection.ts';
import { readServerFacts } from '../../postgres/facts.ts';
import { readDatabaseProperties } from '../../postgres/properties.ts';
import { queryRows } from '../../postgres/query.ts';
import type { BackupSource } from '../backup_source.ts';
import { type Obstacle, readObstacles } from './restore_obstacles.ts';

/**
 * Settings of the sessions in a database that is being restored: what its own settings or its
 * role's must not get in the way of.
 */
const sessionOptions =
  '-c default_transaction_read_only=off -c statement_timeout=0 -c lock_timeout=0 ' +
  '-c idle_in_transaction_session_timeout=0';

/**
 * What keeps the event triggers of a restored database quiet, which fire from the moment they are
 * there: what they log or refuse is no part of the backup. Only a superuser can restore one.
 */
const quietSql = `
  SELECT CASE WHEN NOT rolsuper THEN NULL
              WHEN pg_catalog.current_setting('server_version_num')::int >= 170000
                THEN '-c event_triggers=off'
              ELSE '-c session_replication_role=replica' END AS quiet
    FROM pg_catalog.pg_roles WHERE rolname = current_user`;

/**
 * The parameters of sessions in a database that is being restored.
 *
 * @param admin a session of the same role
 */
export async function restoringParameters(
  admin: Client,
  parameters: ConnectionParameters,
  database: string,
): Promise<ConnectionParameters> {
  const [row] = await queryRows<{ quiet: string | null }>(admin, quietSql);
  const given = [parameters.options, sessionOptions, row?.quiet ?? null];
  const options = given.filter((text) => text !== null).join(' ');
  return { ...(await withDatabase(parameters, database)), options };
}

/** The database that a restore is going to replace. */
export interface OldDatabase {
  readonly oid: number;
  readonly bytes: number;
  readonly connections: number;
  readonly tablespace: string;
  /** A DROP DATABASE that was broken off has left it: nobody can connect, nothing is in it. */
  readonly isInvalid: boolean;
  /** Whether this role may drop it: it takes its owner, or a superuser. */
  readonly mayDrop: boolean;
  /** What stands in the way of the swap, or of dropping it now or later. */
  readonly obstacles: readonly Obstacle[];
}

/** Looks at the database of the target's name; `null` where there is none. */
export async function readOldDatabase(admin: Client, name: string): Promise<OldDatabase | null> {
  const oid = await databaseOid(admin, name);
  if (oid === null) return null;
  const [row] = await queryRows<Omit<OldDatabase, 'bytes' | 'obstacles'> & { bytes: string }>(
    admin,
    // -2: DATCONNLIMIT_INVALID_DB, how DROP DATABASE marks one before it removes its files.
    `SELECT oid, pg_catalog.pg_database_size(oid)::text AS bytes,
            (SELECT count(*)::int FROM pg_catalog.pg_stat_activity WHERE datid = d.oid)
              AS connections,
            (SELECT spcname::text FROM pg_catalog.pg_tablespace AS t WHERE t.oid = d.dattablespace)
              AS tablespace,
            datconnlimit = -2 AS "isInvalid",
            pg_catalog.pg_has_role(datdba, 'USAGE') AS "mayDrop"
       FROM pg_catalog.pg_database AS d WHERE oid = $1::oid`,
    [oid],
  );
  if (row === undefined) return null;
  return { ...row, bytes: Number(row.bytes), obstacles: await readObstacles(admin, oid) };
}

/**
 * What the new database is to carry itself. A dump of another tool does not tell it, so the
 * database keeps what it has: its owner, privileges, settings.
 */
export async function readCarried(
  admin: Client,
  source: BackupSource,
  old: OldDatabase | null,
  versionNum: number,
): Promise<DatabaseProperties | null> {
  if (source.manifest !== null) return source.manifest.properties;
  if (old === null || old.isInvalid) return null;
  return readDatabaseProperties(admin, old.oid, versionNum);
}

/** The target server, as a restore needs to know it. */
export interface RestoreServer {
  readonly versionNum: number;
  readonly major: number;
  /** Free where the new database will lie; `null` where that cannot be seen from here. */
  readonly freeBytes: number | null;
}

/** A file system of the server. */
export interface Disk {
  readonly freeBytes: number;
  /** Equal for all that lies on it. */
  readonly device: number;
}

/**
 * Looks at the server. The free space can be seen only where it runs on this machine and lets the
 * role see its data directory.
 *
 * @param tablespace of the new database, where it is known and the server has it
 * @throws HoldfastError RESTORE_FAILED on a standby, which takes no restore
 */
export async function readRestoreServer(
  admin: Client,
  parameters: ConnectionParameters,
  tablespace: string | null = null,
): Promise<RestoreServer> {
  const facts = await readServerFacts(admin);
  if (facts.in_recovery) {
    throw new HoldfastError('RESTORE_FAILED', 'the server is a standby, which takes no restore', {
      hint: 'Name the primary: --host, PGHOST, or target_session_attrs=primary.',
    });
  }
  const { version_num: versionNum, major } = facts;
  const disk = await diskOf(admin, parameters, tablespace);
  return { versionNum, major, freeBytes: disk?.freeBytes ?? null };
}

/** The disk of a tablespace, that of the data directory unless it lies elsewhere. */
export async function diskOf(
  admin: Client,
  parameters: ConnectionParameters,
  tablespace: string | null,
): Promise<Disk | null> {
  if (!isSocket(parameters.host)) return null;
  try {
    const [row] = await queryRows<{ folder: string }>(
      admin,
      `SELECT coalesce(
                (SELECT nullif(pg_catalog.pg_tablespace_location(oid), '')
                   FROM pg_catalog.pg_tablespace WHERE spcname = $1),
                pg_catalog.current_setting('data_directory')) AS folder`,
      [tablespace],
    );
    if (row === undefined) return null;
    const [{ bavail, bsize }, { dev }] = await Promise.all([statfs(row.folder), stat(row.folder)]);
    return { freeBytes: bavail * bsize, device: dev };
  } catch {
    return null;
  }
}

/**
 * @param droppedBytes what a restore in place gives back there before it fills the new database
 * @throws HoldfastError NO_SPACE when the server's disk will not hold the restored database
 */
export function requireSpace(
  neededBytes: number | null,
  freeBytes: number | null,
  droppedBytes: number | null = null,
): void {
  const thenFree = (freeBytes ?? 0) + (droppedBytes ?? 0);
  if (neededBytes === null || freeBytes === null || neededBytes <= thenFree) return;
  const [where, hint] =
    droppedBytes === null
      ? ['beside the old one', ', or --in-place for want of space']
      : [`once ${formatBytes(droppedBytes)} of the old one are dropped`, ''];
  throw new HoldfastError(
    'NO_SPACE',
    `the restored database needs about ${formatBytes(neededBytes)} ${where}, and ` +
      `${formatBytes(freeBytes)} are free where the server keeps its data`,
    { hint: `Free space there, drop what earlier restores have left (…__before_…)${hint}.` },
  );
}
