/** How much room a base backup takes in each of its folders while it is restored. Pure. */

import type { BaseManifest } from './base_manifest.ts';

/** A folder that is filled: of a tablespace, or (`null`) the data directory. */
export interface FolderNeed {
  readonly oid: number | null;
  /** About, at the most. */
  readonly bytes: number;
}

type Sized = Pick<BaseManifest, 'files' | 'tablespaces' | 'cluster_bytes'>;

/** Files need whole blocks, and folders some too. */
const blocksFactor = 1.02;

/** The unpacked archive of a folder; 0 where the backup has none. */
function plainBytes({ files, tablespaces }: Sized, oid: number | null): number {
  const name = tablespaces.find((each) => each.oid === oid)?.file;
  const archive = files.find((file) =>
    oid === null ? file.role === 'base' : file.role === 'tablespace' && file.name === name,
  );
  return archive?.plain.bytes ?? 0;
}

/**
 * A whole backup is unpacked where it stays. Of a chain all backups are unpacked, and what they
 * are put together to is written beside them before they go: how large that is is only known of
 * the cluster together.
 *
 * @param chain the whole one first, the wanted one last
 */
export function restoreNeeds(chain: readonly [Sized, ...Sized[]]): FolderNeed[] {
  const [whole] = chain;
  const last = chain.at(-1) ?? whole;
  const growth = whole.cluster_bytes > 0 ? last.cluster_bytes / whole.cluster_bytes : 1;
  return [null, ...last.tablespaces.map(({ oid }) => oid)].map((oid) => {
    const each = chain.map((link) => plainBytes(link, oid));
    const unpacked = each.reduce((sum, bytes) => sum + bytes, 0);
    if (chain.length === 1) return { oid, bytes: Math.ceil(unpacked * blocksFactor) };
    // A tablespace that is younger than the whole backup came whole with an increment.
    const first = each.find((bytes) => bytes > 0) ?? 0;
    const put = first * Math.max(1, growth);
    return { oid, bytes: Math.ceil((unpacked + put) * blocksFactor) };
  });
}
