/** Puts the schedule into a crontab and takes it out again (PRODUCT.md, "Commands"). */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type KnownJob, readJobs } from '../../catalog/jobs.ts';
import { withFileLock } from '../../catalog/lock.ts';
import {
  type CrontabText,
  crontabText,
  type InstalledJob,
  installedJobs,
  putBlock,
  readBlock,
  removeBlock,
} from '../../core/crontab.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import type { LeftOutJob } from '../../core/schedule.ts';
import { errorNumber } from '../../process/durable.ts';
import { nextRun } from '../../schedule/next_run.ts';
import { renderCrontab } from '../../schedule/render_cron.ts';
import type { RepositoryContext } from '../context.ts';
import { readTemplate } from '../template.ts';
import type { CrontabPlace } from './crontab_place.ts';
import { extraPath } from './job_path.ts';
import {
  requireLastingSettings,
  type SettingsPlaces,
  settingsArguments,
} from './lasting_settings.ts';
import { keepCrontab } from './old_crontabs.ts';
import { readSchedule } from './read_schedule.ts';
import { requireSystemZone, systemTimeZone } from './time_zone.ts';

const lockWaitMs = 30_000;

/** What is asked for. */
export interface CronRequest {
  readonly place: CrontabPlace;
  /** For the user field of a system's crontab; `null`: a user's own has none. */
  readonly user: string | null;
  readonly settings: SettingsPlaces;
}

/** What an installation would do. */
export interface CronPlan {
  readonly place: CrontabPlace;
  /** `null`: there is no crontab. */
  readonly before: CrontabText | null;
  readonly after: CrontabText;
  /** Both marks and the lines between them. */
  readonly block: string;
  readonly jobs: readonly InstalledJob[];
  readonly leftOut: readonly LeftOutJob[];
}

/** Who owns a folder; `null` where there is none: a plan makes none. */
async function ownerOf(root: string): Promise<number | null> {
  try {
    return (await stat(root)).uid;
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return null;
    throw toHoldfastError(error, `looking at ${root}`);
  }
}

/** Everything runs as the owner of the repository, and so does the crontab. */
async function requireOwner({ repository }: RepositoryContext): Promise<void> {
  const uid = await ownerOf(repository.root);
  const own = process.geteuid?.();
  if (uid === null || own === undefined || own === uid) return;
  const fact = `${repository.root} belongs to user ${uid}, and this is user ${own}`;
  throw new HoldfastError('WRONG_USER', fact, {
    hint: 'Start it as root or as the user that owns the repository.',
  });
}

/** The lines of the schedule. @throws HoldfastError CONFIG_INVALID, WRONG_USER */
async function render(context: RepositoryContext, { user, settings }: CronRequest) {
  const { config, repository, environment } = context;
  const schedule = await readSchedule(context);
  const { projectDir } = config;
  const block = renderCrontab(
    schedule,
    {
      scriptsDir: join(projectDir, 'scripts'),
      repository: repository.root,
      logMb: config.settings.log_max_mb,
      path: await extraPath(environment),
      settingsArgs: settingsArguments(settings),
      user,
    },
    readTemplate('crontab'),
  );
  return { block, leftOut: schedule.leftOut };
}

/**
 * What an installation would do; nothing is changed.
 *
 * @throws HoldfastError CONFIG_INVALID for settings that a schedule cannot have, CONFIG_UNREADABLE
 *   for damaged marks, WRONG_USER, CHILD_FAILED
 */
export async function planCron(
  context: RepositoryContext,
  request: CronRequest,
): Promise<CronPlan> {
  const { place, settings } = request;
  await requireOwner(context);
  await requireLastingSettings(context.config, settings);
  requireSystemZone(context.config.settings.schedule.time_zone, await systemTimeZone());
  const { block, leftOut } = await render(context, request);
  const before = await place.read();
  const after = putBlock(before, context.repository.root, block);
  return { place, before, after, block, jobs: installedJobs(crontabText(block)), leftOut };
}

