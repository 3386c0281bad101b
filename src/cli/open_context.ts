/** Opens what a command works with: settings, user, repository, log. */

import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { createCatalog } from '../catalog/catalog.ts';
import { noRepository, openRepository, type Repository } from '../catalog/repository.ts';
import { type Config, loadConfig } from '../config/load.ts';
import { storesOf } from '../config/stores.ts';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { redactPasswords } from '../core/secret.ts';
import type { Context, RepositoryContext } from '../operations/context.ts';
import { createConsole, type Log, type Verbosity } from '../process/console.ts';
import { openLogFile } from '../process/log_file.ts';
import { standBack } from '../process/priority.ts';
import { within } from '../process/within.ts';
import type { Command, CommandResult, Flags, World } from './command.ts';
import type { CommonFlags } from './options.ts';
import { runAsOwner } from './run_as_owner.ts';
import { projectDir, toolVersion } from './version.ts';

/** A context, and what runs a command in it with a first and a last line in the log. */
export interface OpenedContext {
  readonly context: Context;
  /** Why there is no repository in it, for a command that watches it. */
  readonly problem: HoldfastError | null;
  readonly run: (work: () => Promise<CommandResult>) => Promise<CommandResult>;
}

/** Hears of what is open already, while the rest is being opened. */
export interface OpeningListener {
  log(log: Log): void;
  context(context: Context): void;
}

function verbosityOf(flags: CommonFlags): Verbosity {
  if (flags.quiet) return 'quiet';
  return flags.verbose ? 'verbose' : 'normal';
}

async function readConfig(
  command: Command,
  flags: CommonFlags & Flags,
  { environment, cwd }: World,
): Promise<Config> {
  const { ownSettings } = command;
  const settingFlags: Record<string, string | undefined> = { ...ownSettings };
  for (const name of ['backup-dir', ...command.settings]) {
    const value = flags[name];
    if (typeof value === 'string') settingFlags[name] = value;
  }
  return loadConfig({
    flags: settingFlags,
    envFile: flags['env-file'],
    configFile: flags.config,
    flagsOnly: ownSettings !== undefined,
    cwd,
    projectDir,
    ...(environment === undefined ? {} : { environment }),
  });
}

/** A file server that is dead keeps nobody from hearing of it. */
const watchSecondsMax = 60;

/** Opens the repository for a command that tells why it cannot be opened. */
async function openWatched(config: Config, now: Date): Promise<Repository | HoldfastError> {
  const root = config.settings.backup_dir;
  const late = () =>
    new HoldfastError('STORE_UNREACHABLE', `${root} did not answer in ${watchSecondsMax} s`, {
      hint: 'Look at its file system: df and ls hang, too, where a file server is gone.',
    });
  try {
    const stores = storesOf(config.settings);
    const opening = openRepository(root, { create: false, now, stores });
    return await within(watchSecondsMax * 1000, opening, late);
  } catch (error) {
    return toHoldfastError(error, `opening the repository in ${root}`);
  }
}

/**
 * Opens the repository as the command wants it; `null` where it can go without one, the error where
 * it is told of it.
 */
async function openFor(
  command: Command,
  config: Config,
  now: Date,
  log: Log,
): Promise<Repository | HoldfastError | null> {
  const root = config.settings.backup_dir;
  if (command.repository === 'look') return null;
  if (command.repository === 'watch') return openWatched(config, now);
  try {
    const { repository: use } = command;
    const create = use === 'plan' ? 'plan' : use === 'create';
    return await openRepository(root, { create, now, stores: storesOf(config.settings) });
  } catch (error) {
    if (!(error instanceof HoldfastError) || command.repository !== 'optional') throw error;
    if (error.code === 'BACKUP_NOT_FOUND') return null;
    // On a new machine only other stores know of a repository; a file is restored without them.
    if (error.code !== 'STORE_UNREACHABLE') throw error;
    log.warn(error.message);
    return null;
  }
}

function warnOfLog(log: Log, error: unknown): void {
  log.warn(`this run has no whole log file: ${toHoldfastError(error).message}`);
}

