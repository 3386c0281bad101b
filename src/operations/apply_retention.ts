/** Applies the retention of one database after a good backup of it. */

import { toHoldfastError } from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import { printable } from '../core/printable.ts';
import type { RepositoryContext } from './context.ts';
import { prune } from './prune.ts';
import { guardErrors } from './retention_guard.ts';

/** What the retention after a backup has done. */
export interface AppliedRetention {
  /** Labels. */
  readonly removed: readonly string[];
  readonly freed_bytes: number;
  /** What a person should know; the backup is good whatever stands here. */
  readonly warnings: readonly string[];
}

/**
 * Removes what the retention of the database does not keep any more. It never throws: a backup that
 * was taken is a good one, whatever becomes of the older ones.
 */
export async function applyRetention(
  context: RepositoryContext,
  { cluster, database }: Pick<Manifest, 'cluster' | 'database'>,
): Promise<AppliedRetention> {
  try {
    const filter = { cluster, database };
    const done = await prune(context, { filter, force: false, agreed: null });
    const removed = done.removed.map(({ label }) => label);
    const guards = guardErrors(done.plan, false).map(({ message, hint }) => `${message}. ${hint}`);
    for (const warning of guards) context.log.warn(warning);
    return { removed, freed_bytes: done.freedBytes, warnings: guards };
  } catch (thrown) {
    const { message } = toHoldfastError(thrown);
    const warning = `the retention of ${printable(database)} was not applied: ${message}`;
    context.log.warn(warning);
    return { removed: [], freed_bytes: 0, warnings: [warning] };
  }
}
