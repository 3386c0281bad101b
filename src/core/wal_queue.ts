/** Which of the files that wait to be archived are stored ahead of the server's call, and when. */

const readySuffix = '.ready';
const historyPattern = /^[0-9A-F]{8}\.history$/;

/**
 * The files that wait, in the order in which the archiver takes them (pgarch.c: history files
 * first, then by name, which is the oldest first).
 *
 * @param statusNames the names in pg_wal/archive_status
 */
export function readyInOrder(statusNames: readonly string[]): string[] {
  const names = statusNames.flatMap((name) =>
    name.endsWith(readySuffix) ? [name.slice(0, -readySuffix.length)] : [],
  );
  return names.sort((a, b) => {
    const [aIsHistory, bIsHistory] = [historyPattern.test(a), historyPattern.test(b)];
    if (aIsHistory !== bIsHistory) return aIsHistory ? -1 : 1;
    return a < b ? -1 : 1;
  });
}

/** What is known when files are chosen. */
export interface QueueState {
  /** {@link readyInOrder} */
  readonly ready: readonly string[];
  /** Stored already: the server has only to call. */
  readonly stored: ReadonlySet<string>;
  /** Being stored now. */
  readonly running: ReadonlySet<string>;
  /** Not to be tried before these have rested. */
  readonly resting: ReadonlySet<string>;
  /** So many are stored at the same time. */
  readonly jobs: number;
  /** The server takes these itself by now: to do them here too would only be in its way. */
  readonly left: readonly string[];
  /** Only so many from the first one that waits on are looked at. */
  readonly ahead: number;
}

/** The files to begin with now. */
export function chooseNext(state: QueueState): string[] {
  const { ready, stored, running, resting, left, jobs, ahead } = state;
  const free = Math.max(0, jobs - running.size);
  return ready
    .slice(0, ahead)
    .filter((name) => !stored.has(name) && !running.has(name) && !resting.has(name))
    .filter((name) => !left.includes(name))
    .slice(0, free);
}

/** A file takes longer here than in wal_push, which does two in that time (measured). */
const leftFiles = 2;

/**
 * The files that the server will ask for next and nobody has begun: it calls wal_push for the first
 * at once, which has it stored as soon as anybody could here. What lies behind is worth the work.
 */
export function serversNext({
  ready,
  stored,
  running,
}: Pick<QueueState, 'ready' | 'stored' | 'running'>): string[] {
  return ready.filter((name) => !stored.has(name) && !running.has(name)).slice(0, leftFiles);
}

const pauseMsMin = 1_000;
const pauseMsMax = 60_000;

/** How long to wait after so many failures without a success: twice as long each time. */
export function pauseAfter(failures: number): number {
  return Math.min(pauseMsMax, pauseMsMin * 2 ** Math.max(0, failures - 1));
}

/** What the index of an archive costs at most: a twentieth of the time. */
const indexShare = 20;
const indexPauseMsMin = 5_000;

/** How long to leave the indexes alone after a run that took so long. */
export function pauseAfterIndex(tookMs: number): number {
  return Math.max(indexPauseMsMin, tookMs * indexShare);
}

/** How many files are stored at the same time unless told: one processor is the server's. */
export function defaultJobs(processors: number): number {
  return Math.min(4, Math.max(1, processors - 1));
}
