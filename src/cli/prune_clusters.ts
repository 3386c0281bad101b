/** Base backups and WAL in scripts/prune_backups.ts: the plan in words, the JSON documents. */

import type { Repository } from '../catalog/repository.ts';
import { printable } from '../core/printable.ts';
import { formatAge, formatBytes, formatCount } from '../core/units.ts';
import type { WalDecision } from '../core/wal_retention.ts';
import type { ClusterPruneResult } from '../operations/retention/prune_cluster.ts';
import { type ClusterPlan, goingOfCluster } from '../operations/retention/prune_cluster_plan.ts';
import { clusterGuardErrors } from '../operations/retention/retention_guard.ts';
import { formatTable } from './table.ts';

const baseHeader = ['base backup', 'cluster', 'age', 'stored', 'plan', 'reason'];
const walHeader = ['WAL from', 'to', 'cluster', 'files', 'plan', 'reason'];

function baseRows({ cluster, bases, now }: ClusterPlan): string[][] {
  return bases.map(({ base, action, reason }) => [
    base.label,
    printable(cluster),
    formatAge((now.getTime() - base.startedAt.getTime()) / 1000),
    base.bytes === null ? '' : formatBytes(base.bytes),
    action,
    printable(reason),
  ]);
}

function walRow(cluster: string, { names, action, reason }: WalDecision): string[] {
  const [first, last] = [names[0] ?? '', names.at(-1) ?? ''];
  return [first, last, printable(cluster), String(names.length), action, printable(reason)];
}

/** A table below another one; nothing where it has no rows. */
function tableBelow(header: readonly string[], rows: readonly string[][]): string[] {
  return rows.length === 0 ? [] : ['', ...formatTable(header, rows).trimEnd().split('\n')];
}

/**
 * The plans as people read them: every base backup, every range of WAL.
 *
 * @param repository as it lies in the store of the plans
 */
export function describeClusters(
  plans: readonly ClusterPlan[],
  force: boolean,
  repository: Repository,
): string[] {
  const ranges = plans.flatMap(({ cluster, wal }) => wal.map((each) => walRow(cluster, each)));
  return [
    ...tableBelow(baseHeader, plans.flatMap(baseRows)),
    ...tableBelow(walHeader, ranges),
    ...plans.flatMap(({ litter }) =>
      litter.map(({ kind, key, reason }) => `remove ${kind} ${printable(key)}: ${reason}`),
    ),
    ...plans.flatMap(({ foreign }) =>
      foreign.map((key) => `not of Holdfast, and not touched: ${printable(key)}`),
    ),
    ...clusterGuardErrors(plans, force, repository).map(({ message }) => message),
    ...plans.map((plan) => {
      const { bases, wal, bytes } = goingOfCluster(plan, force);
      const all = formatCount(plan.bases.length, 'base backup');
      const files = formatCount(wal.length, 'file');
      const what = `${bases.length} of ${all} and ${files} of the WAL`;
      return `${what} of ${printable(plan.cluster)} to remove, ${formatBytes(bytes)}`;
    }),
  ];
}

/** `2 base backups and 30 files of WAL (1.2 GB)`; `null` where nothing of it goes. */
export function describeGoing(plans: readonly ClusterPlan[], force: boolean): string | null {
  const going = plans.map((plan) => goingOfCluster(plan, force));
  const bases = going.reduce((sum, each) => sum + each.bases.length, 0);
  const files = going.reduce((sum, each) => sum + each.wal.length, 0);
  if (bases + files === 0) return null;
  const bytes = formatBytes(going.reduce((sum, each) => sum + each.bytes, 0));
  return `${formatCount(bases, 'base backup')} and ${formatCount(files, 'file')} of WAL (${bytes})`;
}

/** One plan as JSON. Sizes in bytes. */
export function clusterDocument(plan: ClusterPlan, force: boolean): object {
  const { cluster, guards, litter, foreign } = plan;
  return {
    cluster,
    guards,
    base_backups: plan.bases.map(({ base, action, reason }) => ({
      label: base.label,
      parent: base.facts?.parent ?? null,
      started_at: base.startedAt.toISOString(),
      health: base.health,
      stored_bytes: base.bytes,
      action,
      reason,
    })),
    wal: plan.wal.map(({ timeline, names, action, reason }) => ({
      timeline,
      first: names[0] ?? null,
      last: names.at(-1) ?? null,
      files: names.length,
      action,
      reason,
    })),
    litter,
    foreign,
    bytes_to_free: goingOfCluster(plan, force).bytes,
  };
}

/** What a prune of one cluster has done, as JSON. */
export function clusterResultDocument(result: ClusterPruneResult): object {
  const { cluster, removed, walFiles, skipped, litter, freedBytes } = result;
  return {
    cluster,
    removed,
    wal_files: walFiles,
    skipped,
    litter_removed: litter,
    freed_bytes: freedBytes,
  };
}
