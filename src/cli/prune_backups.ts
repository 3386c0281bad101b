/** The command scripts/prune_backups.ts: the plan, the question, and what became of it. */

import { exitStatus, HoldfastError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { formatAge, formatBytes, formatCount } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { type PruneResult, prune } from '../operations/retention/prune.ts';
import { type ClusterPruneResult, pruneCluster } from '../operations/retention/prune_cluster.ts';
import {
  type ClusterPlan,
  incrementalClusters,
  planCluster,
} from '../operations/retention/prune_cluster_plan.ts';
import {
  type DatabasePlan,
  goingOf,
  type PrunableBackup,
  type PrunePlan,
  planPrune,
} from '../operations/retention/prune_plan.ts';
import { clusterGuardErrors, guardErrors } from '../operations/retention/retention_guard.ts';
import type { CommandResult, Invocation } from './command.ts';
import { confirm } from './confirm.ts';
import { errorDocument } from './error_document.ts';
import { needRepository } from './open_context.ts';
import {
  clusterDocument,
  clusterResultDocument,
  describeClusters,
  describeGoing,
} from './prune_clusters.ts';
import { formatTable } from './table.ts';

const header = ['label', 'database', 'age', 'stored', 'plan', 'reason'];

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
function describeDatabases(plan: PrunePlan, force: boolean): string[] {
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
    ...guardErrors(plan, force).map(({ message }) => message),
    `${going.length} of ${formatCount(total, 'backup')} to remove, ${formatBytes(bytesOf(going))}`,
  ];
}

function describePlan({ databases, clusters }: WholePlan, force: boolean): string[] {
  return [...describeDatabases(databases, force), ...describeClusters(clusters, force)];
}

function guardsOf({ databases, clusters }: WholePlan, force: boolean): HoldfastError[] {
  return [...guardErrors(databases, force), ...clusterGuardErrors(clusters, force)];
}

function planDocument({ databases: plan, clusters }: WholePlan, force: boolean): object {
  const databases = plan.databases.map(({ cluster, database, guards, decisions }) => ({
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
  }));
  const { policy, litter, foreign } = plan;
  return {
    policy,
    databases,
    litter,
    foreign,
    bytes_to_free: bytesOf(goingOf(plan, force)),
    clusters: clusters.map((each) => clusterDocument(each, force)),
  };
}

function resultDocument({ databases, clusters }: WholeResult): object {
  const { removed, skipped, litter, freedBytes } = databases;
  return {
    removed,
    skipped,
    litter_removed: litter,
    freed_bytes: freedBytes,
    pruned_clusters: clusters.map(clusterResultDocument),
  };
}

/** What a prune would do with the repository, or with the part that is meant. */
interface WholePlan {
  readonly databases: PrunePlan;
  readonly clusters: readonly ClusterPlan[];
}

/** What a prune has done. */
interface WholeResult {
  readonly databases: PruneResult;
  readonly clusters: readonly ClusterPruneResult[];
}

/** The operands and flags. */
interface Wish {
  readonly database: string | undefined;
  readonly cluster: string | undefined;
  readonly force: boolean;
  readonly yes: boolean;
  readonly dryRun: boolean;
}

function readWish({ flags, operands }: Invocation): Wish {
  const [database, second] = operands;
  if (second !== undefined) {
    throw new HoldfastError('USAGE', `one database, not also ${JSON.stringify(second)}`, {
      hint: 'Name one, or none for all.',
    });
  }
  return {
    database,
    cluster: flags.cluster as string | undefined,
    force: flags.force === true,
    yes: flags.yes === true,
    dryRun: flags['dry-run'] === true,
  };
}

/** Base backups and WAL are of whole clusters: who names a database does not mean them. */
async function planClusters(
  context: RepositoryContext,
  { database, cluster }: Wish,
): Promise<ClusterPlan[]> {
  if (database !== undefined) return [];
  const plans: ClusterPlan[] = [];
  for (const each of await incrementalClusters(context.repository.storage, cluster)) {
    plans.push(await planCluster(context, each));
  }
  return plans;
}

/** What is asked before anything goes. */
function questionOf({ databases, clusters }: WholePlan, force: boolean): string {
  const going = goingOf(databases, force);
  const backups = `${formatCount(going.length, 'backup')} (${formatBytes(bytesOf(going))})`;
  const more = describeGoing(clusters, force);
  if (more === null) return `Remove ${backups} for good?`;
  return `Remove ${going.length === 0 ? more : `${backups}, ${more}`} for good?`;
}

function isEmpty({ databases, clusters }: WholePlan, force: boolean): boolean {
  const litter = [databases, ...clusters].some((each) => each.litter.length > 0);
  const going = goingOf(databases, force).length > 0 || describeGoing(clusters, force) !== null;
  return !litter && !going;
}

/** Has the plan confirmed and carries it out. */
async function carryOut(
  context: RepositoryContext,
  plan: WholePlan,
  { database, cluster, force, yes }: Wish,
  world: Invocation['world'],
): Promise<WholeResult> {
  const lines = describePlan(plan, force);
  if (isEmpty(plan, force)) {
    for (const line of lines) context.log.detail(line);
    // What a guard has held back is told by its error.
    const isHeld = guardsOf(plan, force).length > 0;
    context.log.step(isHeld ? 'nothing is removed' : 'nothing to remove');
    const none = { plan: plan.databases, removed: [], skipped: [], litter: [], freedBytes: 0 };
    return { databases: none, clusters: [] };
  }
  if (yes) {
    for (const line of lines) context.log.detail(line);
  } else {
    const question = questionOf(plan, force);
    await confirm({ plan: lines, question, answer: 'yes', flag: '--yes', world });
  }
  const filter = { database, cluster };
  const databases = await prune(context, { filter, force, agreed: plan.databases });
  const clusters: ClusterPruneResult[] = [];
  for (const agreed of plan.clusters) {
    clusters.push(await pruneCluster(context, agreed.cluster, { force, agreed }));
  }
  const count = [databases, ...clusters].reduce((sum, { removed }) => sum + removed.length, 0);
  const freed = [databases, ...clusters].reduce((sum, { freedBytes }) => sum + freedBytes, 0);
  context.log.step(`${formatCount(count, 'backup')} removed, ${formatBytes(freed)} freed`);
  return { databases, clusters };
}

/** Runs the command. Status 3 when a guard has held a database back. */
export async function pruneCommand(invocation: Invocation): Promise<CommandResult> {
  const context = needRepository(invocation.context);
  const wish = readWish(invocation);
  const { database, cluster, force } = wish;
  const databases = await planPrune(context, { database, cluster });
  const plan = { databases, clusters: await planClusters(context, wish) };
  if (database !== undefined && databases.databases.length === 0 && databases.litter.length === 0) {
    // It knows which databases have backups, and which of them is meant.
    await context.catalog.latestBackup(database, { cluster });
  }
  const document = planDocument(plan, force);
  if (wish.dryRun) {
    const text = describePlan(plan, force).map((line) => `${line}\n`);
    return { status: exitStatus.done, json: { dry_run: true, ...document }, text: text.join('') };
  }
  const result = await carryOut(context, plan, wish, invocation.world);
  const errors = guardsOf(plan, force);
  for (const error of errors) context.log.error(error);
  const [first] = errors;
  const status = first === undefined ? exitStatus.done : first.status;
  const failure = first === undefined ? {} : errorDocument(first);
  const json = { exit_status: status, ...failure, ...document, ...resultDocument(result) };
  return { status, json };
}
