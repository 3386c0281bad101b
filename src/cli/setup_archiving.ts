/** The command scripts/setup_archiving.ts: what is set, the question, and what came of it. */

import type { SettingChange } from '../core/archiving.ts';
import { exitStatus, HoldfastError } from '../core/errors.ts';
import { printable, printableText } from '../core/printable.ts';
import { quoteLiteral } from '../core/quote.ts';
import { formatAge } from '../core/units.ts';
import { describeClaim } from '../core/wal_claim.ts';
import {
  type ArchivingServer,
  withArchivingServer,
} from '../operations/archiving/archiving_server.ts';
import {
  type ArchivingStatus,
  type InstallPlan,
  install,
  planInstall,
  planUninstall,
  readStatus,
  uninstall,
} from '../operations/archiving/setup_archiving.ts';
import type { RepositoryContext } from '../operations/context.ts';
import type { CommandResult, Invocation } from './command.ts';
import { confirm } from './confirm.ts';
import { needRepository } from './open_context.ts';

const actions = ['install', 'status', 'print', 'uninstall', 'take-over'] as const;
type Action = (typeof actions)[number];

/** What an action works with. */
interface Run {
  readonly invocation: Invocation;
  readonly context: RepositoryContext;
  readonly server: ArchivingServer;
}

function readAction(operands: readonly string[]): Action {
  const [word = 'install', second] = operands;
  const action = actions.find((candidate) => candidate === word);
  if (action !== undefined && second === undefined) return action;
  throw new HoldfastError('USAGE', `no action is called ${JSON.stringify(second ?? word)}`, {
    hint: `Name one of ${actions.join(', ')}, or none for install.`,
  });
}

function statement({ name, value }: SettingChange): string {
  return `ALTER SYSTEM SET ${name} = ${quoteLiteral(value)};`;
}

function planLines({ server }: Run, plan: InstallPlan): string[] {
  const { archive, cluster } = server;
  return [
    `archives the WAL of ${server.description} into ${printable(archive)}`,
    `cluster ${printable(cluster)}, system ${server.facts.system_identifier}`,
    ...plan.foreign.map(({ name, coming }) => `replaces ${name} = ${printable(coming)}`),
    ...(plan.foreignClaim === null
      ? []
      : [`takes the archive from ${describeClaim(plan.foreignClaim)}`]),
    ...(plan.changes.length === 0
      ? ['the server is set to it already']
      : plan.changes.map((change) => printable(statement(change)))),
    ...effectLines(plan),
  ];
}

/** When it takes effect; nothing where nothing is changed and nothing waits. */
function effectLines({ changes, restart }: InstallPlan): string[] {
  if (restart.length > 0) {
    return [`the server has to be restarted afterwards, for ${restart.join(' and ')}`];
  }
  return changes.length === 0 ? [] : ['takes effect with a reload, which is done'];
}

async function installOrTakeOver(run: Run, takeOver: boolean): Promise<CommandResult> {
  const { invocation, context, server } = run;
  const { flags, world } = invocation;
  const plan = await planInstall(context, server, { force: flags.force === true, takeOver });
  const lines = planLines(run, plan);
  if (flags.yes === true) for (const line of lines) context.log.detail(line);
  else {
    const question = takeOver ? 'Take the archive over?' : 'Switch archiving on?';
    await confirm({ plan: lines, question, answer: 'yes', flag: '--yes', world });
  }
  const { claim, restart, arrived } = await install(context, server, plan);
  for (const { name, value } of plan.changes) context.log.step(`set ${name} = ${printable(value)}`);
  context.log.step(`the archive is claimed by ${describeClaim(claim)}`);
  if (arrived === null) {
    context.log.warn(
      `restart the server for ${restart.join(' and ')}, then: setup_archiving.ts status`,
    );
  } else {
    context.log.step(`archiving works: ${arrived} has arrived in the archive`);
  }
  const { changes } = plan;
  return { status: exitStatus.done, json: { claim, changes, restart_needed: restart, arrived } };
}

function statusLines(run: Run, status: ArchivingStatus): string[] {
  const { now, server } = { now: run.context.clock(), server: run.server };
  const { archiver, plan, claim, failure } = status;
  const age = (time: Date | null) =>
    time === null ? 'never' : `${formatAge((now.getTime() - time.getTime()) / 1000)} ago`;
  const last = (file: string | null, time: Date | null) =>
    file === null ? 'never' : `${printable(file)}, ${age(time)}`;
  return [
    `archiving of ${server.description}: ${stateOf(status)}`,
    `archive: ${printable(server.archive)}`,
    `claim: ${claim === null ? 'nobody has claimed it' : describeClaim(claim)}`,
    ...status.facts.map(({ name, current }) => `${name}: ${printable(current)}`),
    ...plan.changes.map((change) => `missing: ${printable(statement(change))}`),
    ...(plan.restart.length === 0 ? [] : [`restart needed for: ${plan.restart.join(', ')}`]),
    `last archived: ${last(archiver.lastArchived, archiver.lastArchivedAt)}`,
    `last failure: ${last(archiver.lastFailed, archiver.lastFailedAt)}`,
    `archived: ${archiver.archivedCount}, failures: ${archiver.failedCount}`,
    `waiting: ${archiver.waiting}`,
    ...(failure === null ? [] : [`why it fails: ${printableText(failure)}`]),
    ...nextLines(status),
  ];
}

