/**
 * What lies in a WAL archive, told by names alone: thousands of segments cost one listing of each
 * timeline's folder and no look at a file (REPOSITORY.md, "The WAL archive").
 */

import { parseSegmentName } from './lsn.ts';
import type { Ancestor } from './timeline.ts';
import { claimName } from './wal_claim.ts';
import { parseWalFile } from './wal_files.ts';

/** A segment that was archived; it is there when this name is there. */
export interface ArchivedSegment {
  /** As PostgreSQL names the file: `000000010000000000000002`, perhaps with `.partial`. */
  readonly name: string;
  readonly timeline: number;
  readonly number: bigint;
  /** The last, unfinished segment of a timeline that a promotion has ended. */
  readonly isPartial: boolean;
  /** What its stored name ends in: how it is compressed and encrypted. */
  readonly suffix: SegmentSuffix;
  /** Whether the digest of its plain bytes lies beside it; a killed run may have left none. */
  readonly hasDigest: boolean;
  /** Whether what it holds was indexed. */
  readonly hasIndex: boolean;
}

/** A history file, with what it says; `null` and the reason where it says nothing usable. */
export interface ArchivedHistory {
  readonly name: string;
  readonly timeline: number;
  readonly hasDigest: boolean;
  readonly ancestors: readonly Ancestor[] | null;
  readonly problem: string | null;
}

/** A backup history file: where a base backup began. */
export interface ArchivedBackup {
  readonly name: string;
  readonly timeline: number;
  readonly number: bigint;
  readonly hasDigest: boolean;
}

/** All that lies in an archive. */
export interface ArchiveListing {
  readonly segmentBytes: number;
  /** By timeline and number; a partial one behind the complete one of its number. */
  readonly segments: readonly ArchivedSegment[];
  /** By timeline. */
  readonly histories: readonly ArchivedHistory[];
  readonly backups: readonly ArchivedBackup[];
  /** Paths within the archive: digests and indexes whose file is gone. */
  readonly strays: readonly string[];
  /** Paths of what is being written, or was left by a killed run. */
  readonly unfinished: readonly string[];
  /** Paths of what nobody of ours has put there: named, never touched. */
  readonly foreign: readonly string[];
}

/** The names in an archive: of its own folder, and of the folder of each timeline. */
export interface ArchiveNames {
  readonly top: readonly string[];
  /** By the name of the folder. */
  readonly timelines: ReadonlyMap<string, readonly string[]>;
}

/** What a stored segment's name ends in where it is not encrypted. */
export const segmentSuffix = '.zst';
/** What a stored segment's name may end in: compressed, and perhaps encrypted after that. */
export const segmentSuffixes = [segmentSuffix, '.zst.age', '.zst.gpg'] as const;
export type SegmentSuffix = (typeof segmentSuffixes)[number];
export const digestSuffix = '.sha256';
export const indexSuffix = '.index.json';
const partialSuffix = '.partial';

/** Whether a name is that of a timeline's folder: eight digits, and no timeline is 0. */
export function isTimelineFolder(name: string): boolean {
  return /^[0-9A-F]{8}$/.test(name) && name !== '00000000';
}

const segmentPattern = /^[0-9A-F]{24}(\.partial)?$/;
const documentPattern = /^([0-9A-F]{8}\.history|[0-9A-F]{24}\.[0-9A-F]{8}\.backup)$/;

/** Whether PostgreSQL names a segment so, perhaps an unfinished one, whatever the segment size. */
export function isSegmentFile(name: string): boolean {
  return segmentPattern.test(name);
}

/**
 * The path within the archive of a file that PostgreSQL calls so, whatever its segment size;
 * `null` for a name that no file of the WAL has.
 *
 * @param suffix how a segment is stored; compressed unless told. Histories have none
 */
export function archivedPath(name: string, suffix: SegmentSuffix = segmentSuffix): string | null {
  if (segmentPattern.test(name)) return `${name.slice(0, 8)}/${name}${suffix}`;
  return documentPattern.test(name) ? name : null;
}

/** How a stored segment of this file name is stored; `null` where it is no segment's. */
export function suffixOf(fileName: string): SegmentSuffix | null {
  const suffix = segmentSuffixes.findLast((each) => fileName.endsWith(each)) ?? null;
  if (suffix === null) return null;
  return segmentPattern.test(fileName.slice(0, -suffix.length)) ? suffix : null;
}

