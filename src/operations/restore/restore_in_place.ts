/**
 * `--in-place`: makes room for the new database by dropping the old one, after a safety backup of
 * it that was read back. Until the drop the old database is untouched; from then on whatever fails
 * says which backup brings it back, and how.
 */

import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { Manifest } from '../../core/manifest.ts';
import { printable } from '../../core/printable.ts';
import { shellQuote } from '../../core/quote.ts';
import { formatBytes } from '../../core/units.ts';
import { type DatabaseName, databaseOid, dropDatabaseChecked } from '../../postgres/admin.ts';
import { type ResolvedTarget, withDatabase } from '../../postgres/connection.ts';
import { putAside, type WriteGuard } from '../../postgres/put_aside.ts';
import { execute, queryOne } from '../../postgres/query.ts';
import { sqlState } from '../../postgres/server_error.ts';
import { checkSpace } from '../backup_space.ts';
import { missingCopyError } from '../begin_copies.ts';
import type { RepositoryContext } from '../context.ts';
import { backupFull } from '../full/backup_full.ts';
import { openMore } from '../open_database.ts';
import { recordFailure, recordSuccess } from '../record_status.ts';
import { dropFailed } from './restore_cleanup.ts';
import { raiseFence } from './restore_fence.ts';
import { estimateSafety } from './restore_forecast.ts';
import { diskOf, type OldDatabase, readOldDatabase, requireSpace } from './restore_server.ts';
import type { RestoreWork } from './restore_work.ts';

/** The backup that holds what was dropped. */
export interface SafetyBackup {
  readonly label: string;
  /** Its key in the repository. */
  readonly folder: string;
  /** What brings it back, ready for a shell. */
  readonly command: string;
}

function refuse(work: RestoreWork, why: string, hint: string): HoldfastError {
  const target = JSON.stringify(work.request.targetDatabase);
  const message = `database ${target} cannot be restored in place and is untouched: ${why}`;
  return new HoldfastError('RESTORE_FAILED', message, { hint });
}

/** @throws HoldfastError RESTORE_FAILED with the first thing that would block the drop */
function requireDroppable(work: RestoreWork, old: OldDatabase): void {
  if (!old.mayDrop) {
    throw new HoldfastError(
      'DATABASE_PRIVILEGE',
      `role ${JSON.stringify(work.parameters.user)} may not drop database ` +
        JSON.stringify(work.request.targetDatabase),
      { hint: 'Restore as its owner or as a superuser (--username, PGUSER).' },
    );
  }
  const blocker = old.obstacles.find(({ blocks }) => blocks.drop);
  if (blocker === undefined) return;
  throw refuse(work, blocker.message, `Connected to that database: ${blocker.sql.join(' ')}`);
}

/** Room for the new database once the old one is gone, as far as that gives back of its disk. */
async function requireRoom(work: RestoreWork, old: OldDatabase): Promise<void> {
  const { admin, parameters, request } = work;
  const { manifest } = request.source;
  const disk = await diskOf(admin, parameters, manifest?.properties.tablespace ?? null);
  const oldDisk = await diskOf(admin, parameters, old.tablespace);
  if (disk === null) return;
  const givenBack = oldDisk?.device === disk.device ? old.bytes : 0;
  requireSpace(manifest?.database_bytes ?? null, disk.freeBytes, givenBack);
}

/**
 * DROP DATABASE marks its database as broken before it asks for a checkpoint: where that fails, for
 * want of space, the database is lost all the same. So it is asked for first, by who may.
 */
async function requireCheckpoint(work: RestoreWork): Promise<void> {
  try {
    await execute(work.admin, 'CHECKPOINT');
  } catch (error) {
    // 42501 insufficient_privilege: it takes a superuser, or pg_checkpoint from PostgreSQL 15 on.
    if (sqlState(error) === '42501') return;
    const why = `the server cannot make a checkpoint (${toHoldfastError(error).message})`;
    throw refuse(work, why, 'Look into the log of the server; its disk may be full.');
  }
}

/** Whoever has no CREATEDB would drop the old database and could not make the new one. */
async function requireCreatedb(work: RestoreWork): Promise<void> {
  const { may } = await queryOne<{ may: boolean }>(
    work.admin,
    'SELECT rolcreatedb OR rolsuper AS may FROM pg_catalog.pg_roles WHERE rolname = current_user',
  );
  if (may) return;
  const role = JSON.stringify(work.parameters.user);
  throw new HoldfastError('DATABASE_PRIVILEGE', `role ${role} may not create databases`, {
    hint: 'Give it CREATEDB, or restore as a superuser.',
  });
}

