/** Gathers what the plan of a restore tells. Nothing is touched: it only reads. */

import { statfs } from 'node:fs/promises';
import { estimateRestore } from '../../core/estimate.ts';
import { describeServer } from '../../postgres/connection.ts';
import { estimateSize, type SizeEstimate } from '../backup_space.ts';
import type { RepositoryContext } from '../context.ts';
import type { RestorePlan } from './restore_plan.ts';
import { recordedRestores } from './restore_rates.ts';
import { missingRoles } from './restore_roles.ts';
import type { RestoreWork } from './restore_work.ts';

/** What the next backup of a database is expected to take, told by its last one. */
export async function estimateSafety(
  repository: RepositoryContext,
  database: string,
  databaseBytes: number,
): Promise<SizeEstimate> {
  const entries = await repository.catalog.listBackups({ database });
  const last = entries.findLast(({ manifest }) => manifest !== null);
  return estimateSize(databaseBytes, last?.manifest ?? null);
}

async function safetyBackup(work: RestoreWork): Promise<RestorePlan['safety_backup']> {
  const { repository, inPlace, targetDatabase } = work.request;
  if (inPlace !== true || work.old === null || work.old.isInvalid) return null;
  if (repository === undefined) return null;
  const estimate = await estimateSafety(repository, targetDatabase, work.old.bytes);
  const free_bytes = await repository.repository.storage.freeBytes();
  return { bytes: estimate.storedBytes, free_bytes };
}

async function tempFreeBytes(folder: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch {
    // The restore itself says what is wrong with that folder.
    return null;
  }
}

async function rolesToCreate(work: RestoreWork): Promise<readonly string[] | null> {
  try {
    return await missingRoles(work.context, work.request.source, work.admin);
  } catch {
    // A damaged list of roles is told by the verification, with the file and the check.
    return null;
  }
}

/** How the time of this restore compares with those before it. */
export function rateWish(work: RestoreWork): {
  readonly dumpBytes: number;
  readonly jobs: number;
  readonly compare: string;
} {
  const { source, jobs, compare } = work.request;
  return {
    dumpBytes: source.plainBytes ?? 0,
    jobs,
    compare: source.manifest?.tables == null ? 'none' : compare,
  };
}

function ageSeconds(work: RestoreWork): number | null {
  const takenAt = work.request.source.manifest?.started_at;
  if (takenAt === undefined) return null;
  return Math.round((work.context.clock().getTime() - Date.parse(takenAt)) / 1000);
}

/** The plan of a restore. */
export async function forecast(work: RestoreWork): Promise<RestorePlan> {
  const { request, old, server, parameters, context } = work;
  const { source, jobs, compare, targetDatabase, inPlace = false, keepGoing = false } = request;
  const { manifest } = source;
  const tables = manifest?.tables ?? null;
  const rates = await recordedRestores(request.repository ?? null);
  return {
    backup: source.description,
    taken_at: manifest?.started_at ?? null,
    age_seconds: ageSeconds(work),
    backup_seconds: manifest?.duration_seconds ?? null,
    source_database: manifest?.database ?? null,
    server: describeServer(parameters),
    target_database: targetDatabase,
    replaces: old === null ? null : { bytes: old.bytes, connections: old.connections },
    restoring_name: work.restoringName,
    before_name: old === null || inPlace ? null : work.beforeName,
    in_place: inPlace,
    keep_going: keepGoing,
    safety_backup: await safetyBackup(work),
    tables: tables?.length ?? null,
    rows: tables?.reduce((sum, { rows }) => sum + rows, 0) ?? null,
    database_bytes: manifest?.database_bytes ?? null,
    dump_bytes: source.plainBytes,
    jobs,
    unpacked_bytes: jobs > 1 ? source.plainBytes : null,
    temp_free_bytes: jobs > 1 ? await tempFreeBytes(context.config.settings.temp_dir) : null,
    free_bytes: server.freeBytes,
    compare: tables === null ? 'none' : compare,
    estimate: estimateRestore(rates, rateWish(work)),
    roles_to_create: await rolesToCreate(work),
    obstacles: old?.obstacles ?? [],
    notes: manifest?.warnings.map(({ message }) => message) ?? [],
  };
}
