/** The command scripts/prune_backups.ts: the plan, the question, and what became of it. */

import { exitStatus, HoldfastError } from '../core/errors.ts';
import type { RunOutcome } from '../core/run_outcome.ts';
import { formatBytes, formatCount } from '../core/units.ts';
import { worstStatus } from '../core/worst_status.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { prune } from '../operations/retention/prune.ts';
import { type ClusterPruneResult, pruneCluster } from '../operations/retention/prune_cluster.ts';
import {
  type ClusterPlan,
  incrementalClusters,
  planCluster,
} from '../operations/retention/prune_cluster_plan.ts';
import { planPrune } from '../operations/retention/prune_plan.ts';
import {
  chooseStores,
  firstWith,
  inStores,
  type StoreChoice,
  type StoreFailure,
} from '../operations/store_choice.ts';
import type { CommandResult, Invocation } from './command.ts';
import { confirm } from './confirm.ts';
import { errorDocument } from './error_document.ts';
import { needRepository } from './open_context.ts';
import {
  describePlans,
  guardsOf,
  isEmpty,
  planDocument,
  questionOf,
  resultDocument,
  type StorePlan,
  type StoreResult,
  storeOf,
} from './prune_plan.ts';
import { readStoreChoice } from './store_options.ts';

/** The operands and flags. */
interface Wish {
  readonly database: string | undefined;
  readonly cluster: string | undefined;
  readonly stores: StoreChoice;
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
    stores: readStoreChoice(flags),
    force: flags.force === true,
    yes: flags.yes === true,
    dryRun: flags['dry-run'] === true,
  };
}

/** A plan, and the repository as it lies in the store that the plan is about. */
interface Planned {
  readonly view: RepositoryContext;
  readonly plan: StorePlan;
}

/** Base backups and WAL are of whole clusters: who names a database does not mean them. */
async function planClusters(
  view: RepositoryContext,
  { database, cluster }: Wish,
): Promise<ClusterPlan[]> {
  if (database !== undefined) return [];
  const plans: ClusterPlan[] = [];
  for (const each of await incrementalClusters(view.repository.storage, cluster)) {
    plans.push(await planCluster(view, each));
  }
  return plans;
}

/** What would be done in every store that is meant; each has rules of its own. */
async function planAll(
  context: RepositoryContext,
  wish: Wish,
): Promise<{ planned: readonly Planned[]; failures: readonly StoreFailure[] }> {
  const { database, cluster } = wish;
  const stores = chooseStores(context.repository, wish.stores);
  const { answers, failures } = await inStores(context, stores, async (view) => {
    const databases = await planPrune(view, { database, cluster });
    const clusters = await planClusters(view, wish);
    return { view, plan: { repository: view.repository, databases, clusters } };
  });
  const planned = answers.map(({ result }) => result);
  const isKnown = planned.some(({ plan: { databases } }) => {
    return databases.databases.length > 0 || databases.litter.length > 0;
  });
  if (database !== undefined && !isKnown) {
    // It knows which databases have backups, and which of them is meant.
    const answered = answers.map(({ store }) => store);
    await firstWith(context, answered, (view) => view.catalog.latestBackup(database, { cluster }));
  }
  return { planned, failures };
}

/** Carries out what was agreed to in one store. @param remembersRuns as in `PruneOptions` */
async function pruneStore(
  { view, plan }: Planned,
  { database, cluster, force }: Wish,
  remembersRuns: boolean,
): Promise<StoreResult> {
  const filter = { database, cluster };
  const databases = await prune(view, { filter, force, agreed: plan.databases, remembersRuns });
  const clusters: ClusterPruneResult[] = [];
  for (const agreed of plan.clusters) {
    clusters.push(await pruneCluster(view, agreed.cluster, { force, agreed, remembersRuns }));
  }
  return { store: storeOf(plan), databases, clusters };
}

/** Nothing was to be done, and nothing was. */
function untouched(plan: StorePlan): StoreResult {
  const none = { plan: plan.databases, removed: [], skipped: [], litter: [], freedBytes: 0 };
  return { store: storeOf(plan), databases: none, clusters: [] };
}

/** Has the plans confirmed and carries them out, one store after the other. */
async function carryOut(
  context: RepositoryContext,
  planned: readonly Planned[],
  wish: Wish,
  world: Invocation['world'],
): Promise<StoreResult[]> {
  const { force, yes } = wish;
  const plans = planned.map(({ plan }) => plan);
  const lines = describePlans(plans, force);
  if (plans.every((plan) => isEmpty(plan, force))) {
    for (const line of lines) context.log.detail(line);
    // What a guard has held back is told by its error.
    const isHeld = plans.some((plan) => guardsOf(plan, force).length > 0);
    context.log.step(isHeld ? 'nothing is removed' : 'nothing to remove');
    return plans.map(untouched);
  }
  if (yes) {
    for (const line of lines) context.log.detail(line);
  } else {
    const question = questionOf(plans, force);
    await confirm({ plan: lines, question, answer: 'yes', flag: '--yes', world });
  }
  const results: StoreResult[] = [];
  for (const [index, each] of planned.entries()) {
    const isLast = index === context.repository.stores.length - 1;
    results.push(await pruneStore(each, wish, !isLast));
  }
  const all = results.flatMap(({ databases, clusters }) => [databases, ...clusters]);
  const count = all.reduce((sum, { removed }) => sum + removed.length, 0);
  const freed = all.reduce((sum, { freedBytes }) => sum + freedBytes, 0);
  context.log.step(`${formatCount(count, 'backup')} removed, ${formatBytes(freed)} freed`);
  return results;
}

/** What alerts are told: the first of what is in the way, and how much else is. */
function outcomeOf({ database, cluster }: Wish, errors: readonly HoldfastError[]): RunOutcome {
  const [error = null] = errors;
  return {
    event: 'prune',
    cluster: cluster ?? null,
    database: database ?? null,
    server: null,
    error,
    facts: { problems: errors.length },
  };
}

/**
 * Runs the command. Status 3 when a guard has held a database back, 7 when a store that the runs
 * need does not answer: the others are pruned all the same.
 */
export async function pruneCommand(invocation: Invocation): Promise<CommandResult> {
  const context = needRepository(invocation.context);
  const wish = readWish(invocation);
  const { force } = wish;
  const { planned, failures } = await planAll(context, wish);
  const plans = planned.map(({ plan }) => plan);
  const document = {
    ...planDocument(plans, force),
    stores_missing: failures.map(({ store, error: { code, message } }) => {
      return { store: store.spec.name, code, message };
    }),
  };
  if (wish.dryRun) {
    const text = describePlans(plans, force).map((line) => `${line}\n`);
    return { status: exitStatus.done, json: { dry_run: true, ...document }, text: text.join('') };
  }
  const results = await carryOut(context, planned, wish, invocation.world);
  const guards = plans.flatMap((plan) => guardsOf(plan, force));
  for (const error of guards) context.log.error(error);
  const needed = failures.filter(({ store }) => store.spec.isRequired);
  const errors = [...guards, ...needed.map(({ error }) => error)];
  const status = worstStatus(errors.map((error) => error.status));
  const [first] = errors;
  const failure = first === undefined ? {} : errorDocument(first);
  const json = { exit_status: status, ...failure, ...document, ...resultDocument(results) };
  return { status, json, outcomes: [outcomeOf(wish, errors)] };
}
