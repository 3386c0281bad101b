/** Restores a cluster from one store after the other, until one leads to the target. */

import type { Store } from '../../catalog/stores.ts';
import { assert } from '../../core/assert.ts';
import { type HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import type { RepositoryContext } from '../context.ts';
import { inStore, isOfCopy, isOfStore } from '../store_choice.ts';
import { type PitrPlan, planPitr } from './pitr_plan.ts';
import { preparePitr } from './pitr_prepare.ts';
import type { PitrRequest, PitrResult, PreparedPitr } from './pitr_request.ts';
import { restoreToTarget } from './restore_to_target.ts';

/** Whether another store may have what this one has not. */
function mayBeElsewhere(error: HoldfastError): boolean {
  return isOfStore(error) || isOfCopy(error) || error.code === 'TARGET_UNREACHABLE';
}

/** A store, seen as the repository. */
export interface StoreView {
  readonly view: RepositoryContext;
  readonly store: Store;
}

/**
 * Does something in one store after the other until it works out.
 *
 * @throws HoldfastError what the first one says that knows the target, where none leads to it
 */
async function untilReached<T>(
  context: RepositoryContext,
  stores: readonly Store[],
  work: (at: StoreView, others: readonly Store[]) => Promise<T>,
): Promise<T> {
  const failures: HoldfastError[] = [];
  for (const [place, store] of stores.entries()) {
    try {
      // Without others it is the repository as it is.
      const isOnly = context.repository.stores.length === 1;
      const view = isOnly ? context : await inStore(context, store);
      return await work(
        { view, store },
        stores.filter((other) => other !== store),
      );
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      const isLast = place === stores.length - 1;
      if (!mayBeElsewhere(error) || (isLast && failures.length === 0)) throw error;
      failures.push(error);
      const name = printable(store.spec.name);
      context.log.warn(`the store ${name} does not lead there: ${error.message}`);
    }
  }
  const error = failures.find(({ code }) => code === 'TARGET_UNREACHABLE') ?? failures[0];
  assert(error !== undefined, 'there is at least one store to look in');
  throw error;
}

/**
 * Plans in the first of the stores that leads to the target, and looks at everything that can be
 * known before a byte is written.
 *
 * @param onPlan is told each plan before it is looked at
 * @throws HoldfastError as planPitr and preparePitr do
 */
export function planFromStores(
  context: RepositoryContext,
  stores: readonly Store[],
  request: PitrRequest,
  named: string | undefined,
  onPlan: (plan: PitrPlan, at: StoreView) => void,
): Promise<StoreView & { readonly plan: PitrPlan; readonly prepared: PreparedPitr }> {
  const wholeOnly = request.way === 'delta';
  return untilReached(context, stores, async (at) => {
    const plan = await planPitr(at.view, request.recovery, named, new Set(), wholeOnly);
    onPlan(plan, at);
    return { ...at, plan, prepared: await preparePitr(at.view, plan, request) };
  });
}

/**
 * Restores from the first of the stores that leads to the target; WAL that is damaged in it comes
 * from the others.
 *
 * @param onPlan is told each plan before it is carried out
 * @throws HoldfastError as restoreToTarget does
 */
export function restoreFromStores(
  context: RepositoryContext,
  stores: readonly Store[],
  request: PitrRequest,
  named: string | undefined,
  onPlan: (plan: PitrPlan, at: StoreView) => void,
): Promise<{ readonly plan: PitrPlan; readonly result: PitrResult; readonly store: Store }> {
  return untilReached(context, stores, async (at, others) => {
    const own = { ...request, fallback: others };
    const done = await restoreToTarget(at.view, own, named, (plan) => onPlan(plan, at));
    return { ...done, store: at.store };
  });
}
