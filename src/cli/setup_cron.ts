/** The command scripts/setup_cron.ts: what is written, the question, and what came of it. */

import type { InstalledJob } from '../core/crontab.ts';
import { exitStatus } from '../core/errors.ts';
import { printable, printableText } from '../core/printable.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { isCronRunning } from '../operations/schedule/cron_daemon.ts';
import {
  type CrontabPlace,
  systemCrontab,
  userCrontab,
} from '../operations/schedule/crontab_place.ts';
import { checkOnce } from '../operations/schedule/first_check.ts';
import { settingsArguments } from '../operations/schedule/lasting_settings.ts';
import { requireNoOther } from '../operations/schedule/other_schedules.ts';
import {
  type CronPlan,
  type CronRequest,
  cronStatus,
  installCron,
  listCron,
  planCron,
  uninstallCron,
} from '../operations/schedule/setup_cron.ts';
import type { OsUser } from '../process/user.ts';
import type { CommandResult, Flags, Invocation } from './command.ts';
import { confirm } from './confirm.ts';
import { formatMoment, jobCells, jobDocument, jobTitles } from './job_cells.ts';
import { needRepository } from './open_context.ts';
import { actingUser, readScheduleAction, settingsPlaces } from './schedule_arguments.ts';
import { formatTable } from './table.ts';

/** What an action works with. */
interface Run {
  readonly invocation: Invocation;
  readonly context: RepositoryContext;
  readonly request: CronRequest;
  /** Who the jobs run as. */
  readonly user: OsUser;
}

/** A job with what cron runs for it. */
function jobText({ when, command }: InstalledJob): string {
  return printable(`${when} ${command}`);
}

function planLines({ place, before, after, jobs, leftOut }: CronPlan, user: string): string[] {
  return [
    ...(before === after
      ? [`${place.description} has the schedule already`]
      : [`writes into ${place.description}, for ${user}:`, ...jobs.map(jobText)]),
    ...leftOut.map(({ name, reason }) => `left out: ${name}, since ${reason}`),
  ];
}

async function install(run: Run): Promise<CommandResult> {
  const { invocation, context, request, user } = run;
  const { flags, world } = invocation;
  const own = flags.system === true ? 'cron.d' : 'crontab';
  await requireNoOther(context, own, user);
  const plan = await planCron(context, request);
  const { place, before, after, jobs, leftOut } = plan;
  const lines = planLines(plan, user.name);
  const isSame = before === after;
  if (flags.yes === true || isSame) for (const line of lines) context.log.step(line);
  else {
    const question = 'Install the schedule?';
    await confirm({ plan: lines, question, answer: 'yes', flag: '--yes', world });
  }
  const kept = await installCron(context, plan);
  if (!isSame) context.log.step(`installed ${jobs.length} jobs in ${place.description}`);
  if (kept !== null) context.log.detail(`the crontab from before is kept in ${kept}`);
  if ((await isCronRunning()) === false) {
    context.log.warn('no cron is running here: start it, on Debian: service cron start');
  }
  const check = await checkOnce(context, settingsArguments(request.settings));
  for (const line of check.lines) context.log.step(`monitor: ${printableText(line)}`);
  context.log.step(`the monitor's first look: ${check.verdict}`);
  return {
    status: exitStatus.done,
    json: {
      crontab: place.description,
      user: user.name,
      changed: !isSame,
      previous: kept,
      jobs: jobs.map(({ name, when, command }) => ({ name, when, command })),
      left_out: leftOut,
      monitor: { verdict: check.verdict, exit_status: check.exitStatus },
    },
  };
}

async function tellStatus({ context, request }: Run): Promise<CommandResult> {
  const { jobs, difference } = await cronStatus(context, request);
  if (difference !== null) context.log.warn(`${difference}: setup_cron.ts brings it up to date`);
  const isRunning = await isCronRunning();
  if (isRunning === false) context.log.warn('no cron is running here');
  const json = {
    installed: jobs.length > 0,
    up_to_date: difference === null,
    cron_running: isRunning,
    jobs: jobs.map(({ name, when, next, run }) => {
      return { name, when, next: next?.toISOString() ?? null, last_run: jobDocument(run) };
    }),
  };
  if (jobs.length === 0) {
    const text = `${request.place.description} has no schedule: setup_cron.ts installs it\n`;
    return { status: exitStatus.failed, json, text };
  }
  const now = context.clock();
  const rows = jobs.map(({ name, when, next, run }) => {
    return [name, when, next === null ? '-' : formatMoment(next), ...jobCells(run, now)];
  });
  const text = formatTable(['job', 'when', 'next run', ...jobTitles], rows);
  return { status: exitStatus.done, json, text };
}

async function tellList({ context, request }: Run): Promise<CommandResult> {
  const jobs = await listCron(context, request.place);
  const text = jobs.map((job) => `${jobText(job)}\n`).join('');
  return { status: exitStatus.done, json: { jobs }, text };
}

async function tellPlan({ context, request }: Run): Promise<CommandResult> {
  const { block, jobs, leftOut } = await planCron(context, request);
  for (const { name, reason } of leftOut) context.log.step(`left out: ${name}, since ${reason}`);
  return { status: exitStatus.done, json: { block, jobs, left_out: leftOut }, text: block };
}

async function takeOut({ invocation, context, request }: Run): Promise<CommandResult> {
  const { flags, world } = invocation;
  const { place } = request;
  const jobs = await listCron(context, place);
  if (flags.yes !== true && jobs.length > 0) {
    await confirm({
      plan: [`takes out of ${place.description}:`, ...jobs.map(jobText)],
      question: 'Take the schedule out?',
      answer: 'yes',
      flag: '--yes',
      world,
    });
  }
  const { wasInstalled, kept } = await uninstallCron(context, place);
  context.log.step(
    wasInstalled
      ? `took the schedule out of ${place.description}`
      : `${place.description} has no schedule of ${printable(context.repository.root)}`,
  );
  const json = { crontab: place.description, changed: wasInstalled, previous: kept };
  return { status: exitStatus.done, json };
}

async function placeOf(
  context: RepositoryContext,
  flags: Flags,
  user: string,
): Promise<CrontabPlace> {
  return flags.system === true ? systemCrontab() : userCrontab(context, user);
}

/** Runs the command. `status` ends with 3 where no schedule is installed. */
export async function setupCronCommand(invocation: Invocation): Promise<CommandResult> {
  const action = readScheduleAction(invocation.operands);
  const context = needRepository(invocation.context);
  const { flags } = invocation;
  const user = actingUser();
  const request: CronRequest = {
    place: await placeOf(context, flags, user.name),
    user: flags.system === true ? user.name : null,
    settings: settingsPlaces(invocation),
  };
  const run: Run = { invocation, context, request, user };
  switch (action) {
    case 'status':
      return tellStatus(run);
    case 'list':
      return tellList(run);
    case 'print':
      return tellPlan(run);
    case 'uninstall':
      return takeOut(run);
    default:
      return install(run);
  }
}
