/** The command scripts/prune_backups.ts: the plan, the question, and what became of it. */

import { exitStatus, HoldfastError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import { formatAge, formatBytes, formatCount } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { type PruneResult, prune } from '../operations/prune.ts';
import {
  type DatabasePlan,
  goingOf,
  type PrunableBackup,
  type PrunePlan,
  planPrune,
} from '../operations/prune_plan.ts';
import { guardErrors } from '../operations/retention_guard.ts';
import type { CommandResult, Invocation } from './command.ts';
import { confirm } from './confirm.ts';
import { errorDocument } from './error_document.ts';
import { needRepository } from './open_context.ts';
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
function describePlan(plan: PrunePlan, force: boolean): string[] {
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

function planDocument(plan: PrunePlan, force: boolean): object {
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
  return { policy, databases, litter, foreign, bytes_to_free: bytesOf(goingOf(plan, force)) };
}

function resultDocument({ removed, skipped, litter, freedBytes }: PruneResult): object {
  return { removed, skipped, litter_removed: litter, freed_bytes: freedBytes };
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

/** Has the plan confirmed and carries it out. */
async function carryOut(
  context: RepositoryContext,
  plan: PrunePlan,
  { database, cluster, force, yes }: Wish,
  world: Invocation['world'],
): Promise<PruneResult> {
  const lines = describePlan(plan, force);
  const going = goingOf(plan, force);
  if (going.length === 0 && plan.litter.length === 0) {
    for (const line of lines) context.log.detail(line);
    // What a guard has held back is told by its error.
    const isHeld = guardErrors(plan, force).length > 0;
    context.log.step(isHeld ? 'nothing is removed' : 'nothing to remove');
    return { plan, removed: [], skipped: [], litter: [], freedBytes: 0 };
  }
  if (yes) {
    for (const line of lines) context.log.detail(line);
  } else {
    const what = `${formatCount(going.length, 'backup')} (${formatBytes(bytesOf(going))})`;
    const question = `Remove ${what} for good?`;
    await confirm({ plan: lines, question, answer: 'yes', flag: '--yes', world });
  }
  const filter = { database, cluster };
  const result = await prune(context, { filter, force, agreed: plan });
  const { removed, freedBytes } = result;
  const count = formatCount(removed.length, 'backup');
  context.log.step(`${count} removed, ${formatBytes(freedBytes)} freed`);
  return result;
}

/** Runs the command. Status 3 when a guard has held a database back. */
export async function pruneCommand(invocation: Invocation): Promise<CommandResult> {
  const context = needRepository(invocation.context);
  const wish = readWish(invocation);
  const { database, cluster, force } = wish;
  const plan = await planPrune(context, { database, cluster });
  if (database !== undefined && plan.databases.length === 0 && plan.litter.length === 0) {
    // It knows which databases have backups, and which of them is meant.
    await context.catalog.latestBackup(database, { cluster });
  }
  const document = planDocument(plan, force);
  if (wish.dryRun) {
    const text = describePlan(plan, force).map((line) => `${line}\n`);
    return { status: exitStatus.done, json: { dry_run: true, ...document }, text: text.join('') };
  }
  const result = await carryOut(context, plan, wish, invocation.world);
  const errors = guardErrors(plan, force);
  for (const error of errors) context.log.error(error);
  const [first] = errors;
  const status = first === undefined ? exitStatus.done : first.status;
  const failure = first === undefined ? {} : errorDocument(first);
  const json = { exit_status: status, ...failure, ...document, ...resultDocument(result) };
  return { status, json };
}