/**
 * What a restore in place needs, asked before anything is done.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND without a repository, RESTORE_FAILED with what blocks the
 *   drop, DATABASE_PRIVILEGE, NO_SPACE
 */
export async function requireInPlace(work: RestoreWork): Promise<void> {
  const { request, old, context } = work;
  if (request.inPlace !== true || old === null) return;
  requireDroppable(work, old);
  await requireCreatedb(work);
  await requireRoom(work, old);
  if (old.isInvalid) return;
  const repository = needSafetyRepository(work);
  const estimate = await estimateSafety(repository, request.targetDatabase, old.bytes);
  const keepFree = context.config.settings.min_disk_space_gb * 1e9;
  const tight = checkSpace(estimate, await repository.repository.storage.freeBytes(), keepFree);
  if (tight !== null) context.log.warn(tight);
}

function needSafetyRepository(work: RestoreWork): RepositoryContext {
  const { repository } = work.request;
  if (repository !== undefined) return repository;
  throw refuse(
    work,
    'there is no repository for the safety backup',
    'Set BACKUP_DIR to the folder of the repository; any backup_full.ts creates it.',
  );
}

/** The old database as the target of a backup, on the server that answered. */
async function safetyTarget(work: RestoreWork): Promise<ResolvedTarget> {
  const { request, parameters } = work;
  const { targetDatabase: database, server } = request;
  const candidates = [await withDatabase(parameters, database)] as const;
  return { ...server, database, candidates };
}

/** The command that brings a safety backup back, whatever the environment sets meanwhile. */
function bringBackCommand(work: RestoreWork, label: string, root: string): string {
  const { parameters, request } = work;
  const words = [
    ['--target-database', request.targetDatabase],
    ['--backup-dir', root],
    ['--host', parameters.host],
    ['--port', String(parameters.port)],
    ['--username', parameters.user],
  ].map(([flag, value]) => `${flag}=${printable(shellQuote(value ?? ''))}`);
  return ['scripts/restore_backup.ts', label, ...words].join(' ');
}

/** Takes the safety backup, decompresses it once to its end, and records it. */
async function takeSafetyBackup(work: RestoreWork): Promise<SafetyBackup> {
  const given = needSafetyRepository(work);
  // The lock on the target, once lost, ends the backup too.
  const context = { ...given, signal: work.context.signal };
  const target = await safetyTarget(work);
  const startedAt = context.clock();
  context.log.step(`taking a safety backup of ${JSON.stringify(target.database)}`);
  try {
    const request = { target, tier: 'manual', safety: true, verify: true, waitMs: 0 } as const;
    const saved = await backupFull(context, request);
    const { manifest, folder, warnings } = saved;
    for (const text of warnings) context.log.warn(text);
    const missing = missingCopyError(manifest.label, saved.copies);
    if (missing !== null) context.log.warn(missing.message);
    await recordSuccess(context, target, saved);
    const { label } = manifest;
    const command = bringBackCommand(work, label, context.repository.root);
    context.log.step(
      `safety backup ${label}: ${describeSize(manifest)}, read back; if this restore breaks off, ` +
        `this brings it back:\n  ${command}`,
      { label, folder, command },
    );
    return { label, folder, command };
  } catch (thrown) {
    const error = toHoldfastError(context.signal.aborted ? context.signal.reason : thrown);
    await recordFailure(context, target, startedAt, error);
    throw error;
  }
}

function describeSize({ files, database_bytes }: Manifest): string {
  const stored = files.reduce((bytes, file) => bytes + file.stored.bytes, 0);
  return `${formatBytes(stored)} of ${formatBytes(database_bytes)}`;
}

/** Looks again at what was looked at when the plan was made: it may be hours ago. */
async function lookAgain(work: RestoreWork, planned: OldDatabase): Promise<OldDatabase> {
  const { admin, request } = work;
  const now = await readOldDatabase(admin, request.targetDatabase);
  if (now === null || now.oid !== planned.oid) {
    const found = now?.oid ?? 'none';
    const why = `it is not the database that it was (OID ${found}, not ${planned.oid})`;
    throw refuse(work, why, 'Somebody renamed or dropped it meanwhile: look, and start again.');
  }
  requireDroppable(work, now);
  await requireRoom(work, now);
  if (!now.isInvalid) await requireCheckpoint(work);
  return now;
}

