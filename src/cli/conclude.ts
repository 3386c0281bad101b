/**
 * What comes around the work of a command: the record of a job, the watchdog's pings, the alerts.
 * Each is loaded only where it is set up, and none of it changes how the command ends.
 */

import type { Job, JobRecord } from '../catalog/jobs.ts';
import { hasChannels } from '../config/alert_settings.ts';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { Context } from '../operations/context.ts';
import type { Command, CommandResult, Flags, World } from './command.ts';
import { hasRepository } from './open_context.ts';

/** A run that has begun, as far as others are told of it. */
export interface BegunRun {
  readonly command: Command;
  readonly flags: Flags;
  readonly world: World;
  readonly context: Context;
}

/** What was begun around the work. */
export interface Frame {
  readonly job: Job | null;
  /** The ping at the beginning: the one at the end comes after it. */
  readonly pinged: Promise<void> | null;
}

/** A run without a job, or whose job could not be begun. */
export const noFrame: Frame = { job: null, pinged: null };

/** With these a command changes nothing and answers to whoever asked. */
const questionFlags = ['test', 'dry-run', 'list', 'verify-only', 'status', 'index'];

function jobOf(flags: Flags): string | null {
  return typeof flags.job === 'string' ? flags.job : null;
}

/** The watchdog hears of the full backups of the schedule. */
function hasWatchdog({ command, flags, context }: BegunRun): boolean {
  const { heartbeat_url: url } = context.config.settings.alerts;
  return command.event === 'backup' && jobOf(flags) !== null && url !== null;
}

async function ping(context: Context, heartbeat: 'start' | 'success' | 'fail'): Promise<void> {
  const { pingWatchdog } = await import('../operations/alerts/report_run.ts');
  await pingWatchdog(context, heartbeat);
}

/** Records that the job begins. A record that cannot be written is told, and fails no backup. */
async function recordJob({ command, flags, context }: BegunRun): Promise<Job | null> {
  const name = jobOf(flags);
  if (name === null) return null;
  const { beginJob, jobNamePattern } = await import('../catalog/jobs.ts');
  if (!jobNamePattern.test(name)) {
    throw new HoldfastError('USAGE', `--job ${JSON.stringify(name)} is no name of a job`, {
      hint: 'Letters, digits, - and _: scripts/setup_cron.ts list tells the jobs.',
    });
  }
  if (!hasRepository(context)) return null;
  const { repository, runId, clock, log } = context;
  const { stateDir } = repository;
  try {
    const startedAt = clock();
    return await beginJob({ stateDir, job: name, runId, command: command.name, startedAt });
  } catch (thrown) {
    const error = toHoldfastError(thrown);
    if (error.code === 'LOCKED') throw error;
    log.warn(`the run of the job ${name} is not recorded: ${error.message}`);
    return null;
  }
}

/**
 * Begins what comes around the work.
 *
 * @throws HoldfastError LOCKED while the job runs already; USAGE for a name that is none
 */
export async function beginFrame(run: BegunRun): Promise<Frame> {
  const job = await recordJob(run);
  // Nobody waits for it: a watchdog that is down does not hold up a backup.
  return { job, pinged: hasWatchdog(run) ? ping(run.context, 'start') : null };
}

async function endJob(
  { command, context }: BegunRun,
  { job }: Frame,
  status: number,
  error: HoldfastError | null,
): Promise<void> {
  // The statuses of a monitor that came to its end are what it found.
  const isSuccess = status === 0 || (command.event === 'monitor' && error === null);
  try {
    await job?.end(status, context.clock(), isSuccess);
  } catch (error) {
    context.log.warn(`the end of the run is not recorded: ${toHoldfastError(error).message}`);
  }
}

function diedOf(died: JobRecord | null | undefined) {
  return died == null ? null : { runId: died.run_id, startedAt: died.started_at };
}

/**
 * Ends what came around the work, and tells whoever listens how it ended. It never throws, and
 * waits for a bounded time only.
 *
 * @param error what ended the run as a whole, or `null`
 */
export async function endFrame(
  run: BegunRun,
  frame: Frame,
  { status, outcomes }: CommandResult,
  error: HoldfastError | null,
): Promise<void> {
  const { command, context, flags, world } = run;
  await endJob(run, frame, status, error);
  const { event } = command;
  if (event === undefined) return;
  // A run that found another one at work says nothing of how that goes.
  const pings = hasWatchdog(run) && error?.code !== 'LOCKED';
  const pinging = pings
    ? (frame.pinged ?? Promise.resolve()).then(() =>
        ping(context, status === 0 ? 'success' : 'fail'),
      )
    : null;
  if (hasChannels(context.config.settings.alerts)) {
    const { reportRun } = await import('../operations/alerts/report_run.ts');
    const job = jobOf(flags);
    const isTerminal = world.stdin.isTTY === true || world.stderr.isTTY === true;
    await reportRun(context, {
      event,
      command: command.name,
      job,
      isAttended: job === null && isTerminal,
      isQuestion: questionFlags.some((flag) => flags[flag] === true),
      outcomes: outcomes ?? null,
      error,
      died: diedOf(frame.job?.died),
    });
  }
  await pinging;
}
