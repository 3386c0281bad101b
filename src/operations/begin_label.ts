/** Names a new backup so that it sorts after every older one of its kind. */

import { setTimeout as sleep } from 'node:timers/promises';
import { stalledError, stallMsOf } from '../catalog/copies_writer.ts';
import { type BaseKind, makeLabel, parseBaseLabel, parseLabel, type Tier } from '../core/label.ts';
import { within } from '../process/within.ts';
import type { Context } from './context.ts';
import type { ReadyStore } from './ready_stores.ts';

/** A backup that begins. */
export interface BegunLabel {
  readonly label: string;
  readonly startedAt: Date;
}

/** What lies in the folder of any store. @throws HoldfastError where the only one cannot be read */
async function labelsIn(stores: readonly ReadyStore[], folder: string): Promise<string[]> {
  const listed = stores.map(async ({ spec, storage }) => {
    if (storage === null) return [];
    const late = () => stalledError(spec, `reading ${folder}`);
    const names = within(stallMsOf(spec), storage.children(folder), late);
    return stores.length === 1 ? names : names.catch(() => []);
  });
  return (await Promise.all(listed)).flat();
}

/**
 * Makes the label of a backup that begins now. A label tells the second: in the second of the last
 * backup it waits for the next one, since the tier would decide which of the two is the latest.
 * The lock on the database, or the server, says that no other backup of it begins meanwhile.
 *
 * @param stores those that are written to; one that cannot be read says nothing
 * @param folder the key of the folder that holds the backups of the database, or of the cluster
 */
export async function beginLabel(
  context: Context,
  stores: readonly ReadyStore[],
  folder: string,
  tier: Tier | BaseKind,
): Promise<BegunLabel> {
  const { clock, randomBytes, signal } = context;
  const labels = await labelsIn(stores, folder);
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
