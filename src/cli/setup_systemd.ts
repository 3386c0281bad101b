/** The command scripts/setup_systemd.ts: what is installed, the question, and how the jobs are. */

import { readJobs } from '../catalog/jobs.ts';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { printable } from '../core/printable.ts';
import type { Schedule } from '../core/schedule.ts';
import { formatCount } from '../core/units.ts';
import type { RepositoryContext } from '../operations/context.ts';
import { requireLastingSettings } from '../operations/schedule/lasting_settings.ts';
import { requireNoOther } from '../operations/schedule/other_schedules.ts';
import { readSchedule } from '../operations/schedule/read_schedule.ts';
import {
  findSystemd,
  lingers,
  requireCredentials,
  type Systemd,
} from '../operations/schedule/systemd.ts';
import { describeHost } from '../operations/schedule/systemd_host.ts';
import {
  readUnitStatus,
  runService,
  type UnitStatus,
} from '../operations/schedule/systemd_status.ts';
import {
  installUnits,
  ourUnits,
  planUnits,
  readUnits,
  type UnitPlan,
  uninstallUnits,
} from '../operations/schedule/systemd_units.ts';
import { readTemplate } from '../operations/template.ts';
import { asRoot, isRoot, type OsUser } from '../process/user.ts';
import { renderSystemd, type UnitFile, unitName } from '../schedule/render_systemd.ts';
import type { CommandResult, Invocation } from './command.ts';
import { confirm } from './confirm.ts';
import { formatMoment, jobCells, jobDocument, jobTitles } from './job_cells.ts';
import { needRepository } from './open_context.ts';
import {
  actingUser,
  readScheduleAction,
  type ScheduleAction,
  settingsPlaces,
} from './schedule_arguments.ts';
import { formatTable } from './table.ts';

/** What an action works with. */
interface Run {
  readonly invocation: Invocation;
  readonly context: RepositoryContext;
  /** Who runs the jobs. */
  readonly user: OsUser;
  readonly isUserManager: boolean;
}

async function requireRoot({ isUserManager }: Run): Promise<void> {
  if (isUserManager || (await asRoot(async () => isRoot()))) return;
  throw new HoldfastError('WRONG_USER', 'only root installs services of the system', {
    hint: 'Type it with sudo; or with --user, for the systemd of this user.',
  });
}

function systemdOf({ context, user, isUserManager }: Run): Promise<Systemd> {
  return findSystemd(context, isUserManager ? user : null);
}

/** The units that the settings ask for. */
async function renderUnits(run: Run, schedule: Schedule): Promise<UnitFile[]> {
  const { invocation, context, user, isUserManager } = run;
  const places = settingsPlaces(invocation);
  await asRoot(() => requireLastingSettings(context.config, places, user.home));
  const host = await describeHost(context, { user, isUserManager, places });
  return renderSystemd(schedule, host, readTemplate);
}

function leftOutLines({ leftOut }: Schedule): string[] {
  return leftOut.map(({ name, reason }) => `left out: ${name}, since ${reason}`);
}

function planLines(run: Run, systemd: Systemd, schedule: Schedule, plan: UnitPlan): string[] {
  const { context, user } = run;
  const { write, remove } = plan;
  const zone = schedule.timeZone === null ? '' : ` ${schedule.timeZone}`;
  return [
    `runs as ${user.name}, from ${printable(context.config.projectDir)}:`,
    ...schedule.jobs.map(
      ({ when, script, args }) => `${when}${zone} ${[script, ...args].join(' ')}`,
    ),
    ...leftOutLines(schedule),
    ...(write.length === 0 ? [`${systemd.unitDir} has all of it already`] : []),
    ...write.map(({ name }) => `writes ${systemd.unitDir}/${name}`),
    ...remove.map((name) => `removes ${systemd.unitDir}/${name}`),
  ];
}

/** What the monitor says right after, as a person would look; its findings are no failure here. */
async function firstLook({ context }: Run, systemd: Systemd): Promise<CommandResult['json']> {
  const { log, repository } = context;
  const from = context.clock();
  const service = `${unitName('monitor')}.service`;
  const { exitStatus: status, result, lines } = await runService(systemd, service);
  for (const line of lines) log.detail(line);
  const words = ['all is well', 'a warning', 'something is critical', 'not all could be asked'];
  // What it could not even begin has left no record: its status is that of an error then.
  const jobs = await readJobs(repository.stateDir);
  const ended = jobs.find(({ record }) => record.job === 'monitor')?.record.finished_at ?? '';
  const hasRun = Date.parse(ended) >= from.getTime();
  const said = hasRun && status !== null ? words[status] : undefined;
  if (said === undefined) {
    const why = lines.filter((line) => line.startsWith('error: ')).join('; ');
    log.warn(`the monitor did not run (${why || result}): journalctl --unit=${service}`);
  } else if (status === 0) log.step(`the monitor has run: ${said}`);
  else log.step(`the monitor has run: ${said}; scripts/monitor_backups.ts tells what`);
  return { has_run: said !== undefined, exit_status: status, result };
}

