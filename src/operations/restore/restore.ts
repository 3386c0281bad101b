/**
 * Restores one database beside the old one and swaps the two (PRODUCT.md, "What a restore
 * promises"). Until the swap is committed the old database is untouched, whatever fails.
 */

import type { Client } from 'pg';
import { HoldfastError } from '../../core/errors.ts';
import type { RestoreRate } from '../../core/estimate.ts';
import { parseLeftoverName, putAsideAt } from '../../core/leftovers.ts';
import { beforeName, isLeftoverNameOf, restoringName } from '../../core/names.ts';
import { dropDatabaseChecked, listDatabaseNames } from '../../postgres/admin.ts';
import type { ConnectionParameters } from '../../postgres/connection.ts';
import { formatLockHolder } from '../../postgres/lock_holder.ts';
import { findTool } from '../../postgres/tools.ts';
import type { Context } from '../context.ts';
import { connectMaintenance } from '../open_database.ts';
import { type BuiltDatabase, buildDatabase } from './restore_build.ts';
import { dropFailed, dropStaleRestores } from './restore_cleanup.ts';
import { requireComparable } from './restore_compare_content.ts';
import { withAnyCopy } from './restore_copies.ts';
import { forecast, rateWish } from './restore_forecast.ts';
import { makeRoom, requireInPlace, type SafetyBackup, tellSafety } from './restore_in_place.ts';
import { leaveUnswapped } from './restore_keep_going.ts';
import { withRestoreLock } from './restore_lock.ts';
import type { RestorePlan } from './restore_plan.ts';
import { prepareRestore } from './restore_prepare.ts';
import { recordRestore } from './restore_rates.ts';
import { readCarried, readOldDatabase, readRestoreServer, requireSpace } from './restore_server.ts';
import { requireSqlWay } from './restore_sql.ts';
import { type PlacedDatabase, putInPlace } from './restore_swap.ts';
import { isTroubled } from './restore_trouble.ts';
import type { RestoreRequest, RestoreWork } from './restore_work.ts';

/** A restore that is done. */
export interface RestoreResult {
  readonly database: string;
  /** Where the old database is now, or `null` where there was none, or it was dropped. */
  readonly before: string | null;
  /** The OID of that one. */
  readonly before_oid: number | null;
  /** Of a restore in place: the backup of what was dropped. */
  readonly safety_backup: SafetyBackup | null;
  readonly tables: number | null;
  readonly rows: number | null;
  readonly roles_created: readonly string[];
  readonly sessions_ended: number;
  readonly duration_seconds: number;
  readonly warnings: readonly string[];
}

/**
 * The names of the new and of the old database: later than those of all other restores of it, so
 * that they are free, and the one that is replaced last is the youngest, which a rollback takes.
 */
async function freeNames(
  admin: Client,
  target: string,
  now: Date,
): Promise<Pick<RestoreWork, 'restoringName' | 'beforeName'>> {
  const others = (await listDatabaseNames(admin))
    .filter(({ name }) => isLeftoverNameOf(name, target))
    .flatMap(({ name }) => parseLeftoverName(name) ?? []);
  const at = putAsideAt(now, others);
  return { restoringName: restoringName(target, at), beforeName: beforeName(target, at) };
}

async function lookAround(
  context: Context,
  request: RestoreRequest,
  admin: Client,
  parameters: ConnectionParameters,
): Promise<RestoreWork> {
  const { source, targetDatabase } = request;
  const tablespace = source.manifest?.properties.tablespace ?? null;
  const server = await readRestoreServer(admin, parameters, tablespace);
  const find = (program: 'pg_restore' | 'pg_dump' | 'psql', minimumMajor: number | undefined) =>
    findTool({
      program,
      serverMajor: server.major,
      minimumMajor,
      environment: context.environment,
      pgBinDir: context.config.settings.pg_bin_dir,
      signal: context.signal,
    });
  const comparesContent = request.compare === 'content';
  if (comparesContent) requireComparable(source);
  requireSqlWay(request);
  const old = await readOldDatabase(admin, targetDatabase);
  return {
    context,
    request,
    admin,
    parameters,
    server,
    old,
    carried: await readCarried(admin, source, old, server.versionNum),
    restoreTool: await (source.format === 'sql'
      ? find('psql', undefined)
      : find('pg_restore', source.dumpMajor ?? undefined)),
    pgDump: comparesContent ? await find('pg_dump', undefined) : null,
    ...(await freeNames(admin, targetDatabase, context.clock())),
    sql: null,
  };
}

