/** The files of a WAL archive by their names (PostgreSQL manual, "Continuous Archiving"). */

import { parseSegmentName } from './lsn.ts';

/** A file that PostgreSQL archives. */
export type WalFile =
  | { readonly kind: 'segment'; readonly timeline: number; readonly number: bigint }
  /** The last, unfinished segment of a timeline that a promotion has ended. */
  | { readonly kind: 'partial'; readonly timeline: number; readonly number: bigint }
  /** Tells the ancestors of a timeline. */
  | { readonly kind: 'history'; readonly timeline: number }
  /** Written at the end of a base backup: where it began and ended. */
  | {
      readonly kind: 'backup';
      readonly timeline: number;
      readonly number: bigint;
      /** Of the backup's start within its segment, in bytes. */
      readonly offset: number;
    };

const historyPattern = /^([0-9A-F]{8})\.history$/;
const backupPattern = /^([0-9A-F]{24})\.([0-9A-F]{8})\.backup$/;
const partialPattern = /^([0-9A-F]{24})\.partial$/;

/** What a name stands for, or `null` when PostgreSQL gives no such name to a file of the WAL. */
export function parseWalFile(name: string, segmentBytes: number): WalFile | null {
  const segment = parseSegmentName(name, segmentBytes);
  if (segment !== null) return { kind: 'segment', ...segment };
  const partial = partialPattern.exec(name);
  if (partial !== null) {
    const part = parseSegmentName(partial[1] ?? '', segmentBytes);
    return part === null ? null : { kind: 'partial', ...part };
  }
  const history = historyPattern.exec(name);
  if (history !== null) {
    const timeline = Number.parseInt(history[1] ?? '', 16);
    return timeline < 2 ? null : { kind: 'history', timeline };
  }
  const backup = backupPattern.exec(name);
  if (backup === null) return null;
  const begun = parseSegmentName(backup[1] ?? '', segmentBytes);
  const offset = Number.parseInt(backup[2] ?? '', 16);
  if (begun === null || offset >= segmentBytes) return null;
  return { kind: 'backup', ...begun, offset };
}