function unitsJson(units: readonly UnitStatus[]) {
  return units.map(({ job, service, isActive, isEnabled, next, state, result, run }) => ({
    job,
    unit: service,
    active: isActive,
    enabled: isEnabled,
    next,
    state,
    result,
    last_run: jobDocument(run),
  }));
}

async function install(run: Run): Promise<CommandResult> {
  const { invocation, context, user } = run;
  const { flags, world } = invocation;
  const { log, repository } = context;
  const systemd = await systemdOf(run);
  await requireRoot(run);
  await requireNoOther(context, 'systemd', user);
  const schedule = await readSchedule(context);
  const files = await renderUnits(run, schedule);
  await requireCredentials(systemd, files);
  const plan = await planUnits(systemd, files);
  const lines = planLines(run, systemd, schedule, plan);
  if (flags.yes === true) for (const line of lines) log.detail(line);
  else await confirm({ plan: lines, question: 'Install it?', answer: 'yes', flag: '--yes', world });
  await installUnits(systemd, plan);
  const units = await readUnitStatus(systemd, repository.stateDir);
  log.step(`installed ${formatCount(units.length, 'job')} in ${systemd.unitDir}`);
  for (const { job, next } of units) {
    log.step(next === null ? `${job}: runs` : `${job}: runs next at ${next}`);
  }
  for (const line of leftOutLines(schedule)) log.step(line);
  if (systemd.isUser && !lingers(user)) {
    log.warn(`it runs only while ${user.name} is logged in: loginctl enable-linger ${user.name}`);
  }
  const hasMonitor = schedule.jobs.some(({ name }) => name === 'monitor');
  const monitor = hasMonitor ? await firstLook(run, systemd) : null;
  const json = {
    installed: files.map(({ name }) => name),
    written: plan.write.map(({ name }) => name),
    removed: plan.remove,
    left_out: schedule.leftOut,
    jobs: unitsJson(units),
    monitor,
  };
  return { status: exitStatus.done, json };
}

/** When a job runs next, or why it does not. */
function nextCell({ isActive, isEnabled, next }: UnitStatus): string {
  if (!isActive) return 'NOT ACTIVE';
  if (!isEnabled) return 'NOT ENABLED';
  return next === null ? 'resident' : formatMoment(new Date(next));
}

async function tellStatus(run: Run): Promise<CommandResult> {
  const { repository, clock } = run.context;
  const systemd = await systemdOf(run);
  const units = await readUnitStatus(systemd, repository.stateDir);
  const isActive = units.every((unit) => unit.isActive && unit.isEnabled);
  const status = units.length > 0 && isActive ? exitStatus.done : exitStatus.failed;
  const json = { exit_status: status, jobs: unitsJson(units) };
  if (units.length === 0) {
    const text = `${systemd.unitDir} has no schedule: setup_systemd.ts installs it\n`;
    return { status, json, text };
  }
  const rows = units.map((unit) => {
    const state = unit.state === 'failed' ? `failed (${unit.result})` : unit.state;
    return [unit.job, nextCell(unit), ...jobCells(unit.run, clock()), state];
  });
  return { status, json, text: formatTable(['job', 'next run', ...jobTitles, 'service'], rows) };
}

async function tellList(run: Run): Promise<CommandResult> {
  const units = await readUnits(await systemdOf(run));
  const lines = units.map(({ name, starts }) => `${name}: ${printable(starts.join('; '))}\n`);
  return { status: exitStatus.done, json: { units }, text: lines.join('') };
}

async function printUnits(run: Run): Promise<CommandResult> {
  const files = await renderUnits(run, await readSchedule(run.context));
  const text = files.map(({ name, text: unit }) => `### ${name}\n${unit}`).join('\n');
  const units = Object.fromEntries(files.map(({ name, text: unit }) => [name, unit]));
  return { status: exitStatus.done, json: { units }, text };
}

async function takeDown(run: Run): Promise<CommandResult> {
  const { invocation, context } = run;
  const { flags, world } = invocation;
  const systemd = await systemdOf(run);
  await requireRoot(run);
  const names = await ourUnits(systemd);
  const lines = names.map((name) => `removes ${systemd.unitDir}/${name}`);
  if (flags.yes === true || names.length === 0) for (const line of lines) context.log.detail(line);
  else {
    const plan = [...lines, 'the repository and its backups stay as they are'];
    await confirm({ plan, question: 'Remove it?', answer: 'yes', flag: '--yes', world });
  }
  const removed = await uninstallUnits(systemd);
  context.log.step(
    removed.length === 0
      ? 'nothing of ours was installed'
      : `removed ${formatCount(removed.length, 'unit')} from ${systemd.unitDir}`,
  );
  return { status: exitStatus.done, json: { removed } };
}

const handlers = {
  install,
  status: tellStatus,
  list: tellList,
  uninstall: takeDown,
  print: printUnits,
} as const satisfies Record<ScheduleAction, (run: Run) => Promise<CommandResult>>;

/** Runs the command. `status` ends with 3 where not all that is installed is active. */
export async function setupSystemdCommand(invocation: Invocation): Promise<CommandResult> {
  const action = readScheduleAction(invocation.operands);
  const context = needRepository(invocation.context);
  const isUserManager = invocation.flags.user === true;
  return handlers[action]({ invocation, context, user: actingUser(), isUserManager });
}
