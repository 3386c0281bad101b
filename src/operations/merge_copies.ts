/** The copies of one backup in several stores, as one line of a list. */

import { folderAbove } from '../catalog/repository.ts';
import type { StoreSpec } from '../config/stores.ts';
import { lackingCopies } from '../core/lacking_copies.ts';

/** What a list tells of the copy in one store. */
interface Copy {
  readonly label: string;
  /** The key of its folder: the same in every store. */
  readonly folder: string;
  readonly state: 'complete' | 'damaged';
}

/** Where the copies of a backup lie: names of stores, in the order in which they were asked. */
export interface Copies {
  readonly stores: readonly string[];
  /** Those of them whose copy is damaged. */
  readonly damaged_in: readonly string[];
  /** Those that a run needs, that would keep a copy for its age, and that have none. */
  readonly missing_in: readonly string[];
}

/** What lies in one store. */
export interface StoreCopies<Facts> {
  readonly spec: StoreSpec;
  readonly copies: readonly Facts[];
}

/** The keys of the folders that a store should have and has not. */
function foldersMissing<Facts extends Copy>(
  { spec }: StoreCopies<Facts>,
  merged: readonly (Facts & Copies)[],
  now: Date,
): Set<string> {
  const missing = new Set<string>();
  if (!spec.isRequired) return missing;
  const good = merged.filter(({ state }) => state === 'complete');
  for (const [above, backups] of Map.groupBy(good, ({ folder }) => folderAbove(folder))) {
    const own = backups.filter(({ stores }) => stores.includes(spec.name));
    const listing = (name: string, of: readonly Copy[]) => {
      return { name, labels: new Set(of.map(({ label }) => label)) };
    };
    const all = [listing('any', backups)];
    const labels = lackingCopies(listing(spec.name, own), all, spec.retention, now);
    for (const label of labels) missing.add(`${above}/${label}`);
  }
  return missing;
}

/**
 * One entry for each backup, sorted by label: with the facts of the first copy that is whole, or of
 * the first one where none is.
 */
export function mergeCopies<Facts extends Copy>(
  lists: readonly StoreCopies<Facts>[],
  now: Date,
): (Facts & Copies)[] {
  const merged = new Map<string, Facts & Copies>();
  for (const { spec, copies } of lists) {
    for (const copy of copies) {
      const known = merged.get(copy.folder);
      const isBetter = known?.state === 'damaged' && copy.state === 'complete';
      const damaged = copy.state === 'damaged' ? [spec.name] : [];
      merged.set(copy.folder, {
        ...(known === undefined || isBetter ? copy : known),
        stores: [...(known?.stores ?? []), spec.name],
        damaged_in: [...(known?.damaged_in ?? []), ...damaged],
        missing_in: [],
      });
    }
  }
  const sorted = [...merged.values()].sort((a, b) => {
    if (a.label !== b.label) return a.label < b.label ? -1 : 1;
    return a.folder < b.folder ? -1 : 1;
  });
  const missing = lists.map((list) => {
    return { name: list.spec.name, folders: foldersMissing(list, sorted, now) };
  });
  return sorted.map((backup) => {
    const lacking = missing.filter(({ folders }) => folders.has(backup.folder));
    return { ...backup, missing_in: lacking.map(({ name }) => name) };
  });
}
