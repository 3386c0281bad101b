/** The errors of databases and clusters whose retention a guard has stopped. */

import type { Repository } from '../../catalog/repository.ts';
import { localName } from '../../config/stores.ts';
import { HoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import { shellQuote } from '../../core/quote.ts';
import { inWhich } from './prune.ts';
import { type ClusterPlan, mayPrune } from './prune_cluster_plan.ts';
import { type DatabasePlan, mayGo, type PrunePlan } from './prune_plan.ts';

/** The store that a plan is about, where it is not the one in BACKUP_DIR. */
type PlannedIn = Pick<Repository, 'stores'>;

/** ` --store s3` */
function storeFlag({ stores: [{ spec }] }: PlannedIn): string {
  return spec.name === localName ? '' : ` --store ${printable(shellQuote(spec.name))}`;
}

function guardError(
  { cluster, database, guards }: DatabasePlan,
  repository: PlannedIn,
): HoldfastError {
  const which = `${shellQuote(database)} --cluster ${shellQuote(cluster)}`;
  const what = `${printable(database)}${inWhich(repository)}`;
  return new HoldfastError(
    'RETENTION_GUARD',
    `retention of ${what} is held back: ${guards.join('; ')}`,
    {
      hint:
        `Look at scripts/prune_backups.ts ${printable(which)}${storeFlag(repository)} --dry-run; ` +
        'with --force in its place it is done.',
      details: { cluster, database, guards },
    },
  );
}

/**
 * One error for each database of a plan that is not carried out without a word.
 *
 * @param repository as it lies in the store of the plan
 */
export function guardErrors(
  plan: PrunePlan,
  force: boolean,
  repository: PlannedIn,
): HoldfastError[] {
  return plan.databases
    .filter((database) => !mayGo(database, force))
    .map((database) => guardError(database, repository));
}

function clusterGuardError({ cluster, guards }: ClusterPlan, repository: PlannedIn): HoldfastError {
  const what = `the base backups and the WAL of ${printable(cluster)}${inWhich(repository)}`;
  const which = `--cluster ${printable(shellQuote(cluster))}${storeFlag(repository)}`;
  return new HoldfastError(
    'RETENTION_GUARD',
    `retention of ${what} is held back: ${guards.join('; ')}`,
    {
      hint:
        `Look at scripts/prune_backups.ts ${which} --dry-run; ` +
        'with --force in its place it is done.',
      details: { cluster, guards },
    },
  );
}

/**
 * One error for each cluster whose plan is not carried out without a word.
 *
 * @param repository as it lies in the store of the plans
 */
export function clusterGuardErrors(
  plans: readonly ClusterPlan[],
  force: boolean,
  repository: PlannedIn,
): HoldfastError[] {
  return plans
    .filter((plan) => !mayPrune(plan, force))
    .map((plan) => clusterGuardError(plan, repository));
}