/**
 * @throws HoldfastError DATABASE_PRIVILEGE when the swap would be refused, after all the work;
 *   NO_SPACE when both databases do not fit
 */
function requireBeside({ request, server, old, parameters }: RestoreWork): void {
  if (request.inPlace === true) return;
  if (old !== null && !old.mayDrop) {
    const [role, name] = [parameters.user, request.targetDatabase].map((text) =>
      JSON.stringify(text),
    );
    throw new HoldfastError('DATABASE_PRIVILEGE', `role ${role} may not rename database ${name}`, {
      hint: 'Restore as its owner or as a superuser (--username, PGUSER).',
    });
  }
  requireSpace(request.source.manifest?.database_bytes ?? null, server.freeBytes);
}

/** Looks for what will surely fail, before anybody is asked. */
async function requireReady(work: RestoreWork): Promise<void> {
  requireBeside(work);
  await requireInPlace(work);
}

/** The database takes its place, or is dropped; one with trouble is left for a person. */
async function place(
  work: RestoreWork,
  built: BuiltDatabase,
  damage: HoldfastError | null,
  warnings: readonly string[],
): Promise<PlacedDatabase> {
  const trouble = { ...built.trouble, damage: damage ?? built.trouble.damage };
  if (isTroubled(trouble)) throw await leaveUnswapped(work, built.database, trouble, warnings);
  try {
    return await putInPlace(await withoutInvalid(work), built);
  } catch (error) {
    await dropFailed(work, built.database);
    throw error;
  }
}

/** A database that a broken DROP DATABASE has left cannot be kept: its drop is finished. */
async function withoutInvalid(work: RestoreWork): Promise<RestoreWork> {
  const { old, admin, request } = work;
  if (old?.isInvalid !== true) return work;
  await dropDatabaseChecked(admin, request.targetDatabase, old.oid);
  return { ...work, old: null };
}

async function rememberRates(work: RestoreWork, seconds: RestoreRate['seconds']): Promise<void> {
  const { repository, targetDatabase: database } = work.request;
  const { dumpBytes, jobs, compare } = rateWish(work);
  if (repository === undefined || dumpBytes === 0) return;
  const finished_at = work.context.clock().toISOString();
  const rate = { finished_at, database, dump_bytes: dumpBytes, jobs, compare, seconds };
  await recordRestore(repository, rate);
}

/** Restores while the lock on the target is held. */
async function restoreLocked(locked: RestoreWork): Promise<RestoreResult> {
  const { context, request, admin, parameters } = locked;
  const startedSeconds = context.stopwatch();
  await dropStaleRestores(context, admin, parameters, request.targetDatabase);
  const prepared = await prepareRestore(locked);
  const { work, verified, damage, created, restoredRoles } = prepared;
  try {
    const room = request.inPlace === true ? await makeRoom(work, created) : { work, safety: null };
    try {
      const kept = room.work.old?.isInvalid === false ? room.work.old : null;
      const built = await buildDatabase(room.work, verified, created);
      const fromSql = work.sql?.warnings ?? [];
      const warnings = [...restoredRoles.warnings, ...fromSql, ...built.warnings];
      const placed = await place(room.work, built, damage, warnings);
      await rememberRates(work, { verifying: prepared.seconds, ...built.seconds });
      return {
        database: request.targetDatabase,
        before: kept === null ? null : work.beforeName,
        before_oid: kept?.oid ?? null,
        safety_backup: room.safety,
        tables: built.comparison?.tables ?? null,
        rows: built.comparison?.rows ?? null,
        roles_created: restoredRoles.created,
        sessions_ended: placed.sessionsEnded,
        duration_seconds: Math.round((context.stopwatch() - startedSeconds) * 10) / 10,
        warnings: [...warnings, ...placed.warnings],
      };
    } catch (error) {
      throw room.safety === null ? error : tellSafety(room.work, room.safety, error);
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
  const { host, pid } = context;
  const holder = formatLockHolder({ operation: 'restore', startedAt: context.clock(), host, pid });
  const { client: admin, parameters } = await connectMaintenance(
    context,
    request.server,
    holder,
    request.targetDatabase,
  );
  try {
    const work = await lookAround(context, request, admin, parameters);
    await requireReady(work);
    await request.confirm(await forecast(work));
    return await withRestoreLock(context, parameters, request.targetDatabase, holder, (guarded) =>
      withAnyCopy(request.source, (source) =>
        restoreLocked({ ...work, context: guarded, request: { ...request, source } }),
      ),
    );
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
    requireBeside(work);
    return await forecast(work);
  } finally {
    await client.end();
  }
}
