/** Whether a backup's size is out of the ordinary, told from the sizes before it. */

/** So many earlier backups are needed before anything is said. */
export const historyMin = 3;
/** Only so many of the latest count: one that has grown for a year is not judged by its start. */
const historyMax = 14;
/** A size within this part of the median is ordinary, however steady the history is. */
const tolerance = 0.5;
/** So many median absolute deviations are ordinary. */
const deviationsMax = 6;

/** The middle of values in order; of an even number of them the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

/** A size that is out of the ordinary, and what would have been expected. */
export interface UnusualSize {
  readonly kind: 'smaller' | 'larger';
  readonly medianBytes: number;
}

/**
 * Compares a size with its history by median and median absolute deviation, which a single odd
 * backup does not move.
 *
 * @param history sizes of earlier backups, oldest first
 * @returns `null` when the size is ordinary, or there is too little history to tell
 */
export function unusualSize(bytes: number, history: readonly number[]): UnusualSize | null {
  const recent = history.slice(-historyMax);
  if (recent.length < historyMin) return null;
  const middle = median(recent);
  const deviation = median(recent.map((size) => Math.abs(size - middle)));
  const allowed = Math.max(middle * tolerance, deviation * deviationsMax);
  if (Math.abs(bytes - middle) <= allowed) return null;
  return { kind: bytes < middle ? 'smaller' : 'larger', medianBytes: middle };
}
