/** Whether the repository will hold a backup, before one is begun. */

import { HoldfastError } from '../core/errors.ts';
import type { Manifest } from '../core/manifest.ts';
import { totalBytes } from '../core/manifest_sizes.ts';
import { formatBytes } from '../core/units.ts';

/** What is expected of the next backup of a database. */
export interface SizeEstimate {
  /** Of the dump before compression: what the progress counts. */
  readonly plainBytes: number;
  /** What it will take in the store. */
  readonly storedBytes: number;
  /** Whether an earlier backup says so, or only the size of the database. */
  readonly from: 'history' | 'database';
}

/** A compressed dump is rarely larger than this part of its database. */
const storedPart = 0.5;

/**
 * Estimates a backup by the last one of the same database, scaled by how the database has grown;
 * without one by the size of the database alone.
 *
 * @param manifest of the last backup, or `null`
 */
export function estimateSize(databaseBytes: number, manifest: Manifest | null): SizeEstimate {
  if (manifest === null || manifest.database_bytes === 0) {
    const storedBytes = Math.ceil(databaseBytes * storedPart);
    return { plainBytes: databaseBytes, storedBytes, from: 'database' };
  }
  const growth = databaseBytes / manifest.database_bytes;
  const plain = totalBytes(manifest, 'plain');
  return {
    plainBytes: plain === null ? databaseBytes : Math.ceil(plain * growth),
    storedBytes: Math.ceil(totalBytes(manifest, 'stored') * growth),
    from: 'history',
  };
}

/**
 * Checks the free space against the estimate.
 *
 * @param freeBytes `null` where the store cannot tell
 * @param keepFreeBytes what shall stay free: less is a warning
 * @returns the warning, or `null`
 * @throws HoldfastError NO_SPACE when the last backup's size says that this one will not fit
 */
export function checkSpace(
  estimate: SizeEstimate,
  freeBytes: number | null,
  keepFreeBytes: number,
): string | null {
  if (freeBytes === null) return null;
  const needed = formatBytes(estimate.storedBytes);
  if (estimate.from === 'history' && estimate.storedBytes > freeBytes) {
    throw new HoldfastError(
      'NO_SPACE',
      `the backup needs about ${needed} and ${formatBytes(freeBytes)} are free`,
      { hint: 'Free space in the repository, or set BACKUP_DIR to a larger file system.' },
    );
  }
  const left = freeBytes - estimate.storedBytes;
  if (left >= keepFreeBytes) return null;
  return (
    `only ${formatBytes(freeBytes)} are free; about ${needed} are needed and ` +
    `${formatBytes(keepFreeBytes)} (MIN_DISK_SPACE_GB) should stay free`
  );
}
