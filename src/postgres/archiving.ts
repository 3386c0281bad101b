/** What a server says of the archiving of its WAL, and what it is told. */

import { archivingSettings, type SettingFact } from '../core/archiving.ts';
import { quoteIdentifier, quoteLiteral } from '../core/quote.ts';
import { execute, pinSearchPath, type Queryable, queryOne, queryRows } from './query.ts';

/** pg_stat_archiver, and what waits. */
export interface ArchiverFacts {
  readonly archivedCount: number;
  readonly lastArchived: string | null;
  readonly lastArchivedAt: Date | null;
  readonly failedCount: number;
  readonly lastFailed: string | null;
  readonly lastFailedAt: Date | null;
  /** Files of the WAL that wait to be archived (`.ready`). */
  readonly waiting: number;
}

/**
 * Reads the settings. archive_command shows as `(disabled)` while archive_mode is off, so what is
 * coming is read from the files (manual, "pg_file_settings"; for superusers).
 */
export async function readArchivingSettings(client: Queryable): Promise<SettingFact[]> {
  await pinSearchPath(client);
  return queryRows<{ name: string; current: string; coming: string } & SettingFact>(
    client,
    `WITH file AS (
       SELECT DISTINCT ON (name) name, setting FROM pg_file_settings
        WHERE name IS NOT NULL ORDER BY name, seqno DESC
     ), auto AS (
       SELECT DISTINCT ON (name) name, setting FROM pg_file_settings
        WHERE sourcefile ~ '/postgresql[.]auto[.]conf$' ORDER BY name, seqno DESC
     )
     SELECT s.name, s.setting AS current, auto.setting AS own,
            s.source = 'command line' AS "isFixed",
            CASE WHEN s.source = 'command line' THEN s.setting
              ELSE coalesce(file.setting, s.boot_val, '') END AS coming
       FROM pg_settings AS s
       LEFT JOIN file ON lower(file.name) = s.name
       LEFT JOIN auto ON lower(auto.name) = s.name
      WHERE s.name = ANY ($1)
      ORDER BY array_position($1, s.name)`,
    [[...archivingSettings]],
    { doing: 'reading how the WAL is archived' },
  );
}

/** Sets or resets a setting for good, in postgresql.auto.conf. */
export async function alterSystem(
  client: Queryable,
  name: string,
  value: string | null,
): Promise<void> {
  const change = value === null ? 'RESET' : 'SET';
  const to = value === null ? '' : ` = ${quoteLiteral(value)}`;
  await execute(client, `ALTER SYSTEM ${change} ${quoteIdentifier(name)}${to}`, {
    doing: `setting ${name}`,
  });
}

/** Makes the server read its configuration files again. */
export async function reloadConfiguration(client: Queryable): Promise<void> {
  await execute(client, 'SELECT pg_catalog.pg_reload_conf()');
}

/** What the archiver has done so far. */
export async function readArchiver(client: Queryable): Promise<ArchiverFacts> {
  const row = await queryOne<Omit<ArchiverFacts, 'lastArchivedAt' | 'lastFailedAt'> & Times>(
    client,
    `SELECT archived_count::int AS "archivedCount", last_archived_wal AS "lastArchived",
            extract(epoch FROM last_archived_time)::float8 AS archived,
            failed_count::int AS "failedCount", last_failed_wal AS "lastFailed",
            extract(epoch FROM last_failed_time)::float8 AS failed,
            (SELECT count(*)::int FROM pg_catalog.pg_ls_archive_statusdir()
              WHERE name ~ '[.]ready$') AS waiting
       FROM pg_catalog.pg_stat_archiver`,
    [],
    { doing: 'reading what the archiver has done' },
  );
  const { archived, failed, ...rest } = row;
  const time = (seconds: number | null) => (seconds === null ? null : new Date(seconds * 1000));
  return { ...rest, lastArchivedAt: time(archived), lastFailedAt: time(failed) };
}

/** Seconds since 1970. */
interface Times {
  readonly archived: number | null;
  readonly failed: number | null;
}

/**
 * Ends the current segment, also on an idle server, where a restore point is written first: a
 * switch does nothing when nothing was written since the last one (manual, pg_switch_wal).
 *
 * @returns the name of the segment that was ended
 */
export async function switchSegment(client: Queryable, reason: string): Promise<string> {
  await queryRows(client, 'SELECT pg_catalog.pg_create_restore_point($1)', [reason]);
  const { name } = await queryOne<{ name: string }>(
    client,
    'SELECT pg_catalog.pg_walfile_name(pg_catalog.pg_switch_wal()) AS name',
  );
  return name;
}

/**
 * Runs a command of the shell on the server, as the server's user, in its data directory (manual,
 * "COPY", PROGRAM).
 *
 * @throws HoldfastError DATABASE_REFUSED when it does not end with 0; DATABASE_PRIVILEGE
 */
export async function runOnServer(client: Queryable, command: string): Promise<void> {
  const text = `COPY (SELECT 1 WHERE false) TO PROGRAM ${quoteLiteral(command)}`;
  await execute(client, text, { doing: 'running a program on the server' });
}

/** What a command of the shell says on the server, on stdout and on stderr, whatever its status. */
export async function wordsFromServer(client: Queryable, command: string): Promise<string> {
  const program = quoteLiteral(`{ ${command}\n} </dev/null 2>&1 || :`);
  await execute(client, 'BEGIN');
  try {
    await execute(client, 'CREATE TEMPORARY TABLE holdfast_words (line text) ON COMMIT DROP');
    // Nothing that a program says is taken for a mark of the format.
    const format = "(FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02', ESCAPE E'\\x02')";
    await execute(client, `COPY pg_temp.holdfast_words FROM PROGRAM ${program} WITH ${format}`);
    const rows = await queryRows<{ line: string | null }>(
      client,
      'SELECT line FROM pg_temp.holdfast_words',
    );
    return rows.map(({ line }) => line ?? '').join('\n');
  } finally {
    await execute(client, 'ROLLBACK');
  }
}
