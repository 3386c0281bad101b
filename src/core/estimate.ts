/** How long a restore will take, told from how long restores have taken here. */

import { median } from './size_history.ts';

/** The steps of a restore whose time is recorded. */
const restoreSteps = ['verifying', 'filling', 'comparing', 'analyzing'] as const;
export type RestoreStep = (typeof restoreSteps)[number];

/** What a restore that was swapped in has taken. */
export interface RestoreRate {
  /** Of the dump before compression. */
  readonly dump_bytes: number;
  readonly jobs: number;
  readonly compare: string;
  /** What each step took, in seconds. */
  readonly seconds: Readonly<Record<RestoreStep, number>>;
}

/** What a restore is expected to take. */
export interface RestoreEstimate {
  readonly seconds: number;
  /** How many restores say so. */
  readonly restores: number;
}

/** Only the latest count: the machine may have changed since. */
const restoresMax = 5;
/** A restore of another order of magnitude says nothing: its fixed costs weigh otherwise. */
const sizeFactorMax = 8;

/**
 * Estimates a restore by the median of the last similar ones, each step scaled by the bytes.
 * Similar is: as many jobs, the same comparison, at most eight times smaller or larger.
 *
 * @param rates oldest first
 * @returns `null` when none was similar: then nothing is known
 */
export function estimateRestore(
  rates: readonly RestoreRate[],
  wish: { readonly dumpBytes: number; readonly jobs: number; readonly compare: string },
): RestoreEstimate | null {
  const isSimilar = ({ dump_bytes, jobs, compare }: RestoreRate) =>
    jobs === wish.jobs &&
    compare === wish.compare &&
    dump_bytes > 0 &&
    wish.dumpBytes <= dump_bytes * sizeFactorMax &&
    wish.dumpBytes * sizeFactorMax >= dump_bytes;
  const similar = rates.filter(isSimilar).slice(-restoresMax);
  if (similar.length === 0) return null;
  const secondsOf = (step: RestoreStep) =>
    median(similar.map(({ seconds, dump_bytes }) => seconds[step] / dump_bytes)) * wish.dumpBytes;
  const seconds = restoreSteps.reduce((sum, step) => sum + secondsOf(step), 0);
  return { seconds: Math.round(seconds * 10) / 10, restores: similar.length };
}

/** `252` → `about 4 min`: an estimate claims no precision. */
export function formatRough(seconds: number): string {
  if (seconds < 7.5) return 'a few seconds';
  if (seconds < 55) return `about ${Math.max(10, Math.round(seconds / 10) * 10)} s`;
  const minutes = Math.max(1, Math.round(seconds / 60));
  if (minutes < 60) return `about ${minutes} min`;
  const tens = Math.round(minutes / 10) * 10;
  const rest = tens % 60 === 0 ? '' : ` ${tens % 60} min`;
  return `about ${Math.floor(tens / 60)} h${rest}`;
}
