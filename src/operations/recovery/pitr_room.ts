/** Whether what a restore unpacks finds room, on each of the file systems that it goes to. */

import { stat } from 'node:fs/promises';
import { HoldfastError } from '../../core/errors.ts';
import { restoreNeeds } from '../../core/restore_needs.ts';
import { formatBytes } from '../../core/units.ts';
import { freeBytesAt, nearestExisting } from '../../process/file_facts.ts';
import type { PitrPlan } from './pitr_plan.ts';

/** How much is written at the most, in all folders together: about. */
export function neededBytes({ chain }: Pick<PitrPlan, 'chain'>): number {
  const [whole, ...more] = chain;
  const needs = restoreNeeds([whole.manifest, ...more.map(({ manifest }) => manifest)]);
  return needs.reduce((sum, { bytes }) => sum + bytes, 0);
}

/**
 * Looks whether there is room.
 *
 * @param folders where each tablespace goes by its OID, and (`null`) the data directory
 * @throws HoldfastError NO_SPACE
 */
export async function requireRoom(
  { chain }: Pick<PitrPlan, 'chain'>,
  folders: ReadonlyMap<number | null, string>,
): Promise<void> {
  const [whole, ...more] = chain;
  const byDevice = new Map<number, { folder: string; bytes: number }>();
  for (const { oid, bytes } of restoreNeeds([
    whole.manifest,
    ...more.map(({ manifest }) => manifest),
  ])) {
    const folder = folders.get(oid);
    if (folder === undefined) continue;
    const { dev } = await stat(await nearestExisting(folder));
    const before = byDevice.get(dev);
    byDevice.set(dev, { folder: before?.folder ?? folder, bytes: bytes + (before?.bytes ?? 0) });
  }
  const links = chain.length;
  const what = links === 1 ? 'the cluster' : `a chain of ${links} backups, put together there,`;
  for (const { folder, bytes } of byDevice.values()) {
    const free = await freeBytesAt(folder);
    if (free === null || free >= bytes) continue;
    const place = JSON.stringify(folder);
    throw new HoldfastError(
      'NO_SPACE',
      `${formatBytes(free)} are left for ${place}, and ${what} needs about ${formatBytes(bytes)}`,
      { hint: 'Restore onto a larger file system.' },
    );
  }
}
