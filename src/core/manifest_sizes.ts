/** The sizes that a manifest tells. */

import type { MeasuredBytes } from './manifest.ts';

/** What is asked of a manifest, of whatever kind of backup. */
interface Sized {
  readonly files: readonly {
    readonly stored: MeasuredBytes;
    readonly plain: MeasuredBytes | null;
  }[];
}

/** All files of a backup together, as they are stored. */
export function totalBytes(manifest: Sized, part: 'stored'): number;
/** All files of a backup together, before the first filter; `null` where one is not known. */
export function totalBytes(manifest: Sized, part: 'plain'): number | null;
/** The sizes of all files of a backup added up. */
export function totalBytes({ files }: Sized, part: 'stored' | 'plain'): number | null {
  let bytes = 0;
  for (const file of files) {
    const measured = file[part];
    if (measured === null) return null;
    bytes += measured.bytes;
  }
  return bytes;
}
