/** The plan of scripts/prune_backups.ts for one store: in words, and as JSON. */

import type { Repository } from '../catalog/repository.ts';
import type { HoldfastError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { formatAge, formatBytes, formatCount } from '../core/units.ts';
import type { PruneResult } from '../operations/retention/prune.ts';
import type { ClusterPruneResult } from '../operations/retention/prune_cluster.ts';
import type { ClusterPlan } from '../operations/retention/prune_cluster_plan.ts';
import {
  type DatabasePlan,
  goingOf,
  type PrunableBackup,
  type PrunePlan,
} from '../operations/retention/prune_plan.ts';
import { clusterGuardErrors, guardErrors } from '../operations/retention/retention_guard.ts';
import {
  clusterDocument,
  clusterResultDocument,
  describeClusters,
  describeGoing,
} from './prune_clusters.ts';
import { formatTable } from './table.ts';

/** What a prune would do with what lies in one store, or with the part of it that is meant. */
export interface StorePlan {
  /** As it lies in that store. */
  readonly repository: Repository;
  readonly databases: PrunePlan;
  readonly clusters: readonly ClusterPlan[];
}

/** What a prune has done in one store. */
export interface StoreResult {
  readonly store: string;
  readonly databases: PruneResult;
  readonly clusters: readonly ClusterPruneResult[];
}

const header = ['label', 'database', 'age', 'stored', 'plan', 'reason'];

/** The name of the store that a plan is about. */
export function storeOf({ repository }: StorePlan): string {
  return repository.stores[0].spec.name;
}

function bytesOf(backups: readonly { readonly backup: PrunableBackup }[]): number {
  return backups.reduce((sum, { backup }) => sum + (backup.bytes ?? 0), 0);
}

function rowsOf({ cluster, database, decisions }: DatabasePlan, now: Date, several: boolean) {
  return decisions.map(({ backup, action, reason }) => [
    backup.label,
    printable(database),
    formatAge((now.getTime() - backup.startedAt.getTime()) / 1000),
    backup.bytes === null ? '' : formatBytes(backup.bytes),
    action,
    printable(reason),
    ...(several ? [printable(cluster)] : []),
  ]);
}

/** The plan as people read it; a column for the cluster only where there are several. */
function describeDatabases({ databases: plan, repository }: StorePlan, force: boolean): string[] {
  const { databases, litter, foreign, now } = plan;
  const several = new Set(databases.map(({ cluster }) => cluster)).size > 1;
  const rows = databases.flatMap((database) => rowsOf(database, now, several));
  const table = formatTable([...header, ...(several ? ['cluster'] : [])], rows).trimEnd();
  const going = goingOf(plan, force);
  const total = databases.reduce((sum, { decisions }) => sum + decisions.length, 0);
  return [
    ...(rows.length === 0 ? ['no backups'] : table.split('\n')),
    ...litter.map(({ kind, key, reason }) => `remove ${kind} ${printable(key)}: ${reason}`),
    ...foreign.map((key) => `not of Holdfast, and not touched: ${printable(key)}`),
    ...guardErrors(plan, force, repository).map(({ message }) => message),
    `${going.length} of ${formatCount(total, 'backup')} to remove, ${formatBytes(bytesOf(going))}`,
  ];
}

/** The plans as people read them; with the name of the store where there are several. */
export function describePlans(plans: readonly StorePlan[], force: boolean): string[] {
  return plans.flatMap((plan, index) => {
    const lines = [
      ...describeDatabases(plan, force),
      ...describeClusters(plan.clusters, force, plan.repository),
    ];
    if (plans.length === 1) return lines;
    return [...(index > 0 ? [''] : []), `in the store ${printable(storeOf(plan))}:`, ...lines];
  });
}

/** The errors of what a guard holds back. */
export function guardsOf(plan: StorePlan, force: boolean): HoldfastError[] {
  const { databases, clusters, repository } = plan;
  return [
    ...guardErrors(databases, force, repository),
    ...clusterGuardErrors(clusters, force, repository),
  ];
}

/** What goes by a plan, in words; `null` where nothing does. */
function goingText({ databases, clusters }: StorePlan, force: boolean): string | null {
  const going = goingOf(databases, force);
  const more = describeGoing(clusters, force);
  if (going.length === 0) return more;
  const backups = `${formatCount(going.length, 'backup')} (${formatBytes(bytesOf(going))})`;
  return more === null ? backups : `${backups}, ${more}`;
}

/** What is asked before anything goes. */
export function questionOf(plans: readonly StorePlan[], force: boolean): string {
  const texts = plans.flatMap((plan) => {
    const text = goingText(plan, force);
    if (text === null) return [];
    return [plans.length === 1 ? text : `${text} in ${printable(storeOf(plan))}`];
  });
  return `Remove ${texts.length === 0 ? '0 backups (0 B)' : texts.join(' and ')} for good?`;
}

/** Whether a plan does nothing at all. */
export function isEmpty(plan: StorePlan, force: boolean): boolean {
  const litter = [plan.databases, ...plan.clusters].some((each) => each.litter.length > 0);
  return !litter && goingText(plan, force) === null;
}

/** The plans as JSON: one list over all stores, each entry with the name of its store. */
export function planDocument(plans: readonly StorePlan[], force: boolean): object {
  const [first] = plans;
  const inStore = <Item extends object>(pick: (plan: StorePlan) => readonly Item[]) =>
    plans.flatMap((plan) => pick(plan).map((item) => ({ store: storeOf(plan), ...item })));
  const going = plans.flatMap(({ databases }) => goingOf(databases, force));
  return {
    policy: first?.databases.policy ?? null,
    stores: plans.map((plan) => ({ store: storeOf(plan), policy: plan.databases.policy })),
    databases: inStore(({ databases }) => databases.databases.map(databaseDocument)),
    litter: inStore(({ databases }) => databases.litter),
    foreign: plans.flatMap(({ databases }) => databases.foreign),
    bytes_to_free: bytesOf(going),
    clusters: inStore(({ clusters }) => clusters.map((each) => clusterDocument(each, force))),
  };
}

function databaseDocument({ cluster, database, guards, decisions }: DatabasePlan): object {
  return {
    cluster,
    database,
    guards,
    backups: decisions.map(({ backup, action, reason }) => ({
      label: backup.label,
      tier: backup.tier,
      started_at: backup.startedAt.toISOString(),
      health: backup.health,
      stored_bytes: backup.bytes,
      action,
      reason,
    })),
  };
}

/** What was done, as JSON, in the same way. */
export function resultDocument(results: readonly StoreResult[]): object {
  const inStore = <Item extends object>(pick: (result: StoreResult) => readonly Item[]) =>
    results.flatMap((result) => pick(result).map((item) => ({ store: result.store, ...item })));
  return {
    removed: inStore(({ databases }) => databases.removed),
    skipped: inStore(({ databases }) => databases.skipped),
    litter_removed: inStore(({ databases }) => databases.litter),
    freed_bytes: results.reduce((sum, { databases }) => sum + databases.freedBytes, 0),
    pruned_clusters: inStore(({ clusters }) => clusters.map(clusterResultDocument)),
  };
}
