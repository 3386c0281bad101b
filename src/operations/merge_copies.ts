/** The copies of one backup in several stores, as one line of a list. */

/** What a list tells of the copy in one store. */
interface Copy {
  readonly label: string;
  /** The key of its folder: the same in every store. */
  readonly folder: string;
  readonly state: 'complete' | 'damaged';
}

/** Where the copies of a backup lie: names of stores, in the order of the settings. */
export interface Copies {
  readonly stores: readonly string[];
  /** Those of them whose copy is damaged. */
  readonly damaged_in: readonly string[];
}

/** What lies in one store. */
export interface StoreCopies<Facts> {
  readonly name: string;
  readonly copies: readonly Facts[];
}

/**
 * One entry for each backup, sorted by label: with the facts of the first copy that is whole, or of
 * the first one where none is.
 */
export function mergeCopies<Facts extends Copy>(
  lists: readonly StoreCopies<Facts>[],
): (Facts & Copies)[] {
  const merged = new Map<string, Facts & Copies>();
  for (const { name, copies } of lists) {
    for (const copy of copies) {
      const known = merged.get(copy.folder);
      const isBetter = known?.state === 'damaged' && copy.state === 'complete';
      const damaged = copy.state === 'damaged' ? [name] : [];
      merged.set(copy.folder, {
        ...(known === undefined || isBetter ? copy : known),
        stores: [...(known?.stores ?? []), name],
        damaged_in: [...(known?.damaged_in ?? []), ...damaged],
      });
    }
  }
  return [...merged.values()].sort((a, b) => {
    if (a.label !== b.label) return a.label < b.label ? -1 : 1;
    return a.folder < b.folder ? -1 : 1;
  });
}
