/**
 * Which backups the monitor reads again: those whose files have changed since they were read, and
 * of the others a few in turn, the longest unread first. Pure.
 */

/** One file as the file system tells it: whoever writes into it changes at least one of these. */
export interface FileMark {
  readonly name: string;
  readonly bytes: number;
  /** Milliseconds since 1970, with what is below them. */
  readonly modifiedMs: number;
  /** The change time, which nobody can set back (stat(2)). */
  readonly changedMs: number;
  readonly inode: number;
}

/** What is remembered of a backup in one store. */
export interface RememberedBackup {
  /** Tells its files, as they were when they were last known, from others. */
  readonly marks: string;
  /** When it was last read whole; milliseconds since 1970. */
  readonly readMs: number;
  /** What was wrong when it was read; empty: nothing. */
  readonly damage: readonly string[];
  /**
   * It took too long to be read in one run. `changed` since it was read: it waits for
   * verify_backups.ts; `large`, with nothing against it: it is tried again; `null`: it did not.
   */
  readonly left: 'changed' | 'large' | null;
}

/** A backup as it lies in a store now. */
export interface SeenBackup {
  readonly marks: string;
  /** All of its files together. */
  readonly bytes: number;
  /** The last change of any of its files; milliseconds since 1970. */
  readonly changedMs: number;
  /** A file of it has changed after its manifest was written, which is the last of all. */
  readonly isTouched: boolean;
  /** When it was taken and, unless nobody did, read back; milliseconds since 1970. */
  readonly takenMs: number;
  readonly isReadBack: boolean;
  /** When it was last verified and found good; milliseconds since 1970, `null`: never. */
  readonly verifiedMs: number | null;
}

/** Why a backup is read now. */
export type DueReason = 'changed' | 'turn';

/** What is known of a backup now, and whether it is due. */
export interface IntegrityState {
  readonly known: RememberedBackup;
  readonly due: DueReason | null;
}

const dayMs = 86_400_000;
/** What was read so recently has no turn yet: a small repository is left in peace. */
const restMs = dayMs - 3_600_000;
/** The files of one backup are finished within so much of each other. */
const settledMs = 2000;

/** Whether a file was changed after the manifest, which is written when all others are there. */
export function isTouched(files: readonly FileMark[], manifestName: string): boolean {
  const manifest = files.find(({ name }) => name === manifestName);
  if (manifest === undefined) return true;
  return files.some(({ changedMs }) => changedMs > manifest.changedMs + settledMs);
}

/** A line that is another one whenever a file is another one. */
export function marksText(files: readonly FileMark[]): string {
  const lines = files.map(
    ({ name, bytes, modifiedMs, changedMs, inode }) =>
      `${name} ${bytes} ${modifiedMs} ${changedMs} ${inode}`,
  );
  return lines.sort().join('\n');
}

/** What is dated in the future says nothing. */
function lastReadMs(seen: SeenBackup, before: number, now: Date): number {
  const readMs = [before, seen.isReadBack ? seen.takenMs : 0, seen.verifiedMs ?? 0];
  return Math.max(0, ...readMs.filter((each) => each <= now.getTime()));
}

/**
 * What is known of a backup, by what was remembered and what is seen. One that was verified after
 * its last change is as good as read here.
 *
 * @param before `null`: it was not seen before
 */
export function integrityState(
  before: RememberedBackup | null,
  seen: SeenBackup,
  now: Date,
): IntegrityState {
  const { marks } = seen;
  const isVerified = seen.verifiedMs !== null && seen.verifiedMs > seen.changedMs;
  const readMs = lastReadMs(seen, before?.readMs ?? 0, now);
  const fresh: RememberedBackup = { marks, readMs, damage: [], left: null };
  const hasChanged = before === null ? seen.isTouched : before.marks !== marks;
  if (hasChanged && !isVerified) {
    return { known: { ...fresh, damage: before?.damage ?? [] }, due: 'changed' };
  }
  if (before === null || hasChanged) return { known: fresh, due: turn(fresh, now) };
  const isMended = isVerified && (seen.verifiedMs ?? 0) > before.readMs;
  if (isMended) return { known: fresh, due: turn(fresh, now) };
  const known = { ...before, readMs };
  const isSettled = before.damage.length > 0 || before.left === 'changed';
  return { known, due: isSettled ? null : turn(known, now) };
}

function turn({ readMs }: RememberedBackup, now: Date): DueReason | null {
  return now.getTime() - readMs > restMs ? 'turn' : null;
}

/** A backup that waits for its turn. */
export interface Turn {
  readonly readMs: number;
  readonly bytes: number;
}

/** Which of those that wait are read in this run, and what is left of the budget. */
export interface Turns<Waiting extends Turn> {
  readonly read: readonly Waiting[];
  readonly creditBytes: number;
}

/**
 * Takes the longest unread first, as far as the budget goes. What is left of it is saved up, so
 * that a backup larger than the budget of one run has its turn, too.
 *
 * @param creditBytes what the runs before have left
 */
export function takeTurns<Waiting extends Turn>(
  waiting: readonly Waiting[],
  budgetBytes: number,
  creditBytes: number,
): Turns<Waiting> {
  if (budgetBytes === 0) return { read: [], creditBytes: 0 };
  let credit = creditBytes + budgetBytes;
  const read: Waiting[] = [];
  for (const each of waiting.toSorted((a, b) => a.readMs - b.readMs)) {
    if (each.bytes > credit) return { read, creditBytes: credit };
    credit -= each.bytes;
    read.push(each);
  }
  // Nothing waits: nothing is saved up.
  return { read, creditBytes: 0 };
}
