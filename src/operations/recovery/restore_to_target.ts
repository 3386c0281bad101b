/**
 * Restores to a target by the best way there is. A base backup that turns out damaged while it is
 * unpacked costs time and nothing else: older ones and the WAL since lead to the same place.
 */

import { HoldfastError } from '../../core/errors.ts';
import type { RepositoryContext } from '../context.ts';
import { isOfBackup } from '../store_choice.ts';
import { holdRecovery } from './hold_recovery.ts';
import { type PitrPlan, planPitr } from './pitr_plan.ts';
import type { PitrRequest, PitrResult } from './pitr_request.ts';
import { restorePitr } from './restore_pitr.ts';

/** That there is no other way. */
const noWayCodes = new Set<string>(['TARGET_UNREACHABLE', 'BACKUP_NOT_FOUND']);

/** The backup that an error says is damaged, or `null`. */
function damagedLabel(error: unknown): string | null {
  if (!(error instanceof HoldfastError) || !isOfBackup(error)) return null;
  const label = error.details?.label;
  return typeof label === 'string' ? label : null;
}

/**
 * Plans and restores. `--target-immediate` means the newest backup itself: an older one would be
 * another state, so there nothing else is taken.
 *
 * @param named the cluster's name in the repository; `undefined` where there is only one
 * @param onPlan is told each plan before it is carried out
 * @throws HoldfastError as planPitr and restorePitr do; DAMAGED where no other way leads there
 */
export async function restoreToTarget(
  context: RepositoryContext,
  request: PitrRequest,
  named: string | undefined,
  onPlan: (plan: PitrPlan) => void,
): Promise<{ readonly plan: PitrPlan; readonly result: PitrResult }> {
  const damaged = new Set<string>();
  let met: unknown = null;
  for (;;) {
    const wholeOnly = request.way === 'delta';
    const planned = planPitr(context, request.recovery, named, damaged, wholeOnly);
    const plan = await planned.catch((error) => {
      const isNoWay = error instanceof HoldfastError && noWayCodes.has(error.code);
      throw met !== null && isNoWay ? met : error;
    });
    onPlan(plan);
    try {
      const restore = () => restorePitr(context, plan, request);
      return { plan, result: await holdRecovery(context, plan, restore) };
    } catch (error) {
      const label = damagedLabel(error);
      const isFinal = label === null || damaged.has(label);
      if (isFinal || request.recovery.target.kind === 'immediate') throw error;
      const { message } = error as HoldfastError;
      context.log.warn(
        `${label} cannot be used: ${message}; looking for another way to the target`,
      );
      damaged.add(label);
      met = error;
    }
  }
}
