/** What a restore that keeps going has met on its way. */

import type { HoldfastError } from '../../core/errors.ts';
import type { CollectedErrors } from '../../postgres/restore_errors.ts';

/** What a restore has met and gone on after. */
export interface Trouble {
  /** The backup is not what was written. */
  readonly damage: HoldfastError | null;
  /** What pg_restore has told. */
  readonly errors: CollectedErrors;
  /** What came back is not what was backed up. */
  readonly difference: HoldfastError | null;
}

/** Nothing was met. */
export const noTrouble: Trouble = {
  damage: null,
  errors: { count: 0, errors: [] },
  difference: null,
};

/** Whether anything was met, so that the database is not swapped in. */
export function isTroubled({ damage, errors, difference }: Trouble): boolean {
  return damage !== null || errors.count > 0 || difference !== null;
}
