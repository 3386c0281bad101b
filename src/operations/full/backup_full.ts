/**
 * A full logical backup of one database, from the lock to the commit. The order of the steps is
 * REPOSITORY.md's, "Committing": nothing is a backup before its manifest is in place.
 */

import type { CopiesWriter, StoredCopy } from '../../catalog/copies_writer.ts';
import { backupFolder, databaseFolder } from '../../catalog/repository.ts';
import { beginRun } from '../../catalog/runs.ts';
import { toHoldfastError } from '../../core/errors.ts';
import type { Tier } from '../../core/label.ts';
import {
  type Manifest,
  type ManifestFile,
  type ManifestWarning,
  manifestName,
  sumsName,
} from '../../core/manifest.ts';
import { serializeManifest } from '../../core/manifest_codec.ts';
import { unusualSize } from '../../core/size_history.ts';
import { sumsOf } from '../../core/sums.ts';
import { formatBytes } from '../../core/units.ts';
import { newBackupFilters } from '../../pipeline/new_backup_filters.ts';
import {
  acquireDatabaseLock,
  backupLockKey,
  type DatabaseLock,
} from '../../postgres/advisory_lock.ts';
import type { ResolvedTarget } from '../../postgres/connection.ts';
import { formatLockHolder } from '../../postgres/lock_holder.ts';
import { readBackFiles } from '../backup_read_back.ts';
import { beginCopies, copyWarnings } from '../begin_copies.ts';
import { beginLabel } from '../begin_label.ts';
import { cleanUp } from '../clean_up.ts';
import type { RepositoryContext } from '../context.ts';
import { planReadBack, requireEncryption } from '../encryption_ready.ts';
import { openDatabase } from '../open_database.ts';
import { putSignature } from '../sign_manifest.ts';
import { stopOnLostLock } from '../stop_on_lost_lock.ts';
import { buildManifest } from './backup_manifest.ts';
import {
  type DumpInput,
  type WrittenDump,
  type WrittenGlobals,
  writeDump,
  writeGlobals,
} from './dump_files.ts';
import { type Preparation, prepareBackup } from './prepare_backup.ts';
import { putRestoreScript } from './put_restore_script.ts';

/** Which backup, and how. */
export interface BackupRequest {
  readonly target: ResolvedTarget;
  readonly tier: Tier;
  /** Also decompress what was written before it is committed, whatever the settings say. */
  readonly verify: boolean;
  /** Look at no table, whatever the settings say. */
  readonly withoutDigests?: boolean;
  /** Saves what a restore in place will drop: no `--latest` is ever that one. */
  readonly safety?: true;
  /** How long to wait for another backup of the same database; 0 ends with LOCKED at once. */
  readonly waitMs: number;
}

/** A backup that is committed. */
export interface BackupResult {
  readonly manifest: Manifest;
  /** Its key in the repository. */
  readonly folder: string;
  /** What became of it in each store; it is whole in at least one. */
  readonly copies: readonly StoredCopy[];
  readonly warnings: readonly string[];
}

interface Written {
  readonly dump: WrittenDump;
  readonly globals: WrittenGlobals;
}

/** Runs both programs at once; when one fails, the other is ended. */
async function writeBoth(
  context: RepositoryContext,
  prepared: Preparation,
  input: DumpInput,
  digests: boolean,
  stop: AbortController,
): Promise<Written> {
  const { database, estimate, pgDump, pgDumpall, snapshot } = prepared;
  const expectedBytes = digests ? estimate.plainBytes : estimate.storedBytes;
  const progress = await context.log.progress(`dumping ${database.name}`, expectedBytes);
  const wish = { digests, onBytes: progress.add };
  const failTogether = (error: unknown): never => {
    stop.abort(toHoldfastError(error));
    throw error;
  };
  try {
    const jobs = [
      writeDump(input, pgDump.path, snapshot, wish).catch(failTogether),
      writeGlobals(input, pgDumpall.path).catch(failTogether),
    ] as const;
    await Promise.allSettled(jobs);
    if (stop.signal.aborted) throw stop.signal.reason;
    const [dump, globals] = await Promise.all(jobs);
    return { dump, globals };
  } finally {
    progress.end();
  }
}

/** Compares a dump with those before it: before the filters where that is known, else as stored. */
function warnOfSize(dump: ManifestFile, earlier: readonly ManifestFile[]): ManifestWarning | null {
  const filters = JSON.stringify(dump.filters);
  const alike = earlier.filter((file) => JSON.stringify(file.filters) === filters);
  const [bytes, history] =
    dump.plain === null
      ? [dump.stored.bytes, alike.map(({ stored }) => stored.bytes)]
      : [dump.plain.bytes, earlier.flatMap(({ plain }) => plain?.bytes ?? [])];
  const unusual = unusualSize(bytes, history);
  if (unusual === null) return null;
  const message =
    `the dump is much ${unusual.kind} than those before it: ${formatBytes(bytes)}, where ` +
    `${formatBytes(unusual.medianBytes)} were usual`;
  return { code: 'unusual-size', message };
}

