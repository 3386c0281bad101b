/**
 * What is carried from the archive that the hooks write into to an archive in another store: what
 * is not there yet, in an order that never leaves there what nothing leads to. Pure.
 */

import {
  type ArchiveNames,
  archivedPath,
  digestSuffix,
  indexSuffix,
  pathBeside,
  segmentSuffixes,
  suffixOf,
} from './wal_listing.ts';

/** Files that belong together, in the order in which they are carried. */
export interface CarryGroup {
  /** Of the file, as PostgreSQL calls it. */
  readonly name: string;
  /** Whether it is a segment: histories go before all of them. */
  readonly isSegment: boolean;
  /** Paths within the archive. */
  readonly paths: readonly string[];
}

/**
 * Up to which segment all were carried, by the folder of each timeline. What is older and not there
 * was removed there by its own retention.
 */
export type CarriedMarks = ReadonlyMap<string, string>;

/** What was listed of an archive, as paths within it. */
export function archivePaths({ top, timelines }: ArchiveNames): Set<string> {
  const paths = new Set(top.filter((name) => !timelines.has(name)));
  for (const [folder, names] of timelines) for (const name of names) paths.add(`${folder}/${name}`);
  return paths;
}

/** How a store has a segment, as a path; `null` where it has not. */
export function heldAs(present: ReadonlySet<string>, name: string): string | null {
  const paths = segmentSuffixes.map((suffix) => archivedPath(name, suffix) ?? '');
  return paths.find((path) => present.has(path)) ?? null;
}

function documents(top: readonly string[], present: ReadonlySet<string>): CarryGroup[] {
  const all = new Set(top);
  const names = top.filter((name) => archivedPath(name) === name && all.has(name + digestSuffix));
  // Histories before the marks of base backups.
  const order = (name: string) => `${name.endsWith('.history') ? 0 : 1}${name}`;
  return names
    .toSorted((a, b) => (order(a) < order(b) ? -1 : 1))
    .map((name) => ({ name, isSegment: false, paths: [name, name + digestSuffix] }))
    .map((group) => ({ ...group, paths: group.paths.filter((path) => !present.has(path)) }))
    .filter(({ paths }) => paths.length > 0);
}

/** A segment comes with its digest, and with its index when there is one. */
function segment(
  folder: string,
  file: string,
  all: ReadonlySet<string>,
  present: ReadonlySet<string>,
  mark: string,
): CarryGroup[] {
  const suffix = suffixOf(file);
  if (suffix === null) return [];
  const name = file.slice(0, -suffix.length);
  // Without its digest it is still being stored.
  if (!all.has(name + digestSuffix)) return [];
  const held = heldAs(present, name);
  if (held === null && name <= mark) return [];
  const wanted = [
    ...(held === null ? [`${folder}/${file}`] : []),
    pathBeside(name, digestSuffix),
    ...(all.has(name + indexSuffix) ? [pathBeside(name, indexSuffix)] : []),
  ];
  const paths = wanted.filter((path) => !present.has(path));
  return paths.length === 0 ? [] : [{ name, isSegment: true, paths }];
}

/**
 * What is to be carried, in order: histories, marks of base backups, segments by their names.
 *
 * @param present paths of what lies in the other store
 */
export function filesToCarry(
  { top, timelines }: ArchiveNames,
  present: ReadonlySet<string>,
  marks: CarriedMarks,
): CarryGroup[] {
  const segments = [...timelines].flatMap(([folder, names]) => {
    const all = new Set(names);
    const mark = marks.get(folder) ?? '';
    return names.flatMap((file) => segment(folder, file, all, present, mark));
  });
  segments.sort((a, b) => (a.name < b.name ? -1 : 1));
  return [...documents(top, present), ...segments];
}

/** The marks after something was carried: on each timeline up to the first segment that waits. */
export function advanceMarks(
  { timelines }: ArchiveNames,
  present: ReadonlySet<string>,
  marks: CarriedMarks,
): Map<string, string> {
  const advanced = new Map(marks);
  for (const [folder, names] of timelines) {
    const mark = marks.get(folder) ?? '';
    const own = names.flatMap((file) => {
      const suffix = suffixOf(file);
      return suffix === null ? [] : [file.slice(0, -suffix.length)];
    });
    for (const name of own.filter((each) => each > mark).sort()) {
      const isThere = heldAs(present, name) !== null;
      if (!isThere || !present.has(pathBeside(name, digestSuffix))) break;
      advanced.set(folder, name);
    }
  }
  return advanced;
}

/**
 * The segments that may leave the archive of the hooks once other stores have them, where it is no
 * store by itself: all that are acknowledged.
 *
 * @param waiting files that the server still asks to archive
 * @returns by name, with the paths to remove: the segment itself, its digest, its index if any
 */
export function mayLeave({ timelines }: ArchiveNames, waiting: ReadonlySet<string>): CarryGroup[] {
  return [...timelines].flatMap(([folder, names]) => {
    const all = new Set(names);
    return names.flatMap((file) => {
      const suffix = suffixOf(file);
      const name = suffix === null ? '' : file.slice(0, -suffix.length);
      if (suffix === null || waiting.has(name) || !all.has(name + digestSuffix)) return [];
      const beside = [digestSuffix, ...(all.has(name + indexSuffix) ? [indexSuffix] : [])];
      const paths = [`${folder}/${file}`, ...beside.map((each) => pathBeside(name, each))];
      return [{ name, isSegment: true, paths }];
    });
  });
}