/**
 * The path of what lies beside a file.
 *
 * @param name of a file of the WAL
 * @param suffix {@link digestSuffix} or {@link indexSuffix}
 */
export function pathBeside(name: string, suffix: string): string {
  return segmentPattern.test(name) ? `${name.slice(0, 8)}/${name}${suffix}` : `${name}${suffix}`;
}

interface Sorted {
  readonly segments: ArchivedSegment[];
  readonly strays: string[];
  readonly unfinished: string[];
  readonly foreign: string[];
}

const allSuffixes = [digestSuffix, indexSuffix, ...segmentSuffixes] as const;

function isForm(suffix: string | undefined): suffix is SegmentSuffix {
  return (segmentSuffixes as readonly (string | undefined)[]).includes(suffix);
}

/** Sorts what lies in the folder of one timeline. */
function sortFolder(
  folder: string,
  names: readonly string[],
  segmentBytes: number,
  into: Sorted,
): void {
  const all = new Set(names);
  for (const name of names) {
    const path = `${folder}/${name}`;
    if (name.startsWith('.')) {
      into.unfinished.push(path);
      continue;
    }
    const suffix = allSuffixes.find((end) => name.endsWith(end));
    const whole = suffix === undefined ? '' : name.slice(0, -suffix.length);
    const forms = segmentSuffixes.filter((form) => all.has(`${whole}${form}`));
    const isPartial = whole.endsWith(partialSuffix);
    const segment = isPartial ? whole.slice(0, -partialSuffix.length) : whole;
    const parsed = segment.startsWith(folder) ? parseSegmentName(segment, segmentBytes) : null;
    if (parsed === null) {
      into.foreign.push(path);
    } else if (isForm(suffix)) {
      // Of one that lies there twice the second form belongs to nothing.
      if (suffix !== forms[0]) {
        into.foreign.push(path);
        continue;
      }
      const hasDigest = all.has(`${whole}${digestSuffix}`);
      const hasIndex = all.has(`${whole}${indexSuffix}`);
      into.segments.push({ name: whole, ...parsed, isPartial, suffix, hasDigest, hasIndex });
    } else if (forms.length === 0) {
      into.strays.push(path);
    }
  }
}

function bySegment(a: ArchivedSegment, b: ArchivedSegment): number {
  if (a.timeline !== b.timeline) return a.timeline - b.timeline;
  if (a.number !== b.number) return a.number < b.number ? -1 : 1;
  return Number(a.isPartial) - Number(b.isPartial);
}

/**
 * Sorts the names in an archive. What the histories say is not known yet: they come with neither
 * ancestors nor a problem.
 */
export function sortArchive(
  { top, timelines }: ArchiveNames,
  segmentBytes: number,
): ArchiveListing {
  const sorted: Sorted = { segments: [], strays: [], unfinished: [], foreign: [] };
  const histories: ArchivedHistory[] = [];
  const backups: ArchivedBackup[] = [];
  const all = new Set(top);
  for (const name of top) {
    if (name === claimName || timelines.has(name)) continue;
    const isDigest = name.endsWith(digestSuffix);
    const of = isDigest ? name.slice(0, -digestSuffix.length) : name;
    const file = parseWalFile(of, segmentBytes);
    const hasDigest = all.has(`${of}${digestSuffix}`);
    if (name.startsWith('.')) sorted.unfinished.push(name);
    else if (file?.kind !== 'history' && file?.kind !== 'backup') sorted.foreign.push(name);
    else if (isDigest && !all.has(of)) sorted.strays.push(name);
    else if (isDigest) continue;
    else if (file.kind === 'backup') {
      backups.push({ name, timeline: file.timeline, number: file.number, hasDigest });
    } else {
      const { timeline } = file;
      histories.push({ name, timeline, hasDigest, ancestors: null, problem: null });
    }
  }
  for (const [folder, names] of timelines) sortFolder(folder, names, segmentBytes, sorted);
  sorted.segments.sort(bySegment);
  histories.sort((a, b) => a.timeline - b.timeline);
  return { segmentBytes, ...sorted, histories, backups };
}
