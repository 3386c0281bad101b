/** Keeps what a recovery reads from being removed meanwhile. */

import { whileUsingCluster } from '../../catalog/in_use.ts';
import { HoldfastError } from '../../core/errors.ts';
import { openStreamedArchive } from '../archiving/streamed_archive.ts';
import type { RepositoryContext } from '../context.ts';

/** What a recovery reads of a cluster. */
export interface RecoveryNeed {
  readonly cluster: string;
  /** Oldest first. */
  readonly segments: readonly { readonly name: string }[];
}

/**
 * Recovers while nothing of the cluster is removed: the WAL is read until the server has replayed
 * it. A server that somebody starts later finds what is there then.
 *
 * @throws HoldfastError TARGET_UNREACHABLE when WAL was removed since the plan was made; LOCKED
 *   when it is being removed for a minute already
 */
export function holdRecovery<T>(
  context: RepositoryContext,
  { cluster, segments }: RecoveryNeed,
  work: () => Promise<T>,
): Promise<T> {
  return whileUsingCluster(context.repository.stateDir, cluster, async () => {
    const [first] = segments;
    const { listing } = await openStreamedArchive(context, cluster);
    // The oldest goes first: while it is there, so are all others.
    if (first !== undefined && !listing.segments.some(({ name }) => name === first.name)) {
      throw new HoldfastError('TARGET_UNREACHABLE', `${first.name} was removed just now`, {
        hint: 'Run it again: it looks for another way.',
      });
    }
    return work();
  });
}
