/** What scripts/backup_full.ts says of each database: lines, a table, and the JSON document. */

import type { StoredCopy } from '../catalog/copies_writer.ts';
import { type ExitStatus, exitStatus, type HoldfastError } from '../core/errors.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { printable } from '../core/printable.ts';
import type { RunAside, RunOutcome } from '../core/run_outcome.ts';
import { formatBytes, formatCount, formatDuration } from '../core/units.ts';
import { serverOf } from '../operations/backup_targets.ts';
import type { FinishedCopies } from '../operations/finish_copies.ts';
import type { BackupResult } from '../operations/full/backup_full.ts';
import type { BackupReadiness } from '../operations/full/backup_readiness.ts';
import { copyEntries } from '../operations/record_status.ts';
import type { AppliedRetention } from '../operations/retention/apply_retention.ts';
import type { ResolvedTarget } from '../postgres/connection.ts';
import type { Log } from '../process/console.ts';
import { errorDocument } from './error_document.ts';
import { formatTable } from './table.ts';

/** What became of one database. */
export interface Outcome {
  readonly status: ExitStatus;
  /** Its entry in the JSON document. */
  readonly json: object;
  /** What became of it, for the table: label or error, stored size, duration. */
  readonly cells: readonly [string, string, string];
  /** The same for alerts; `null` where nothing was done. */
  readonly run: RunOutcome | null;
}

function countOf(result: BackupResult): { tables: number | null; rows: number | null } {
  const { tables } = result.manifest;
  const rows = tables?.reduce((sum, table) => sum + table.rows, 0);
  return { tables: tables?.length ?? null, rows: rows ?? null };
}

/** What came after a backup was committed. */
interface Afterwards {
  /** The error of a run whose backup a store lacks that it needs, or whose hook has failed. */
  readonly failure: HoldfastError | null;
  /** What was done for stores that lacked older backups. */
  readonly finished: FinishedCopies;
  /** `null`: none was applied. */
  readonly retention: AppliedRetention | null;
}

/** A store that the run needs and that lacks the backup is an error of its own, told as that. */
function asidesOf(target: ResolvedTarget, result: BackupResult, after: Afterwards): RunAside[] {
  const copies = result.copies.filter(({ isRequired, error }) => !isRequired || error === null);
  const asides = copies.map(({ store, error }): RunAside => {
    return { event: 'copy', subject: store, problem: error?.message ?? null };
  });
  if (after.retention === null) return asides;
  const { warnings } = after.retention;
  const subject = `${serverOf(target)}/${target.database}`;
  const problem = warnings.length === 0 ? null : warnings.join('; ');
  return [...asides, { event: 'retention', subject, problem }];
}

/** What alerts are told of a backup that is committed. */
function runOf(target: ResolvedTarget, result: BackupResult, after: Afterwards): RunOutcome {
  const { label, cluster, database, tier, duration_seconds, database_bytes, files } =
    result.manifest;
  const dump = files.find(({ role }) => role === 'dump');
  return {
    event: 'backup',
    cluster,
    database,
    server: serverOf(target),
    error: after.failure,
    facts: {
      label,
      tier,
      bytes_stored: totalBytes(result.manifest, 'stored'),
      database_bytes,
      duration_seconds,
      dump_sha256: dump?.stored.sha256 ?? null,
      stores: result.copies
        .filter(({ error }) => error === null)
        .map(({ store }) => store)
        .join(', '),
      warnings: result.warnings.length,
      removed_backups: after.retention?.removed.length ?? null,
      freed_bytes: after.retention?.freed_bytes ?? null,
    },
    asides: asidesOf(target, result, after),
  };
}

