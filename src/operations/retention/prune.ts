/**
 * Removes what retention does not keep. The plan is made again under the lock, from the store
 * itself; only what the operator has seen in the first one and what the second one says too is
 * removed, each while nobody reads it.
 */

import { checksOf, isCheckName } from '../../catalog/checks.ts';
import type { DatabaseFilter } from '../../catalog/database_folders.ts';
import { readEntry } from '../../catalog/entry.ts';
import { whilePruning, whileRemoving } from '../../catalog/in_use.ts';
import { type Litter, removeLitter } from '../../catalog/litter.ts';
import type { Repository } from '../../catalog/repository.ts';
import { beginRun, type Run } from '../../catalog/runs.ts';
import { localName } from '../../config/stores.ts';
import { toHoldfastError } from '../../core/errors.ts';
import { manifestName } from '../../core/manifest.ts';
import { printable } from '../../core/printable.ts';
import { formatBytes } from '../../core/units.ts';
import { retainedReason } from '../backup_folder.ts';
import type { RepositoryContext } from '../context.ts';
import {
  fingerprintOf,
  goingOf,
  type PrunableBackup,
  type PrunePlan,
  planPrune,
} from './prune_plan.ts';

/** A backup that was removed. Bytes as it lay in the store. */
export interface RemovedBackup {
  readonly label: string;
  readonly cluster: string;
  readonly database: string;
  readonly bytes: number;
  readonly reason: string;
}

/** A backup that was to go and is still there, and why. */
export interface SkippedBackup {
  readonly label: string;
  readonly reason: string;
}

/** What a prune has done. */
export interface PruneResult {
  /** As it was made under the lock. */
  readonly plan: PrunePlan;
  readonly removed: readonly RemovedBackup[];
  readonly skipped: readonly SkippedBackup[];
  readonly litter: readonly Litter[];
  readonly freedBytes: number;
}

export interface PruneOptions {
  readonly filter: DatabaseFilter;
  /** Also what a guard would stop. */
  readonly force: boolean;
  /** The plan that was agreed to; `null`: whatever the policy says. */
  readonly agreed: PrunePlan | null;
  /**
   * Whether killed runs stay known after it: another store, which has not been pruned yet, may hold
   * what they have left.
   */
  readonly remembersRuns?: boolean | undefined;
}

/** What is about to be removed. */
export interface RemovalPlace {
  readonly label: string;
  readonly cluster: string;
  /** `null`: a base backup, which is of no database. */
  readonly database: string | null;
  /** Its key. */
  readonly folder: string;
}

/** Tells others whose folder it is if this run is killed; on a full disk they go by its age. */
export async function recordRemoval(
  context: RepositoryContext,
  { label, cluster, database, folder }: RemovalPlace,
): Promise<Run | null> {
  try {
    return await beginRun({
      stateDir: context.repository.stateDir,
      runId: `${context.runId}-remove-${label}`,
      command: 'prune_backups',
      cluster,
      database,
      folder,
      startedAt: context.clock(),
    });
  } catch (error) {
    context.log.trace('not recorded', { error: toHoldfastError(error).message });
    return null;
  }
}

/** Removes one backup that nobody reads, if it still is what the plan has taken it for. */
async function removeBackup(
  context: RepositoryContext,
  { place, fingerprint }: PrunableBackup,
): Promise<'removed' | 'gone' | 'changed'> {
  const { storage } = context.repository;
  const { folder } = place;
  const entry = await readEntry(storage, place);
  if (entry === null) return 'gone';
  if (fingerprintOf(entry) !== fingerprint) return 'changed';
  const run = await recordRemoval(context, place);
  await storage.removeFolder(folder, manifestName);
  for (const name of (await storage.children(checksOf(folder))).filter(isCheckName)) {
    await storage.remove(`${checksOf(folder)}/${name}`);
  }
  await run?.end();
  return 'removed';
}

/** Removes one backup. @returns why it is still there; `null`: it is not */
async function removeUnlessUsed(
  context: RepositoryContext,
  backup: PrunableBackup,
): Promise<string | null> {
  const { stateDir } = context.repository;
  try {
    const done = await whileRemoving(stateDir, backup.label, () => removeBackup(context, backup));
    if (done === 'removed') return null;
    return done === 'gone' ? 'another run has removed it' : 'it has changed since the plan';
  } catch (thrown) {
    const error = toHoldfastError(thrown, `removing ${backup.label}`);
    const retained = retainedReason(error);
    if (retained !== null) return retained;
    if (error.code !== 'LOCKED') throw error;
    return `in use: ${error.message}`;
  }
}

/** ` in s3`; nothing of the store in BACKUP_DIR. */
export function inWhich({ stores: [{ spec }] }: Pick<Repository, 'stores'>): string {
  return spec.name === localName ? '' : ` in ${printable(spec.name)}`;
}

/** Carries out what both plans say. */
async function carryOut(
  context: RepositoryContext,
  { filter, force, agreed, remembersRuns }: PruneOptions,
): Promise<PruneResult> {
  const { signal, repository } = context;
  const plan = await planPrune(context, filter);
  const wanted = agreed ?? plan;
  const agreedFolders = new Set(goingOf(wanted, force).map(({ backup }) => backup.place.folder));
  const removed: RemovedBackup[] = [];
  const skipped: SkippedBackup[] = [];
  for (const { backup, reason } of goingOf(plan, force)) {
    const { label, cluster, database, folder } = backup.place;
    if (!agreedFolders.has(folder)) continue;
    if (signal.aborted) throw signal.reason;
    const stays = await removeUnlessUsed(context, backup);
    const what = `${label} of ${printable(database)}${inWhich(repository)}`;
    if (stays !== null) {
      context.log.warn(`${what} was not removed: ${stays}`);
      skipped.push({ label, reason: stays });
      continue;
    }
    const bytes = backup.bytes ?? 0;
    context.log.step(`removed ${what}, ${formatBytes(bytes)}: ${reason}`, { folder, bytes });
    removed.push({ label, cluster, database, bytes, reason });
  }
  const { storage, stateDir } = repository;
  const keys = new Set(wanted.litter.map(({ key }) => key));
  const options = { storage, stateDir, filter, now: plan.now, remembersRuns };
  const litter = await removeLitter(options, keys);
  const where = inWhich(repository);
  for (const { key, reason } of litter) {
    context.log.step(`removed ${printable(key)}${where}: ${reason}`);
  }
  const freedBytes = removed.reduce((sum, { bytes }) => sum + bytes, 0);
  return { plan, removed, skipped, litter, freedBytes };
}

/**
 * Removes what retention does not keep, and what killed runs have left. A database that a guard
 * stops is left as it is unless it is forced.
 *
 * @throws HoldfastError LOCKED when another prune holds the repository for a minute; STORE_REFUSED
 *   from a read-only repository; STORE_UNREACHABLE, INTERRUPTED
 */
export async function prune(
  context: RepositoryContext,
  options: PruneOptions,
): Promise<PruneResult> {
  return whilePruning(context.repository.stateDir, () => carryOut(context, options));
}