/** Whether the old database is still there, whole; `null` where the server does not say. */
async function isStillWhole(work: RestoreWork, oid: number): Promise<boolean | null> {
  try {
    const { targetDatabase } = work.request;
    if ((await databaseOid(work.admin, targetDatabase)) !== oid) return false;
    return (await readOldDatabase(work.admin, targetDatabase))?.isInvalid === false;
  } catch {
    return null;
  }
}

/**
 * The error of a restore that failed after the drop. Its words are a warning as well: what a signal
 * or a broken connection ends with is another error.
 */
export function tellSafety(
  work: RestoreWork,
  safety: SafetyBackup,
  thrown: unknown,
): HoldfastError {
  const error = toHoldfastError(thrown);
  const target = JSON.stringify(work.request.targetDatabase);
  const { label, command } = safety;
  work.context.log.warn(
    `${target} was dropped, and the new database is not in its place; the safety backup ${label} ` +
      `brings it back:\n  ${command}`,
    { label, command },
  );
  const message = `${error.message}; ${target} was dropped before, its safety backup is ${label}`;
  return new HoldfastError(error.code, message, {
    hint: `To bring the old database back: ${command}`,
    details: { ...error.details, safety_backup: safety },
    cause: error,
  });
}

/** What is there once room was made. */
export interface MadeRoom {
  /** The same work, with no old database any more. */
  readonly work: RestoreWork;
  /** `null` where there was nothing to save. */
  readonly safety: SafetyBackup | null;
}

/** How long it may take to get the old database to oneself. */
const putAsideTimeoutMs = 60_000;

/**
 * Puts the old database aside, under a name that no client knows, and drops it there: nobody can
 * write into it between the safety backup and its end. If it cannot be dropped it comes back.
 */
async function dropAside(work: RestoreWork, oid: number, guard: WriteGuard | null): Promise<void> {
  const { admin, beforeName: newName, context, parameters, request } = work;
  const name = request.targetDatabase;
  const second = await openMore(context, parameters, 'holdfast restore');
  try {
    const { signal } = context;
    const timeoutMs = putAsideTimeoutMs;
    await putAside({ admin, second, name, oid, newName, guard, timeoutMs, signal });
    try {
      await dropDatabaseChecked(admin, newName, oid, { force: true });
    } catch (error) {
      const back = { name: newName, oid, newName: name, guard: null };
      await putAside({ admin, second, timeoutMs, signal, ...back }).catch(() => undefined);
      throw error;
    }
  } finally {
    await second.end();
  }
}

async function dropOld(
  work: RestoreWork,
  old: OldDatabase,
  safety: SafetyBackup | null,
  guard: WriteGuard | null,
): Promise<void> {
  const { admin, request } = work;
  try {
    const now = await lookAgain(work, old);
    if (work.context.signal.aborted) throw work.context.signal.reason;
    // One that a broken DROP DATABASE has left can only be dropped.
    if (now.isInvalid) await dropDatabaseChecked(admin, request.targetDatabase, now.oid);
    else await dropAside(work, now.oid, guard);
  } catch (error) {
    if (safety === null || (await isStillWhole(work, old.oid)) === true) throw error;
    throw tellSafety(work, safety, error);
  }
}

/**
 * Takes the safety backup and drops the old database. One that a broken DROP DATABASE has left
 * holds nothing that could be saved.
 *
 * @param created the new database, empty, dropped again when anything fails
 * @throws HoldfastError of the backup, RESTORE_FAILED with what blocks the drop, INTERRUPTED
 */
export async function makeRoom(work: RestoreWork, created: DatabaseName): Promise<MadeRoom> {
  const { old, request, context, parameters } = work;
  if (old === null) return { work, safety: null };
  const name = request.targetDatabase;
  try {
    if (old.isInvalid) {
      await dropOld(work, old, null, null);
      return { work: { ...work, old: null }, safety: null };
    }
    const fence = await raiseFence(context, parameters, { name, oid: old.oid });
    try {
      if (fence.problem !== null) {
        const text = `writers are not kept out of ${JSON.stringify(name)} until it is dropped`;
        context.log.warn(`${text}: ${fence.problem}`);
      }
      const safety = await takeSafetyBackup(work);
      context.log.step(`dropping ${JSON.stringify(name)}`);
      await dropOld(work, old, safety, fence.guard);
      return { work: { ...work, old: null }, safety };
    } finally {
      await fence.remove();
    }
  } catch (error) {
    const isWhole = (await isStillWhole(work, old.oid)) === true;
    await dropFailed(isWhole ? work : { ...work, old: null }, created);
    throw error;
  }
}
