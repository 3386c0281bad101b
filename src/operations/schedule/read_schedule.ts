/** The schedule that the settings of a run ask for. */

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { toHoldfastError } from '../../core/errors.ts';
import { planSchedule, type Schedule } from '../../core/schedule.ts';
import { configuredTargets } from '../../postgres/connection.ts';
import { errorNumber } from '../../process/durable.ts';
import type { RepositoryContext } from '../context.ts';

const absent = ['ENOENT', 'ENOTDIR'];

/**
 * Whether setup_archiving.ts has rendered the hooks of a cluster.
 *
 * @param root of the repository
 * @throws HoldfastError STORE_REFUSED where that may not be read
 */
export async function isArchivingSetUp(root: string): Promise<boolean> {
  const hooks = join(root, 'hooks');
  try {
    for (const cluster of await readdir(hooks)) {
      const isThere = await stat(join(hooks, cluster, 'wal_push')).then(
        () => true,
        (error: unknown) => {
          if (absent.includes(errorNumber(error) ?? '')) return false;
          throw error;
        },
      );
      if (isThere) return true;
    }
    return false;
  } catch (error) {
    if (absent.includes(errorNumber(error) ?? '')) return false;
    throw toHoldfastError(error, `looking for the hooks of the archiving in ${hooks}`);
  }
}

/**
 * The jobs that the settings ask for, with what is left out and why.
 *
 * @throws HoldfastError CONFIG_INVALID for a time that is none, and where a full backup would not
 *   know which database is meant
 */
export async function readSchedule({ config, repository }: RepositoryContext): Promise<Schedule> {
  const incremental = config.sources.get('schedule.incremental')?.origin ?? 'default';
  return planSchedule(config.settings.schedule, {
    isArchiving: await isArchivingSetUp(repository.root),
    isIncrementalSet: incremental !== 'default',
    namesDatabase: configuredTargets(config).length > 0,
  });
}
