/** The command scripts/monitor_backups.ts: what is wrong, for people, programs and alerts. */

import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { type HealthFinding, healthStatus } from '../core/health.ts';
import { alertChangeOf } from '../core/monitor_troubles.ts';
import type { RunOutcome } from '../core/run_outcome.ts';
import { formatCount } from '../core/units.ts';
import type { AlertReport } from '../operations/alerts/report.ts';
import { type MonitorRun, monitor, type Watched } from '../operations/monitor/monitor.ts';
import type { CommandResult, Invocation } from './command.ts';
import { type Detail, describeReport } from './monitor_table.ts';
import { needRepository } from './open_context.ts';

const actions = ['check', 'report', 'alert', 'verify'] as const;
type Action = (typeof actions)[number];

function readAction(operands: readonly string[]): Action {
  const [given = 'check', second] = operands;
  const action = actions.find((each) => each === given);
  if (action !== undefined && second === undefined) return action;
  throw new HoldfastError('USAGE', `${JSON.stringify(second ?? given)} is nothing to do`, {
    hint: `Type one of ${actions.join(', ')}; without one it is check.`,
  });
}

/** @throws HoldfastError USAGE for a flag that goes with `alert` alone, or two that exclude */
function requireAlert(action: Action, { flags }: Invocation): void {
  const given = ['test', 'job-failed'].filter((flag) => flags[flag] !== undefined);
  if (given.length === 0 || (action === 'alert' && given.length === 1)) return;
  const names = given.map((flag) => `--${flag}`).join(' and ');
  throw new HoldfastError('USAGE', `${names}: only one of them goes with alert`, {
    hint: 'Type monitor_backups.ts alert --test, or alert --job-failed NAME.',
  });
}

function watchedOf({ context, problem }: Invocation): Watched {
  if (problem !== null) return { context, problem };
  return { context: needRepository(context), problem: null };
}

/** Writes the metrics where that is wanted; that it cannot is worth a warning, never the run. */
async function exportMetrics(
  watched: Watched,
  { report }: MonitorRun,
  path: string | null,
  durationSeconds: number,
): Promise<void> {
  if (path === null) return;
  const { context } = watched;
  try {
    const { writeMetrics } = await import('../operations/monitor/metrics.ts');
    const { jobsOf } = await import('../operations/monitor/jobs.ts');
    const jobs = await jobsOf(watched);
    const version = context.toolVersion;
    await writeMetrics(path, { report, jobs, durationSeconds, version });
  } catch (error) {
    const { message, hint } = toHoldfastError(error);
    context.log.warn(`${message}${hint === undefined ? '' : `. ${hint}`}`);
  }
}

/** The file for the metrics: that of the flag, else that of the settings. */
async function metricsFile({ context, flags, world }: Invocation): Promise<string | null> {
  const { prometheus } = flags;
  const set = context.config.settings.monitor.prometheus_file;
  const path = typeof prometheus === 'string' ? prometheus : set;
  if (path === null) return null;
  const { resolve } = await import('node:path');
  const { requireMetricsName } = await import('../operations/monitor/metrics.ts');
  return requireMetricsName(resolve(world.cwd, path));
}

/** The document for programs. */
async function documentOf(report: MonitorRun['report'], alerts: AlertReport | null) {
  if (alerts === null) return report;
  const { alertDocument } = await import('./monitor_alert.ts');
  return { ...report, alerts: alertDocument(alerts) };
}

/** What became of the alerts, in one line. */
function describeAlerts({ made, delivered, waiting }: AlertReport): string {
  const deliveries = delivered === 1 ? '1 delivery' : `${delivered} deliveries`;
  return `${formatCount(made, 'alert')} made, ${deliveries}, ${waiting} waiting.\n`;
}

/** That it has looked is all that the run itself tells: what it found has alerts of its own. */
function outcomeOf({ report }: MonitorRun): RunOutcome {
  return {
    event: 'monitor',
    cluster: null,
    database: null,
    server: null,
    error: null,
    facts: { status: report.status, findings: report.findings.length },
  };
}

/** A finding in the log of the run, where it is not fine: what was wrong when can be read there. */
function inLog({ check, subject, level, message }: HealthFinding) {
  return level === 'ok' ? [] : [{ check, subject, level, message }];
}

function detailOf(action: Action, { flags }: Invocation): Detail {
  if (action === 'report' || flags.verbose === true) return 'all';
  return flags.quiet === true ? 'wrong' : 'short';
}

/** Makes the checks, and tells what they found. */
async function watch(action: Action, invocation: Invocation): Promise<CommandResult> {
  const { context, world, flags } = invocation;
  const file = await metricsFile(invocation);
  const watched = watchedOf(invocation);
  const startedSeconds = context.stopwatch();
  const run = await monitor(watched, { isQuick: action !== 'verify' });
  const durationSeconds = context.stopwatch() - startedSeconds;
  const { report, unasked } = run;
  context.log.trace('found', { status: report.status, wrong: report.findings.flatMap(inLog) });
  let alerts: AlertReport | null = null;
  if (action === 'alert') {
    const { reportTroubles } = await import('../operations/alerts/report.ts');
    alerts = await reportTroubles(context, alertChangeOf(report, unasked));
  }
  await exportMetrics(watched, run, file, durationSeconds);
  const json = await documentOf(report, alerts);
  const said = describeReport(report, detailOf(action, invocation), world.stdout);
  const sent = alerts === null || flags.quiet === true ? '' : describeAlerts(alerts);
  return {
    status: healthStatus[report.status],
    json,
    text: `${said}${sent}`,
    outcomes: [outcomeOf(run)],
  };
}

/** Runs the command. */
export async function monitorCommand(invocation: Invocation): Promise<CommandResult> {
  const action = readAction(invocation.operands);
  requireAlert(action, invocation);
  const { flags } = invocation;
  if (flags.test === true || flags['job-failed'] !== undefined) {
    const { alertFailedJob, testAlerts } = await import('./monitor_alert.ts');
    if (flags.test === true) return testAlerts(invocation);
    return alertFailedJob(invocation, watchedOf(invocation));
  }
  return watch(action, invocation);
}