/** The log of a run is worth a warning when it cannot be written, never the run. */
function attachLog(log: Log, repository: Repository, command: Command, context: Context): void {
  const { log_keep_days: keepDays, log_max_mb: maxMb } = context.config.settings;
  try {
    const file = openLogFile({
      directory: repository.logsDir,
      command: command.name,
      runId: context.runId,
      host: context.host,
      now: context.clock(),
      keepDays,
      bytesMax: maxMb * 1e6,
      onFailure: (error) => warnOfLog(log, error),
    });
    log.attach(file);
  } catch (error) {
    warnOfLog(log, error);
  }
}

/** A machine that does not allow it is worth a warning, never the run. */
async function standBackAsSet(
  log: Log,
  { settings }: Config,
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  try {
    standBack(settings.nice);
  } catch (error) {
    log.warn(`nice (NICE) has no effect: ${toHoldfastError(error).message}`);
  }
  const { io_class: ioClass } = settings;
  if (ioClass === 'none') return;
  try {
    const { standBackFromDisk } = await import('../process/disk_priority.ts');
    await standBackFromDisk(ioClass, environment);
  } catch (error) {
    log.warn(`io_class (IONICE) has no effect: ${toHoldfastError(error).message}`);
  }
}

/**
 * Opens the context of a command.
 *
 * @param onOpened told of the log as soon as there is one, so that every error finds it, and of the
 *   context before its repository is opened, so that others hear where that fails
 * @throws HoldfastError CONFIG_…, WRONG_USER, BACKUP_NOT_FOUND (no repository), STORE_…
 */
export async function openContext(
  command: Command,
  given: Flags,
  world: World,
  onOpened: OpeningListener,
): Promise<OpenedContext> {
  const flags: CommonFlags & Flags = given;
  const stopwatchMs = () => performance.now();
  const log = createConsole({
    stream: world.stderr,
    verbosity: verbosityOf(flags),
    clock: stopwatchMs,
  });
  onOpened.log(log);
  const read = await readConfig(command, flags, world);
  if (command.repository !== 'look') for (const warning of read.warnings) log.warn(warning);
  const environment = {
    ...read.environment,
    ...(await runAsOwner(read, log, command.root?.(flags), command.repository !== 'plan')),
  };
  await standBackAsSet(log, read, environment);
  const config = { ...read, environment };
  const clock = () => new Date();
  const base: Context = {
    config,
    log,
    runId: randomUUID(),
    clock,
    stopwatch: () => stopwatchMs() / 1000,
    randomBytes,
    signal: world.signal,
    environment,
    host: hostname(),
    pid: process.pid,
    toolVersion: toolVersion(),
    keys: {
      identityFile: config.settings.age_identity_file,
      gpgHome: config.settings.gpg_home,
      askIdentity:
        command.asksIdentity === true
          ? async (recipients) => (await import('./ask_identity.ts')).askIdentity(world, recipients)
          : undefined,
    },
  };
  onOpened.context(base);
  const repository = await openFor(command, config, clock(), log);
  if (repository === null || repository instanceof HoldfastError) {
    return { context: base, problem: repository, run: (work) => work() };
  }
  if (command.repository !== 'plan' || existsSync(repository.logsDir)) {
    attachLog(log, repository, command, base);
  }
  const catalog = createCatalog(repository.storage);
  const context: RepositoryContext = { ...base, repository, catalog };
  return { context, problem: null, run: (work) => runLogged(context, world.argv, work) };
}

/** The first and the last line of a run in its log. */
async function runLogged(
  context: Context,
  argv: readonly string[],
  work: () => Promise<CommandResult>,
): Promise<CommandResult> {
  const startedSeconds = context.stopwatch();
  context.log.trace('begins', {
    arguments: argv.map(redactPasswords),
    version: context.toolVersion,
  });
  const end = (exitStatus: number) => {
    const seconds = Math.round((context.stopwatch() - startedSeconds) * 1000) / 1000;
    context.log.trace('ends', { exit_status: exitStatus, duration_seconds: seconds });
  };
  try {
    const result = await work();
    end(result.status);
    return result;
  } catch (error) {
    end(toHoldfastError(error).status);
    throw error;
  }
}

/** Whether a context has a repository. */
export function hasRepository(context: Context): context is RepositoryContext {
  return 'repository' in context;
}

/** The context of a command that needs a repository, which {@link openContext} has opened. */
export function needRepository(context: Context): RepositoryContext {
  if (hasRepository(context)) return context;
  throw noRepository(context.config.settings.backup_dir);
}
