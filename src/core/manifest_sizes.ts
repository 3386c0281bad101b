/** The sizes that a manifest tells. */

import type { Manifest, ManifestFile } from './manifest.ts';

/** All files of a backup together, as they are stored or before the first filter. */
export function totalBytes(
  manifest: Pick<Manifest, 'files'>,
  part: keyof Pick<ManifestFile, 'stored' | 'plain'>,
): number {
  return manifest.files.reduce((bytes, file) => bytes + file[part].bytes, 0);
}
