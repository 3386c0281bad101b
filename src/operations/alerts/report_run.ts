/** Tells how a run ended: alerts of what failed or is mended, and the watchdog's ping. */

import { hasChannels } from '../../config/alert_settings.ts';
import { toHoldfastError } from '../../core/errors.ts';
import { alertsOfRun, type EndedRun } from '../../core/run_alerts.ts';
import type { Heartbeat } from '../../notify/heartbeat.ts';
import type { Context, RepositoryContext } from '../context.ts';
import { inTime } from './in_time.ts';
import { reportTroubles } from './report.ts';

/**
 * Pings the watchdog where there is one. It never throws: what goes wrong is a warning, and no ping
 * is sent a second time.
 */
export async function pingWatchdog(context: Context, heartbeat: Heartbeat): Promise<void> {
  const { heartbeat_url: url, timeout_seconds: seconds } = context.config.settings.alerts;
  if (url === null) return;
  try {
    const { sendHeartbeat } = await import('../../notify/heartbeat.ts');
    // A run that is being ended tells that, too: the signal of the run does not end this.
    const never = new AbortController().signal;
    await inTime(seconds * 1000, never, (limit) => sendHeartbeat(url, heartbeat, limit));
  } catch (thrown) {
    context.log.warn(
      `the watchdog was not told (${heartbeat}): ${toHoldfastError(thrown).message}`,
    );
  }
}

/** What every alert of a run says of it. */
function factsOf(context: Context, { command, job }: Pick<EndedRun, 'command' | 'job'>) {
  const logs = 'repository' in context ? (context as RepositoryContext).repository.logsDir : null;
  return {
    command,
    job,
    run_id: context.runId,
    logs,
    process: context.pid,
    version: context.toolVersion,
  };
}

/** A run that has ended, as its command knows it. */
export type ReportedRun = Omit<EndedRun, 'facts' | 'successes'>;

/** Alerts of what has failed, of what is mended, of what else there is to know. It never throws. */
export async function reportRun(context: Context, run: ReportedRun): Promise<void> {
  const { alerts } = context.config.settings;
  if (!hasChannels(alerts)) return;
  const { successes } = alerts;
  const change = alertsOfRun({ ...run, successes, facts: factsOf(context, run) });
  // The monitor has reported what it found, and a channel that failed then is not tried again.
  await reportTroubles(context, change, { onlyNew: run.event === 'monitor' });
}
