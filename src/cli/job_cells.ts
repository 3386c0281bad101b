/** How the last run of a job is told in a table: cron's and systemd's are told alike. */

import type { KnownJob } from '../catalog/jobs.ts';
import { formatAge, formatDuration } from '../core/units.ts';

/** The titles of {@link jobCells}. */
export const jobTitles = ['last run', 'status', 'took'] as const;

/** A moment in the machine's own time of day, to the minute. */
export function formatMoment(moment: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join('-');
  return `${day} ${two(moment.getHours())}:${two(moment.getMinutes())}`;
}

/** What the monitor has found, by its status from 1 on: with these it has run well. */
const findings = ['warning', 'critical', 'unknown'];

function howItEnded({ job, exit_status: status }: KnownJob['record']): string {
  if (status === 0) return 'ok';
  const found = job === 'monitor' && status !== null ? findings[status - 1] : undefined;
  return found ?? `failed (${status})`;
}

/** `-` for a job that never ran. */
export function jobCells(run: KnownJob | null, now: Date): string[] {
  if (run === null) return ['never', '-', '-'];
  const { started_at: started, finished_at: finished } = run.record;
  const begin = Date.parse(started);
  const last = `${formatAge(Math.max(0, (now.getTime() - begin) / 1000))} ago`;
  if (run.state === 'running') return [last, 'running', '-'];
  if (finished === null) return [last, run.state === 'dead' ? 'died' : 'unknown', '-'];
  const took = formatDuration(Math.max(0, (Date.parse(finished) - begin) / 1000));
  return [last, howItEnded(run.record), took];
}

/** The same for `--json`. */
export function jobDocument(run: KnownJob | null) {
  if (run === null) return null;
  const { started_at, finished_at, exit_status, last_success_at } = run.record;
  const seconds =
    finished_at === null ? null : (Date.parse(finished_at) - Date.parse(started_at)) / 1000;
  return {
    state: run.state,
    started_at,
    finished_at,
    duration_seconds: seconds,
    exit_status,
    last_success_at,
  };
}
