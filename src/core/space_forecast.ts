/**
 * When a disk will be full: each series of backups goes on as it did, its sizes by their trend, and
 * retention removes what it removes. A steady state may never fill the disk. Pure.
 */

import { median } from './size_history.ts';

/** Bytes that came to a store at a time. */
export interface StoredBytes {
  readonly at: Date;
  readonly bytes: number;
}

/** What comes again and again, and how long it stays. */
export interface SpaceSeries {
  /** Oldest first. */
  readonly stored: readonly StoredBytes[];
  /** What is older goes while at least {@link SpaceSeries.keepCount} younger ones stay. */
  readonly keepDays: number;
  readonly keepCount: number;
  /** How often it comes where two are not there yet to tell; `null`: nobody knows that it will. */
  readonly everyDays: number | null;
}

const dayMs = 86_400_000;
/** Nobody plans further ahead (the greatest min_days_until_full). */
export const horizonDays = 3650;
/** Only so many of the latest say how it goes on: the pairs of them grow with the square. */
const historyMax = 60;
/** Fewer say nothing of a trend. */
const trendMin = 4;
/** What has not come for so many of its intervals, and a day, comes no more. */
const missedMax = 3;
/** So many to come of one series are reckoned with; what comes every minute ends with them. */
const comingMax = 4000;
/** Nothing comes more often than that. */
const everyDaysMin = 1 / 96;

/** Retention runs when a backup has ended: what would be old enough a moment later goes, too. */
const runDays = 0.02;

/** A line through sizes: bytes at a time in milliseconds. */
interface Trend {
  readonly atMs: number;
  readonly bytes: number;
  readonly bytesPerMs: number;
}

/**
 * The line through sizes that a few odd ones do not move: the median of the slopes of all pairs
 * (Theil and Sen), and the median of what is left.
 */
export function trendOf(stored: readonly StoredBytes[]): Trend {
  const recent = stored.slice(-historyMax);
  const last = recent.at(-1);
  if (last === undefined) return { atMs: 0, bytes: 0, bytesPerMs: 0 };
  const atMs = last.at.getTime();
  const slopes: number[] = [];
  for (const [index, a] of recent.entries()) {
    for (const b of recent.slice(index + 1)) {
      const ms = b.at.getTime() - a.at.getTime();
      if (ms > 0) slopes.push((b.bytes - a.bytes) / ms);
    }
  }
  const bytesPerMs = recent.length < trendMin ? 0 : median(slopes);
  const level = recent.map(({ at, bytes }) => bytes + bytesPerMs * (atMs - at.getTime()));
  return { atMs, bytes: median(level), bytesPerMs };
}

/** How often a series goes on, in days; `null`: it does not. */
function intervalOf({ stored, everyDays }: SpaceSeries, now: Date): number | null {
  const last = stored.at(-1);
  if (last === undefined) return null;
  const recent = stored.slice(-historyMax);
  const between = recent
    .slice(1)
    .map(({ at }, index) => (at.getTime() - (recent[index]?.at ?? at).getTime()) / dayMs);
  const seen = between.length < 2 ? everyDays : median(between);
  if (seen === null) return null;
  const days = Math.max(seen, everyDaysMin);
  const silentDays = (now.getTime() - last.at.getTime()) / dayMs;
  return silentDays > missedMax * days + 1 ? null : days;
}

/** What comes and what goes on each day from now on. */
interface Days {
  readonly coming: Float64Array;
  readonly going: Float64Array;
}

function addTo(changes: Float64Array, day: number, bytes: number): void {
  const index = Math.floor(day);
  if (index >= 0 && index < changes.length) changes[index] = (changes[index] ?? 0) + bytes;
}

/** Adds what becomes of one series on each day of the horizon. */
function follow({ coming, going }: Days, series: SpaceSeries, now: Date): void {
  const every = intervalOf(series, now);
  // What has ended stays as it is: retention keeps the last ones, and is not run for it.
  if (every === null) return;
  const { stored, keepDays, keepCount } = series;
  const trend = trendOf(stored);
  const dayOf = (ms: number) => (ms - now.getTime()) / dayMs;
  const lastDay = dayOf(stored.at(-1)?.at.getTime() ?? 0);
  const all = stored.map(({ at, bytes }) => ({ day: dayOf(at.getTime()), bytes }));
  for (let next = 1; next <= comingMax; next += 1) {
    const day = Math.max(0, lastDay + next * every);
    if (day >= coming.length) break;
    const sinceMs = now.getTime() + day * dayMs - trend.atMs;
    const bytes = Math.max(0, trend.bytes + trend.bytesPerMs * sinceMs);
    all.push({ day, bytes });
    addTo(coming, day, bytes);
  }
  // Retention runs whenever one has come.
  let run = stored.length;
  for (const [index, { day, bytes }] of all.entries()) {
    const younger = all[index + Math.max(1, keepCount)];
    if (younger === undefined) break;
    const isOver = Math.max(day + keepDays, younger.day);
    while (run < all.length && (all[run]?.day ?? 0) + runDays < isOver) run += 1;
    const at = all[run];
    if (at === undefined) break;
    addTo(going, at.day, bytes);
  }
}

/**
 * In how many days the disk is full, a day for a day: 0 is today. A backup is written before
 * retention removes an older one, so both have to fit.
 *
 * @param freeBytes what is free now
 * @returns `null`: not within {@link horizonDays}, so never as far as anybody can tell
 */
export function daysUntilFull(
  series: readonly SpaceSeries[],
  freeBytes: number,
  now: Date,
): number | null {
  const days: Days = {
    coming: new Float64Array(horizonDays),
    going: new Float64Array(horizonDays),
  };
  for (const each of series) follow(days, each, now);
  let free = freeBytes;
  for (const [day, bytes] of days.coming.entries()) {
    free -= bytes;
    if (free < 0) return day;
    free += days.going[day] ?? 0;
  }
  return null;
}
