/** The jobs of the schedule, as far as their records can be read. */

import { type KnownJob, readJobs } from '../../catalog/jobs.ts';
import { toHoldfastError } from '../../core/errors.ts';
import type { Watched } from './monitor.ts';

/** The last run of every job; none where there is no repository, or nobody may read it. */
export async function jobsOf(watched: Watched): Promise<readonly KnownJob[]> {
  if (watched.problem !== null) return [];
  const { repository, log } = watched.context;
  try {
    return await readJobs(repository.stateDir);
  } catch (error) {
    log.detail(`no job can be told: ${toHoldfastError(error).message}`);
    return [];
  }
}
