/** Names a new backup so that it sorts after every older one of its kind. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type BaseKind, makeLabel, parseBaseLabel, parseLabel, type Tier } from '../core/label.ts';
import type { Storage } from '../storage/storage.ts';
import type { Context } from './context.ts';

/** A backup that begins. */
export interface BegunLabel {
  readonly label: string;
  readonly startedAt: Date;
}

/**
 * Makes the label of a backup that begins now. A label tells the second: in the second of the last
 * backup it waits for the next one, since the tier would decide which of the two is the latest.
 * The lock on the database, or the server, says that no other backup of it begins meanwhile.
 *
 * @param storage a store in which the last backup lies
 * @param folder the key of the folder that holds the backups of the database, or of the cluster
 */
export async function beginLabel(
  context: Context,
  storage: Storage,
  folder: string,
  tier: Tier | BaseKind,
): Promise<BegunLabel> {
  const { clock, randomBytes, signal } = context;
  const labels = await storage.children(folder);
  const begun = labels.map((label) =>
    (parseLabel(label) ?? parseBaseLabel(label))?.startedAt.getTime(),
  );
  const isTaken = (secondMs: number) => begun.includes(secondMs);
  let startedAt = clock();
  while (isTaken(startedAt.getTime() - startedAt.getMilliseconds())) {
    await sleep(1000 - startedAt.getMilliseconds(), undefined, { signal });
    startedAt = clock();
  }
  return { label: makeLabel(startedAt, tier, randomBytes(4)), startedAt };
}