/** What the run found that a person should know; it stays in the manifest. */
function collectWarnings(prepared: Preparation, written: Written): ManifestWarning[] {
  const warnings: ManifestWarning[] = [...prepared.warnings];
  for (const message of [...written.dump.notices, ...written.globals.notices]) {
    warnings.push({ code: 'program', message });
  }
  if (written.globals.withoutPasswords) {
    const role = JSON.stringify(prepared.parameters.user);
    const message = `the roles were saved without their passwords: role ${role} may not read them`;
    warnings.push({ code: 'no-role-passwords', message });
  }
  const problem = written.dump.reading?.problem ?? null;
  if (problem !== null) {
    const message = `the rows of the tables were not counted: ${problem.message}`;
    warnings.push({ code: 'not-counted', message });
  }
  const unusual = warnOfSize(written.dump.file, prepared.earlierDumps);
  return unusual === null ? warnings : [...warnings, unusual];
}

/** Writes, reads back and commits one backup into its folder. */
async function writeBackup(
  context: RepositoryContext,
  request: BackupRequest,
  prepared: Preparation,
  lock: DatabaseLock,
  folder: CopiesWriter,
  begun: { readonly label: string; readonly startedAt: Date; readonly startedSeconds: number },
): Promise<Manifest> {
  const { settings } = context.config;
  const stop = stopOnLostLock(context, lock);
  const { signal } = stop;
  const filters = await newBackupFilters(settings, context.environment);
  const input = { context, signal, parameters: prepared.parameters, folder, filters };
  const digests = settings.table_digests && request.withoutDigests !== true;
  const written = await writeBoth(context, prepared, input, digests, stop);
  const { dump, globals } = written;
  const script = await putRestoreScript(context, prepared, folder, begun, [
    dump.file,
    globals.file,
  ]);
  const files = [dump.file, globals.file, script];
  const wanted = request.verify ? 'plain' : settings.read_back;
  const plan = await planReadBack(context, dump.file.filters, wanted);
  const readBack = await readBackFiles(context, folder, files, plan.depth, signal);
  const manifest = buildManifest({
    ...begun,
    tier: request.tier,
    safety: request.safety,
    cluster: prepared.cluster,
    host: context.host,
    toolVersion: context.toolVersion,
    pgDump: prepared.pgDump,
    server: prepared.server,
    database: prepared.database,
    finishedAt: context.clock(),
    durationSeconds: context.stopwatch() - begun.startedSeconds,
    files,
    reading: dump.reading,
    warnings: [...collectWarnings(prepared, written), ...plan.warnings],
    readBack,
  });
  const manifestBytes = serializeManifest(manifest);
  await folder.put(sumsName, Buffer.from(sumsOf(manifest, manifestBytes)));
  await putSignature(context, folder, manifestBytes, signal);
  await lock.verify();
  if (signal.aborted) throw signal.reason;
  await folder.commit(manifestName, manifestBytes);
  return manifest;
}

/** Writes one backup while the lock is held and the snapshot is open. */
async function backupLocked(
  context: RepositoryContext,
  request: BackupRequest,
  prepared: Preparation,
  lock: DatabaseLock,
): Promise<BackupResult> {
  const { cluster, database, ready } = prepared;
  const { tier } = request;
  const above = databaseFolder(cluster, database.name);
  await cleanUp(context, ready.stores, above);
  const { label, startedAt } = await beginLabel(context, ready.stores, above, tier);
  const key = backupFolder(cluster, database.name, label);
  const run = await beginRun({
    stateDir: context.repository.stateDir,
    runId: `${context.runId}-${label}`,
    command: 'backup_full',
    cluster,
    database: database.name,
    folder: key,
    startedAt,
  });
  let isDiscarded = true;
  try {
    const facts = { tier, database: database.name, startedAt };
    const folder = await beginCopies(context, ready.stores, key, facts);
    try {
      const begun = { label, startedAt, startedSeconds: context.stopwatch() };
      const manifest = await writeBackup(context, request, prepared, lock, folder, begun);
      const copies = folder.report();
      const warnings = [
        ...manifest.warnings.map(({ message }) => message),
        ...copyWarnings(copies),
      ];
      return { manifest, folder: key, copies, warnings };
    } catch (error) {
      await folder.abort();
      throw error;
    } finally {
      isDiscarded = folder.isDiscarded;
    }
  } finally {
    // Of a run that is not forgotten the next one removes what it has left.
    if (isDiscarded) await run.end();
  }
}

/**
 * Takes a full backup. What it leaves behind is a whole backup or nothing that looks like one.
 *
 * @throws HoldfastError LOCKED when another run backs up the same database, LOCK_LOST, DUMP_FAILED,
 *   NO_SPACE, TOOL_TOO_OLD, DATABASE_…, STORE_…, INTERRUPTED
 */
export async function backupFull(
  context: RepositoryContext,
  request: BackupRequest,
): Promise<BackupResult> {
  const { target, waitMs } = request;
  const { host, pid, log, signal } = context;
  await requireEncryption(context);
  const holder = formatLockHolder({ operation: 'full', startedAt: context.clock(), host, pid });
  const { client, parameters } = await openDatabase(context, target, holder);
  try {
    const key = backupLockKey(target.database);
    const onWait = (who: string) => log.step(`waiting for ${who}`);
    const lock = await acquireDatabaseLock({ client, key, holder, waitMs, signal, onWait });
    try {
      const prepared = await prepareBackup(context, parameters);
      try {
        return await backupLocked(context, request, prepared, lock);
      } finally {
        await prepared.snapshotClient.end();
      }
    } finally {
      await lock.release();
    }
  } finally {
    await client.end();
  }
}