/** A failure that is mended counts until the archiver has tried again, within a minute. */
function stateOf({ isWorking, archiver }: ArchivingStatus): string {
  if (!isWorking) return 'DOES NOT WORK';
  const { lastArchivedAt, lastFailedAt } = archiver;
  if (lastFailedAt !== null && lastFailedAt > (lastArchivedAt ?? new Date(0))) {
    return 'works again, the server tries what waits within a minute';
  }
  return lastArchivedAt === null ? 'is switched on, nothing has been archived yet' : 'works';
}

/** What to type where archiving is not switched on, or waits for a restart. */
function nextLines({ plan, claim }: ArchivingStatus): string[] {
  if (plan.changes.length > 0 || claim === null) {
    return ['next: scripts/setup_archiving.ts switches it on'];
  }
  if (plan.restart.length === 0) return [];
  return ['next: restart PostgreSQL, on Debian: systemctl restart postgresql'];
}

async function tellStatus(run: Run): Promise<CommandResult> {
  const status = await readStatus(run.context, run.server);
  const { facts, plan, claim, archiver, failure, isWorking } = status;
  const json = {
    working: isWorking,
    archive: run.server.archive,
    archive_command: run.server.command,
    claim,
    settings: Object.fromEntries(facts.map(({ name, current }) => [name, current])),
    missing: plan.changes,
    restart_needed: plan.restart,
    archiver: {
      archived_count: archiver.archivedCount,
      last_archived: archiver.lastArchived,
      last_archived_at: archiver.lastArchivedAt,
      failed_count: archiver.failedCount,
      last_failed: archiver.lastFailed,
      last_failed_at: archiver.lastFailedAt,
      waiting: archiver.waiting,
    },
    failure,
  };
  const text = statusLines(run, status).map((line) => `${line}\n`);
  const code = isWorking ? exitStatus.done : exitStatus.failed;
  return { status: code, json, text: text.join('') };
}

async function printPlan(run: Run): Promise<CommandResult> {
  const { plan } = await readStatus(run.context, run.server);
  const statements = plan.changes.map(statement);
  const after =
    plan.restart.length === 0 ? 'SELECT pg_reload_conf();' : '-- then restart the server';
  const lines = statements.length === 0 ? ['-- nothing is missing'] : [...statements, after];
  const json = { statements, restart_needed: plan.restart };
  return { status: exitStatus.done, json, text: lines.map((line) => `${line}\n`).join('') };
}

async function takeDown({ invocation, context, server }: Run): Promise<CommandResult> {
  const { flags, world } = invocation;
  const plan = await planUninstall(server);
  const { restored, kept, restart } = plan;
  const lines = [
    ...restored.map(({ name, before }) =>
      before === null ? `resets ${name}` : `sets ${name} = ${printable(before)}`,
    ),
    ...kept.map(({ name }) => `leaves ${name}: somebody has changed it since`),
  ];
  if (lines.length === 0) {
    context.log.step('nothing to give back: archiving was not switched on from here');
    return { status: exitStatus.done, json: { restored, kept, restart_needed: restart } };
  }
  if (flags.yes === true) for (const line of lines) context.log.detail(line);
  else {
    const question = 'Switch archiving off?';
    await confirm({ plan: lines, question, answer: 'yes', flag: '--yes', world });
  }
  await uninstall(server, plan);
  for (const line of lines) context.log.step(line);
  if (restart.length > 0) {
    context.log.warn(
      `restart the server soon, for ${restart.join(' and ')}: until then it keeps all its WAL`,
    );
  }
  return { status: exitStatus.done, json: { restored, kept, restart_needed: restart } };
}

/** Runs the command. `status` ends with 3 where archiving does not work. */
export async function setupArchivingCommand(invocation: Invocation): Promise<CommandResult> {
  const action = readAction(invocation.operands);
  const context = needRepository(invocation.context);
  return withArchivingServer(context, (server) => {
    const run: Run = { invocation, context, server };
    switch (action) {
      case 'status':
        return tellStatus(run);
      case 'print':
        return printPlan(run);
      case 'uninstall':
        return takeDown(run);
      default:
        return installOrTakeOver(run, action === 'take-over');
    }
  });
}
