/**
 * Restores one database beside the old one and swaps the two (PRODUCT.md, "What a restore
 * promises"). Until the swap is committed the old database is untouched, whatever fails.
 */

import type { Client } from 'pg';
import { beforeName, restoringName } from '../core/names.ts';
import { databaseOid } from '../postgres/admin.ts';
import { acquireDatabaseLock, restoreLockKey } from '../postgres/advisory_lock.ts';
import { type ConnectionParameters, describeServer } from '../postgres/connection.ts';
import { formatLockHolder } from '../postgres/lock_holder.ts';
import { findTool } from '../postgres/tools.ts';
import type { Context } from './context.ts';
import { connectMaintenance, openMore } from './open_database.ts';
import { buildDatabase } from './restore_build.ts';
import { dropFailed, dropStaleRestores } from './restore_cleanup.ts';
import type { RestorePlan } from './restore_plan.ts';
import { restoreRoles } from './restore_roles.ts';
import { readOldDatabase, readRestoreServer, requireSpace } from './restore_server.ts';
import { putInPlace } from './restore_swap.ts';
import { verifySource } from './restore_verify.ts';
import type { RestoreRequest, RestoreWork } from './restore_work.ts';

/** A restore that is done. */
export interface RestoreResult {
  readonly database: string;
  /** Where the old database is now, or `null` where there was none. */
  readonly before: string | null;
  readonly tables: number | null;
  readonly rows: number | null;
  readonly roles_created: readonly string[];
  readonly sessions_ended: number;
  readonly duration_seconds: number;
  readonly warnings: readonly string[];
}

/**
 * The names of the new and of the old database, of this second or the next that is free: a restore
 * that follows another one at once must not run into the names of that one.
 */
async function freeNames(
  admin: Client,
  target: string,
  now: Date,
): Promise<Pick<RestoreWork, 'restoringName' | 'beforeName'>> {
  const names = { restoringName: restoringName(target, now), beforeName: beforeName(target, now) };
  const taken =
    (await databaseOid(admin, names.restoringName)) ?? (await databaseOid(admin, names.beforeName));
  return taken === null ? names : freeNames(admin, target, new Date(now.getTime() + 1000));
}

async function lookAround(
  context: Context,
  request: RestoreRequest,
  admin: Client,
  parameters: ConnectionParameters,
): Promise<RestoreWork> {
  const { source, targetDatabase } = request;
  const server = await readRestoreServer(admin, parameters);
  const pgRestore = await findTool({
    program: 'pg_restore',
    serverMajor: server.major,
    minimumMajor: source.dumpMajor ?? undefined,
    environment: context.environment,
    pgBinDir: context.config.settings.pg_bin_dir,
    signal: context.signal,
  });
  return {
    context,
    request,
    admin,
    parameters,
    server,
    old: await readOldDatabase(admin, targetDatabase),
    pgRestore,
    ...(await freeNames(admin, targetDatabase, context.clock())),
  };
}

/** Tells what will be done; nothing has been touched yet. */
function makePlan(work: RestoreWork): RestorePlan {
  const { request, old, server, parameters } = work;
  const { source, jobs, compare, targetDatabase } = request;
  const { manifest } = source;
  const tables = manifest?.tables ?? null;
  return {
    backup: source.description,
    taken_at: manifest?.started_at ?? null,
    source_database: manifest?.database ?? null,
    server: describeServer(parameters),
    target_database: targetDatabase,
    replaces: old === null ? null : { bytes: old.bytes, connections: old.connections },
    restoring_name: work.restoringName,
    before_name: old === null ? null : work.beforeName,
    tables: tables?.length ?? null,
    rows: tables?.reduce((sum, { rows }) => sum + rows, 0) ?? null,
    database_bytes: manifest?.database_bytes ?? null,
    dump_bytes: source.plainBytes,
    jobs,
    unpacked_bytes: jobs > 1 ? source.plainBytes : null,
    free_bytes: server.freeBytes,
    compare: tables === null ? 'none' : compare,
    notes: [...(old?.notes ?? []), ...(manifest?.warnings.map(({ message }) => message) ?? [])],
  };
}

/** Restores while the lock on the target is held. */
async function restoreLocked(work: RestoreWork): Promise<RestoreResult> {
  const { context, request, admin, parameters } = work;
  const { source, targetDatabase } = request;
  const startedSeconds = context.stopwatch();
  await dropStaleRestores(context, admin, parameters, targetDatabase);
  const verified = await verifySource(context, source, { jobs: request.jobs });
  try {
    const roles = await restoreRoles(context, source, admin);
    const built = await buildDatabase(work, verified);
    try {
      const placed = await putInPlace(work, built);
      return {
        database: targetDatabase,
        before: work.old === null ? null : work.beforeName,
        tables: built.comparison?.tables ?? null,
        rows: built.comparison?.rows ?? null,
        roles_created: roles.created,
        sessions_ended: placed.sessionsEnded,
        duration_seconds: Math.round((context.stopwatch() - startedSeconds) * 10) / 10,
        warnings: [...roles.warnings, ...built.warnings, ...placed.warnings],
      };
    } catch (error) {
      await dropFailed(work, built.database);
      throw error;
    }
  } finally {
    await verified.remove();
  }
}

/**
 * Plans a restore, has it confirmed, and carries it out.
 *
 * @throws HoldfastError LOCKED, TOOL_TOO_OLD, DATABASE_…, DAMAGED, NO_SPACE, RESTORE_FAILED,
 *   DIFFERENT, SWAP_FAILED, INTERRUPTED, and whatever `confirm` throws
 */
export async function restoreDatabase(
  context: Context,
  request: RestoreRequest,
): Promise<RestoreResult> {
  const { host, pid, signal } = context;
  const holder = formatLockHolder({ operation: 'restore', startedAt: context.clock(), host, pid });
  const { client: admin, parameters } = await connectMaintenance(
    context,
    request.server,
    holder,
    request.targetDatabase,
  );
  try {
    const work = await lookAround(context, request, admin, parameters);
    await request.confirm(makePlan(work));
    requireSpace(request.source.manifest?.database_bytes ?? null, work.server.freeBytes);
    const lockClient = await openMore(context, parameters, holder);
    try {
      const key = restoreLockKey(request.targetDatabase);
      const lock = await acquireDatabaseLock({
        client: lockClient,
        key,
        holder,
        waitMs: 0,
        signal,
      });
      try {
        const stop = new AbortController();
        void lock.lost.then((error) => stop.abort(error));
        const guarded = { ...context, signal: AbortSignal.any([signal, stop.signal]) };
        return await restoreLocked({ ...work, context: guarded });
      } finally {
        await lock.release();
      }
    } finally {
      await lockClient.end();
    }
  } finally {
    await admin.end();
  }
}

/** The plan of a restore, for `--dry-run`. @throws HoldfastError as {@link restoreDatabase} */
export async function planRestore(
  context: Context,
  request: Omit<RestoreRequest, 'confirm'>,
): Promise<RestorePlan> {
  const { client, parameters } = await connectMaintenance(context, request.server, 'holdfast plan');
  try {
    const confirm = () => Promise.resolve();
    const work = await lookAround(context, { ...request, confirm }, client, parameters);
    requireSpace(request.source.manifest?.database_bytes ?? null, work.server.freeBytes);
    return makePlan(work);
  } finally {
    await client.end();
  }
}
