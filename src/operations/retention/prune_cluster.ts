/**
 * Removes the base backups and the WAL of a cluster that retention does not keep. The order is such
 * that a kill at any moment leaves no base backup whose WAL or whose parent is gone: the base
 * backups first, an increment before what it builds upon, each with its manifest first; then WAL,
 * oldest first.
 *
 * Who has claimed the archive is not asked: retention is about what is there, not about who writes.
 * After a failover the new server prunes what the old one has written, and what either of them may
 * still need is kept by the same rules. What is being written is kept out by a lock: a base backup,
 * a recovery, a verification holds it shared.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { findBaseBackup } from '../../catalog/base_catalog.ts';
import { removeClusterLitter } from '../../catalog/base_litter.ts';
import { checksOf, isCheckName } from '../../catalog/checks.ts';
import { whileRemoving, whileRemovingOfCluster } from '../../catalog/in_use.ts';
import type { Litter } from '../../catalog/litter.ts';
import { walFolder } from '../../catalog/wal_archive.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { manifestName } from '../../core/manifest.ts';
import { printable } from '../../core/printable.ts';
import { formatBytes, formatCount } from '../../core/units.ts';
import { retainedReason } from '../backup_folder.ts';
import type { RepositoryContext } from '../context.ts';
import { inWhich, recordRemoval } from './prune.ts';
import {
  baseFingerprint,
  type ClusterPlan,
  goingOfCluster,
  type PrunableBase,
  planCluster,
  walKeysIn,
} from './prune_cluster_plan.ts';

/** A base backup that was removed. Bytes as it lay in the store. */
export interface RemovedBase {
  readonly label: string;
  readonly bytes: number;
  readonly reason: string;
}

/** What was to go and is still there, and why. */
export interface SkippedPart {
  /** A label, or the name of the cluster where it is about all of it. */
  readonly what: string;
  readonly reason: string;
}

/** What a prune of one cluster has done. */
export interface ClusterPruneResult {
  readonly cluster: string;
  /** As it was made last; `null` where somebody used the cluster. */
  readonly plan: ClusterPlan | null;
  readonly removed: readonly RemovedBase[];
  /** How many files of the WAL were removed, without what lay beside them. */
  readonly walFiles: number;
  readonly skipped: readonly SkippedPart[];
  readonly litter: readonly Litter[];
  readonly freedBytes: number;
}

export interface ClusterPruneOptions {
  /** Also what a guard would stop. */
  readonly force: boolean;
  /** The plan that was agreed to; `null`: whatever the policy says. */
  readonly agreed: ClusterPlan | null;
  /** As in `PruneOptions`. */
  readonly remembersRuns?: boolean | undefined;
}

/** So long nobody can begin to use the cluster; whoever waits for it waits for a minute. */
const heldSecondsMax = 15;
/** Between two such times whoever waits gets in. */
const pauseMs = 500;

/** Removes one base backup that nobody reads, if it still is what the plan has taken it for. */
async function removeBase(
  context: RepositoryContext,
  { place, fingerprint }: PrunableBase,
): Promise<string | null> {
  const { storage } = context.repository;
  const { folder, label, cluster } = place;
  const entry = await findBaseBackup(storage, label, { cluster }).catch((error: unknown) => {
    if (error instanceof HoldfastError && error.code === 'BACKUP_NOT_FOUND') return null;
    throw error;
  });
  if (entry === null) return 'another run has removed it';
  if (baseFingerprint(entry) !== fingerprint) return 'it has changed since the plan';
  const run = await recordRemoval(context, { ...place, database: null });
  await storage.removeFolder(folder, manifestName);
  for (const name of (await storage.children(checksOf(folder))).filter(isCheckName)) {
    await storage.remove(`${checksOf(folder)}/${name}`);
  }
  await run?.end();
  return null;
}

/** Removes one base backup. @returns why it is still there; `null`: it is not */
async function removeUnlessUsed(
  context: RepositoryContext,
  base: PrunableBase,
): Promise<string | null> {
  const { stateDir } = context.repository;
  try {
    return await whileRemoving(stateDir, base.label, () => removeBase(context, base));
  } catch (thrown) {
    const error = toHoldfastError(thrown, `removing ${base.label}`);
    const retained = retainedReason(error);
    if (retained !== null) return retained;
    if (error.code !== 'LOCKED') throw error;
    return `in use: ${error.message}`;
  }
}

/** One prune of a cluster under way. */
class ClusterPrune {
  readonly removed: RemovedBase[] = [];
  readonly skipped: SkippedPart[] = [];
  litter: readonly Litter[] = [];
  walFiles = 0;
  freedBytes = 0;
  plan: ClusterPlan | null = null;
  readonly #context: RepositoryContext;
  readonly #cluster: string;
  readonly #options: ClusterPruneOptions;
  /** What stays although it was to go, and so keeps what it needs. */
  readonly #staying = new Map<string, string>();
  #hasLitter = true;
  readonly #where: string;

  constructor(context: RepositoryContext, cluster: string, options: ClusterPruneOptions) {
    this.#where = inWhich(context.repository);
    this.#context = context;
    this.#cluster = cluster;
    this.#options = options;
  }