/** Changes a crontab that is still what it was, and looks whether it has become what it should. */
async function change(
  context: RepositoryContext,
  place: CrontabPlace,
  before: CrontabText | null,
  after: CrontabText | null,
): Promise<string | null> {
  const lock = join(context.repository.stateDir, 'crontab.lock');
  return withFileLock(lock, { waitMs: lockWaitMs }, async () => {
    if ((await place.read()) !== before) {
      throw new HoldfastError('LOCKED', `somebody has changed ${place.description} meanwhile`, {
        hint: 'Nothing was written; start the command again.',
      });
    }
    const kept = before === null ? null : await keepCrontab(context, place, before);
    await place.write(after);
    const now = await place.read();
    // Some programs take no text without a line break at its end.
    if (now === after || now === `${after}\n`) return kept;
    throw new HoldfastError('CHILD_FAILED', `${place.description} is not what was written`, {
      hint: kept === null ? 'Look at it with crontab -l.' : `What it was before is in ${kept}.`,
    });
  });
}

/**
 * Carries a plan out.
 *
 * @returns where the crontab from before is kept; `null`: nothing was changed, or there was none
 * @throws HoldfastError LOCKED where somebody has changed it since the plan, CHILD_FAILED
 */
export async function installCron(
  context: RepositoryContext,
  { place, before, after }: CronPlan,
): Promise<string | null> {
  return before === after ? null : change(context, place, before, after);
}

/**
 * Takes the schedule out.
 *
 * @returns whether there was one, and where the crontab from before is kept
 * @throws HoldfastError CONFIG_UNREADABLE for damaged marks, CHILD_FAILED
 */
export async function uninstallCron(
  context: RepositoryContext,
  place: CrontabPlace,
): Promise<{ readonly wasInstalled: boolean; readonly kept: string | null }> {
  const before = await place.read();
  const after = before === null ? null : removeBlock(before, context.repository.root);
  if (before === after) return { wasInstalled: false, kept: null };
  return { wasInstalled: true, kept: await change(context, place, before, after) };
}

/** The jobs as they are installed. @throws HoldfastError CONFIG_UNREADABLE, CHILD_FAILED */
export async function listCron(
  { repository }: RepositoryContext,
  place: CrontabPlace,
): Promise<InstalledJob[]> {
  const text = await place.read();
  return installedJobs((text === null ? null : readBlock(text, repository.root)) ?? '');
}

/** An installed job, and how it is. */
export interface CronJobStatus extends InstalledJob {
  /** `null`: never within the next years. */
  readonly next: Date | null;
  /** `null`: it has never run. */
  readonly run: KnownJob | null;
}

/** How the schedule is. */
export interface CronStatus {
  readonly jobs: readonly CronJobStatus[];
  /** Why the settings would be installed otherwise now; `null`: they would not. */
  readonly difference: string | null;
}

/** What an installation would change; a setting that it would refuse is told in its words. */
async function differenceOf(
  context: RepositoryContext,
  request: CronRequest,
  jobs: readonly InstalledJob[],
): Promise<string | null> {
  try {
    const wanted = installedJobs(crontabText((await render(context, request)).block));
    if (JSON.stringify(wanted) === JSON.stringify(jobs)) return null;
    return 'the settings say another schedule than the one that is installed';
  } catch (error) {
    if (error instanceof HoldfastError) return error.message;
    throw error;
  }
}

/**
 * Reads how every installed job is.
 *
 * @throws HoldfastError CONFIG_UNREADABLE for damaged marks, CHILD_FAILED, STORE_REFUSED
 */
export async function cronStatus(
  context: RepositoryContext,
  request: CronRequest,
): Promise<CronStatus> {
  const installed = await listCron(context, request.place);
  const runs = await readJobs(context.repository.stateDir);
  const zone = await systemTimeZone();
  const jobs = await Promise.all(
    installed.map(
      async (job): Promise<CronJobStatus> => ({
        ...job,
        next: await nextRun(job.when, context.clock(), zone),
        run: runs.find(({ record }) => record.job === job.name) ?? null,
      }),
    ),
  );
  const difference = jobs.length === 0 ? null : await differenceOf(context, request, installed);
  return { jobs, difference };
}
