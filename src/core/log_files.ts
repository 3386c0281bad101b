/** Which log file a run writes into, and which have outlived their days. */

/** A log file's name taken apart: `holdfast-20261121.jsonl`, `holdfast-20261121.2.jsonl`. */
export interface LogFileName {
  readonly name: string;
  /** `20261121`, in UTC. */
  readonly day: string;
  /** 0 for the first file of the day. */
  readonly number: number;
}

const pattern = /^holdfast-(\d{8})(?:\.(\d{1,4}))?\.jsonl$/;

/** The parts of a log file's name, or `null` when it is no log file of ours. */
export function parseLogFile(name: string): LogFileName | null {
  const match = pattern.exec(name);
  if (match === null) return null;
  return { name, day: match[1] ?? '', number: Number(match[2] ?? 0) };
}

function dayOf(time: Date): string {
  return time.toISOString().slice(0, 10).replaceAll('-', '');
}

/**
 * The file of today with the highest number, or the one after it when that is full.
 *
 * @param isFull whether a file has grown to the limit
 */
export function nextLogFile(
  files: readonly LogFileName[],
  now: Date,
  isFull: (file: LogFileName) => boolean,
): string {
  const day = dayOf(now);
  const today = files.filter((file) => file.day === day).toSorted((a, b) => a.number - b.number);
  const last = today.at(-1);
  if (last === undefined) return `holdfast-${day}.jsonl`;
  return isFull(last) ? `holdfast-${day}.${last.number + 1}.jsonl` : last.name;
}

/** The files whose day lies more than `keepDays` days before today. One of the future stays. */
export function logFilesToRemove(
  files: readonly LogFileName[],
  now: Date,
  keepDays: number,
): LogFileName[] {
  const oldest = dayOf(new Date(now.getTime() - keepDays * 86_400_000));
  return files.filter((file) => file.day < oldest);
}