  /** What goes now, as far as it was agreed to. */
  async #going(): Promise<{ plan: ClusterPlan; bases: PrunableBase[]; wal: string[] }> {
    const { agreed, force } = this.#options;
    const plan = await planCluster(this.#context, this.#cluster, this.#staying);
    this.plan = plan;
    const { bases, wal } = goingOfCluster(plan, force);
    if (agreed === null) return { plan, bases: bases.map(({ base }) => base), wal: [...wal] };
    const wanted = goingOfCluster(agreed, force);
    const labels = new Set(wanted.bases.map(({ base }) => base.label));
    const names = new Set(wanted.wal);
    return {
      plan,
      bases: bases.map(({ base }) => base).filter(({ label }) => labels.has(label)),
      wal: wal.filter((name) => names.has(name)),
    };
  }

  #stop(): void {
    const { signal } = this.#context;
    if (signal.aborted) throw signal.reason;
  }

  /** @returns whether all base backups that were to go are gone */
  async #removeBases(plan: ClusterPlan, bases: readonly PrunableBase[]): Promise<boolean> {
    for (const base of bases) {
      this.#stop();
      const { label } = base;
      const stays = await removeUnlessUsed(this.#context, base);
      if (stays !== null) {
        this.#context.log.warn(`${label}${this.#where} was not removed: ${stays}`);
        this.skipped.push({ what: label, reason: stays });
        this.#staying.set(label, stays);
        return false;
      }
      const reason = plan.bases.find((each) => each.base === base)?.reason ?? '';
      const bytes = base.bytes ?? 0;
      const what = `${label}${this.#where}`;
      this.#context.log.step(`removed ${what}, ${formatBytes(bytes)}: ${reason}`, { bytes });
      this.removed.push({ label, bytes, reason });
      this.freedBytes += bytes;
    }
    return true;
  }

  /** @returns whether all of it is gone */
  async #removeWal(plan: ClusterPlan, names: readonly string[]): Promise<boolean> {
    const { repository, stopwatch } = this.#context;
    const { storage } = repository;
    const archive = { folder: walFolder(this.#cluster) };
    const endSeconds = stopwatch() + heldSecondsMax;
    const keysOf = walKeysIn(archive, plan.listing);
    let done = 0;
    for (const name of names) {
      if (stopwatch() > endSeconds) break;
      this.#stop();
      for (const key of keysOf(name)) await storage.remove(key);
      this.freedBytes += plan.walBytes.get(name) ?? 0;
      done += 1;
    }
    for (const folder of new Set(names.map((name) => name.slice(0, 8)))) {
      await storage.removeIfEmpty(`${archive.folder}/${folder}`);
    }
    this.walFiles += done;
    return done === names.length;
  }

  async #removeLitter({ listing, litter, now }: ClusterPlan): Promise<void> {
    this.#hasLitter = false;
    const { storage, stateDir } = this.#context.repository;
    const keys = new Set((this.#options.agreed?.litter ?? litter).map(({ key }) => key));
    const { remembersRuns } = this.#options;
    const options = { storage, stateDir, cluster: this.#cluster, listing, now, remembersRuns };
    this.litter = await removeClusterLitter(options, keys);
    for (const { key, reason } of this.litter) {
      this.#context.log.step(`removed ${printable(key)}${this.#where}: ${reason}`);
    }
  }

  /** As much as is done while nobody else may use the cluster. @returns whether that is all */
  async step(): Promise<boolean> {
    const going = await this.#going();
    const { plan, bases } = going;
    if (this.#hasLitter) await this.#removeLitter(plan);
    if (!(await this.#removeBases(plan, bases))) return false;
    // Looked at again: what was found damaged meanwhile changes what the others have to keep.
    const left = bases.length === 0 ? going : await this.#going();
    if (left.bases.length > 0) return false;
    return this.#removeWal(left.plan, left.wal);
  }
}

/**
 * Removes what retention does not keep of a cluster, and what killed runs have left. Nothing goes
 * while a guard stops it, unless it is forced, or while somebody uses the cluster.
 *
 * @throws HoldfastError STORE_REFUSED from a read-only repository; STORE_UNREACHABLE, INTERRUPTED
 */
export async function pruneCluster(
  context: RepositoryContext,
  cluster: string,
  options: ClusterPruneOptions,
): Promise<ClusterPruneResult> {
  const { stateDir } = context.repository;
  const prune = new ClusterPrune(context, cluster, options);
  try {
    while (!(await whileRemovingOfCluster(stateDir, cluster, () => prune.step()))) {
      await sleep(pauseMs, undefined, { signal: context.signal });
    }
  } catch (thrown) {
    const error = toHoldfastError(thrown, `pruning ${printable(cluster)}`);
    if (error.code !== 'LOCKED') throw error;
    const what = `base backups and WAL of ${printable(cluster)}`;
    context.log.warn(`${what} were left as they are: in use: ${error.message}`);
    prune.skipped.push({ what: cluster, reason: `in use: ${error.message}` });
  }
  const { plan, removed, walFiles, skipped, litter, freedBytes } = prune;
  if (walFiles > 0) {
    context.log.step(
      `removed ${formatCount(walFiles, 'file')} of the WAL of ${printable(cluster)}` +
        inWhich(context.repository),
    );
  }
  return { cluster, plan, removed, walFiles, skipped, litter, freedBytes };
}
