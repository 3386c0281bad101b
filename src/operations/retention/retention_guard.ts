/** The errors of databases and clusters whose retention a guard has stopped. */

import { HoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { shellQuote } from '../../core/quote.ts';
import { type ClusterPlan, mayPrune } from './prune_cluster_plan.ts';
import { type DatabasePlan, mayGo, type PrunePlan } from './prune_plan.ts';

function guardError({ cluster, database, guards }: DatabasePlan): HoldfastError {
  const which = `${shellQuote(database)} --cluster ${shellQuote(cluster)}`;
  return new HoldfastError(
    'RETENTION_GUARD',
    `retention of ${printable(database)} is held back: ${guards.join('; ')}`,
    {
      hint:
        `Look at scripts/prune_backups.ts ${printable(which)} --dry-run; ` +
        'with --force in its place it is done.',
      details: { cluster, database, guards },
    },
  );
}

/** One error for each database of a plan that is not carried out without a word. */
export function guardErrors(plan: PrunePlan, force: boolean): HoldfastError[] {
  return plan.databases.filter((database) => !mayGo(database, force)).map(guardError);
}

function clusterGuardError({ cluster, guards }: ClusterPlan): HoldfastError {
  const what = `the base backups and the WAL of ${printable(cluster)}`;
  return new HoldfastError(
    'RETENTION_GUARD',
    `retention of ${what} is held back: ${guards.join('; ')}`,
    {
      hint:
        `Look at scripts/prune_backups.ts --cluster ${printable(shellQuote(cluster))} --dry-run; ` +
        'with --force in its place it is done.',
      details: { cluster, guards },
    },
  );
}

/** One error for each cluster whose plan is not carried out without a word. */
export function clusterGuardErrors(plans: readonly ClusterPlan[], force: boolean): HoldfastError[] {
  return plans.filter((plan) => !mayPrune(plan, force)).map(clusterGuardError);
}
