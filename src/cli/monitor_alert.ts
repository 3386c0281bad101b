/** `alert --test` and `alert --job-failed` of scripts/monitor_backups.ts: no check is made. */

import { jobNamePattern } from '../catalog/jobs.ts';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { healthStatus } from '../core/health.ts';
import { failedJobChange } from '../core/monitor_troubles.ts';
import { printableText } from '../core/printable.ts';
import { formatDuration } from '../core/units.ts';
import { type AlertReport, reportTroubles } from '../operations/alerts/report.ts';
import { type ChannelTest, testChannels } from '../operations/alerts/test_channels.ts';
import { jobsOf } from '../operations/monitor/jobs.ts';
import type { Watched } from '../operations/monitor/monitor.ts';
import { jobRunFacts } from '../operations/monitor/run_checks.ts';
import type { CommandResult, Invocation } from './command.ts';
import { formatTable } from './table.ts';

/** What became of the alerts, as JSON. */
export function alertDocument({ made, delivered, waiting, failures }: AlertReport) {
  return {
    made,
    delivered,
    waiting,
    failures: failures.map(({ channel, error: { code, message } }) => ({ channel, code, message })),
  };
}

function testRow({ channel, error, seconds }: ChannelTest): string[] {
  const said = error === null ? 'delivered' : `FAILED: ${printableText(error.message)}`;
  return [channel, formatDuration(seconds), said];
}

/**
 * Sends one alert through every channel.
 *
 * @throws HoldfastError CONFIG_INVALID where there is none
 */
export async function testAlerts({ context }: Invocation): Promise<CommandResult> {
  const tests = await testChannels(context);
  if (tests.length === 0) {
    throw new HoldfastError('CONFIG_INVALID', 'no channel of the alerts is set, or they are off', {
      hint: 'Set ALERT_ENDPOINT, SLACK_WEBHOOK_URL, or SMTP_URL with NOTIFICATION_EMAIL.',
    });
  }
  for (const { error } of tests) if (error !== null) context.log.error(error);
  const status = tests.some(({ error }) => error !== null)
    ? healthStatus.critical
    : healthStatus.ok;
  const channels = tests.map(({ channel, error, seconds }) => ({
    channel,
    delivered: error === null,
    seconds: Math.round(seconds * 1000) / 1000,
    error: error === null ? null : { code: error.code, message: error.message },
  }));
  return {
    status,
    json: { exit_status: status, channels },
    text: formatTable(['channel', 'took', 'said'], tests.map(testRow)),
    outcomes: [],
  };
}

/** @throws HoldfastError USAGE */
function requireJobName(name: unknown): string {
  if (typeof name === 'string' && jobNamePattern.test(name)) return name;
  throw new HoldfastError('USAGE', `${JSON.stringify(name)} is no name of a job`, {
    hint: 'Jobs are called daily, weekly, monthly, incremental, monitor, wal-ship.',
  });
}

/** Alerts of a job that somebody else has seen fail, where it could not do so itself. */
export async function alertFailedJob(
  { context, flags }: Invocation,
  watched: Watched,
): Promise<CommandResult> {
  const job = requireJobName(flags['job-failed']);
  const known = (await jobsOf(watched)).find(({ record }) => record.job === job);
  const run = known === undefined ? null : jobRunFacts(known);
  const change = failedJobChange(job, run, context.clock());
  const report = await reportTroubles(context, change);
  for (const { error } of report.failures) context.log.warn(toHoldfastError(error).message);
  const told = [...(change.firing ?? []), ...(change.news ?? [])].map(({ title }) => title);
  const text = told.length === 0 ? `the job ${job} has told its failure itself\n` : `${told}\n`;
  const json = { exit_status: healthStatus.ok, job, told, alerts: alertDocument(report) };
  return { status: healthStatus.ok, json, text, outcomes: [] };
}
