/** Names a new backup so that it sorts after every older one of its database. */

import { setTimeout as sleep } from 'node:timers/promises';
import { databaseFolder } from '../catalog/repository.ts';
import { makeLabel, parseLabel, type Tier } from '../core/label.ts';
import type { RepositoryContext } from './context.ts';

/** A backup that begins. */
export interface BegunLabel {
  readonly label: string;
  readonly startedAt: Date;
}

/**
 * Makes the label of a backup that begins now. A label tells the second: in the second of the last
 * backup it waits for the next one, since the tier would decide which of the two is the latest.
 * The lock on the database says that no other backup of it begins meanwhile.
 */
export async function beginLabel(
  context: RepositoryContext,
  cluster: string,
  database: string,
  tier: Tier,
): Promise<BegunLabel> {
  const { clock, randomBytes, repository, signal } = context;
  const labels = await repository.storage.children(databaseFolder(cluster, database));
  const begun = labels.map((label) => parseLabel(label)?.startedAt.getTime());
  const isTaken = (secondMs: number) => begun.includes(secondMs);
  let startedAt = clock();
  while (isTaken(startedAt.getTime() - startedAt.getMilliseconds())) {
    await sleep(1000 - startedAt.getMilliseconds(), undefined, { signal });
    startedAt = clock();
  }
  return { label: makeLabel(startedAt, tier, randomBytes(4)), startedAt };
}