/** The outcome of a backup that is committed, in one store at least. */
export function backedUp(target: ResolvedTarget, result: BackupResult, after: Afterwards): Outcome {
  const { failure, finished, retention } = after;
  const { manifest, folder, warnings } = result;
  const { label, cluster, database, tier, started_at, finished_at } = manifest;
  const stored = totalBytes(manifest, 'stored');
  const json = {
    status: failure === null ? 'ok' : 'failed',
    database,
    server: serverOf(target),
    ...(failure === null ? {} : errorDocument(failure)),
    cluster,
    label,
    tier,
    folder,
    started_at,
    finished_at,
    duration_seconds: manifest.duration_seconds,
    database_bytes: manifest.database_bytes,
    plain_bytes: totalBytes(manifest, 'plain'),
    stored_bytes: stored,
    ...countOf(result),
    read_back: manifest.read_back.depth,
    stores: copyEntries(result.copies),
    older_copies: finished,
    warnings,
    retention,
  };
  const duration = formatDuration(manifest.duration_seconds);
  const outcome = failure === null ? label : `${label}, ${failure.code} (${failure.status})`;
  const status = failure === null ? exitStatus.done : failure.status;
  const cells = [outcome, formatBytes(stored), duration] as const;
  return { status, json, cells, run: runOf(target, result, after) };
}

/** The outcome of a database that failed, or that an interrupted run did not come to. */
export function notBackedUp(target: ResolvedTarget, error: HoldfastError): Outcome {
  const { database } = target;
  const server = serverOf(target);
  const json = { status: 'failed', database, server, ...errorDocument(error) };
  return {
    status: error.status,
    json,
    cells: [`${error.code} (${error.status})`, '', ''],
    run: { event: 'backup', cluster: null, database, server, error, facts: {} },
  };
}

/** The outcome of a database of which `--test` says that a backup can be taken. */
export function testedWell(test: BackupReadiness): Outcome {
  const size = `about ${formatBytes(test.estimated_bytes)}`;
  return {
    status: exitStatus.done,
    json: { status: 'ok', ...test },
    cells: ['can be backed up', size, ''],
    run: null,
  };
}

/** `, in "local" and "s3"`; nothing where there is one store only. */
function placesOf(copies: readonly StoredCopy[]): string {
  if (copies.length < 2) return '';
  const stored = copies.filter(({ status }) => status === 'stored');
  return `, in ${stored.map(({ store }) => JSON.stringify(store)).join(' and ')}`;
}

/** Tells that a backup is committed. */
export function tellBackup(log: Log, result: BackupResult): void {
  const { manifest } = result;
  const stored = totalBytes(manifest, 'stored');
  const { tables, rows } = countOf(result);
  const counted =
    tables === null
      ? 'not counted'
      : `${formatCount(tables, 'table')}, ${formatCount(rows ?? 0, 'row')}`;
  for (const message of result.warnings) log.warn(message);
  log.step(
    `backed up ${manifest.database}: ${manifest.label}, ${formatBytes(stored)} of ` +
      `${formatBytes(manifest.database_bytes)}, ${counted}, ` +
      `${formatDuration(manifest.duration_seconds)}${placesOf(result.copies)}`,
    {
      label: manifest.label,
      folder: result.folder,
      bytes: stored,
      stores: copyEntries(result.copies),
    },
  );
}

/** Tells what `--test` has found. */
export function tellTest(log: Log, test: BackupReadiness): void {
  const free = test.free_bytes === null ? '' : `, ${formatBytes(test.free_bytes)} free`;
  for (const message of test.warnings) log.warn(message);
  log.step(
    `${test.database}: a backup can be taken. ${test.server}, PostgreSQL ${test.server_version}, ` +
      `${formatBytes(test.database_bytes)}, about ${formatBytes(test.estimated_bytes)} to write` +
      `${free}; ${test.pg_dump}`,
  );
  if (test.stores.length < 2) return;
  for (const { name, place, status, free_bytes } of test.stores) {
    const room = free_bytes === null ? '' : `, ${formatBytes(free_bytes)} free`;
    log.step(`the store ${JSON.stringify(name)} (${place}): ${status}${room}`);
  }
}

/**
 * The table at the end of a run over several databases.
 *
 * @param names what the lines of each were told under
 */
export function tellSummary(
  log: Log,
  names: readonly string[],
  outcomes: readonly Outcome[],
  isTest: boolean,
): void {
  const rows = outcomes.map(({ cells }, index) => [printable(names[index] ?? ''), ...cells]);
  const table = formatTable(['DATABASE', 'OUTCOME', 'SIZE', 'DURATION'], rows);
  for (const line of table.trimEnd().split('\n')) log.step(line);
  const good = outcomes.filter(({ status }) => status === exitStatus.done).length;
  const done = isTest ? 'can be' : 'are';
  log.step(`${good} of ${outcomes.length} databases ${done} backed up`);
}
