/** Decides what of an existing data directory a restore keeps. */

import type { ListedFile } from './server_manifest.ts';

/** Something in an existing data directory. */
export interface Present {
  /** Below the data directory, as the server lists it: `base/5/1259`, `pg_tblspc/16389/…`. */
  readonly path: string;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly bytes: number;
  /** When it was last written: seconds since 1970, whole ones. */
  readonly modifiedSeconds: number;
}

/** What becomes of it. */
export interface DeltaPlan<Entry extends Present> {
  /** Size and time agree: they are kept if their digests do. */
  readonly alike: readonly Entry[];
  /** Files, links and what is neither, that are removed. */
  readonly removed: readonly Entry[];
  /** Folders that no file of the backup is in, the inner ones first. */
  readonly folders: readonly Entry[];
}

/** The file without which no server starts. */
export const controlName = 'global/pg_control';

/** The folders that the files of a backup are in. */
function foldersOf(paths: Iterable<string>): Set<string> {
  const folders = new Set<string>();
  for (const path of paths) {
    for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
      const folder = path.slice(0, at);
      if (folders.has(folder)) break;
      folders.add(folder);
    }
  }
  return folders;
}

/**
 * Decides by size and time alone; the digests are for the caller to look at.
 *
 * @param present what is there; the kept links are not among it
 * @param listed the files of the backup
 */
export function planDelta<Entry extends Present>(
  present: readonly Entry[],
  listed: ReadonlyMap<string, ListedFile>,
): DeltaPlan<Entry> {
  const alike: Entry[] = [];
  const removed: Entry[] = [];
  const folders: Entry[] = [];
  const needed = foldersOf(listed.keys());
  for (const entry of present) {
    const { path, kind, bytes, modifiedSeconds } = entry;
    if (kind === 'folder') {
      if (!needed.has(path)) folders.push(entry);
      continue;
    }
    const wanted = kind === 'file' && path !== controlName ? listed.get(path) : undefined;
    const isAlike = wanted?.bytes === bytes && wanted.modifiedSeconds === modifiedSeconds;
    (isAlike ? alike : removed).push(entry);
  }
  const depth = ({ path }: Entry) => path.split('/').length;
  return { alike, removed, folders: folders.sort((a, b) => depth(b) - depth(a)) };
}
