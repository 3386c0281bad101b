/** Runs one command from its arguments to its exit status, without ending the process. */

import { styleText } from 'node:util';
import { hasChannels } from '../config/alert_settings.ts';
import { type ExitStatus, exitStatus, HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { Log } from '../process/console.ts';
import type { Command, CommandResult, World } from './command.ts';
import type { BegunRun, Frame } from './conclude.ts';
import { errorDocument } from './error_document.ts';
import { commonOptions, settingOptions } from './options.ts';

/**
 * Runs a command.
 *
 * @returns the exit status; what there was to say has been written
 */
export async function executeCommand(command: Command, world: World): Promise<ExitStatus> {
  const { argv, stdout } = world;
  let log: Log | null = null;
  let run: BegunRun | null = null;
  let frame: Frame | null = null;
  let result: CommandResult;
  let error: HoldfastError | null = null;
  try {
    const { createParser } = await import('./parser.ts');
    const parsed = await createParser(command, commonOptions, settingOptions).parse(argv);
    if (parsed.answer !== null) {
      stdout.write(`${parsed.answer}\n`);
      return exitStatus.done;
    }
    const { openContext } = await import('./open_context.ts');
    const { flags, operands } = parsed;
    const plans = command.onlyPlans?.(operands) === true;
    const acting: Command = plans ? { ...command, repository: 'plan' } : command;
    const opened = await openContext(acting, flags, world, {
      log(created) {
        log = created;
      },
      context(context) {
        run = { command, flags, world, context };
      },
    });
    const { context, problem } = opened;
    run = { command, flags, world, context };
    frame = await begin(run);
    result = await opened.run(() => command.run({ context, flags, operands, world, problem }));
  } catch (thrown) {
    error = errorOf(thrown, world);
    result = failure(command, error, log, world);
  }
  if (argv.includes('--json')) stdout.write(`${JSON.stringify(result.json, null, 2)}\n`);
  else if (result.text !== undefined) stdout.write(result.text);
  if (run !== null) await conclude(run, frame, result, error);
  return result.status;
}

/** Whether anything but the command itself takes part: most runs load nothing of it. */
function hasFrame({ command, flags, context }: BegunRun): boolean {
  if (flags.job !== undefined) return true;
  return command.event !== undefined && hasChannels(context.config.settings.alerts);
}

async function begin(run: BegunRun): Promise<Frame | null> {
  if (!hasFrame(run)) return null;
  const { beginFrame } = await import('./conclude.ts');
  return beginFrame(run);
}

async function conclude(
  run: BegunRun,
  frame: Frame | null,
  result: CommandResult,
  error: HoldfastError | null,
): Promise<void> {
  if (!hasFrame(run)) return;
  const { endFrame, noFrame } = await import('./conclude.ts');
  await endFrame(run, frame ?? noFrame, result, error);
}

/** What was thrown, or the signal that it came of. */
function errorOf(thrown: unknown, { signal }: World): HoldfastError {
  return signal.aborted && signal.reason instanceof HoldfastError
    ? signal.reason
    : toHoldfastError(thrown);
}

/** Tells an error and gives the result that stands for it. */
function failure(
  command: Command,
  error: HoldfastError,
  log: Log | null,
  { stderr }: World,
): CommandResult {
  if (log === null) printError(error, command.name, stderr);
  else log.error(error);
  return { status: error.status, json: errorDocument(error) };
}

/** Tells an error before there is a log: a wrong flag, a wrong setting. */
function printError(error: HoldfastError, name: string, stderr: World['stderr']): void {
  const paint = (style: 'red' | 'cyan', text: string) =>
    stderr.isTTY === true ? styleText(style, text, { stream: stderr }) : text;
  stderr.write(`${paint('red', 'error: ')}${error.message}\n`);
  const hint =
    error.hint ?? (error.code === 'USAGE' ? `Type ${name} --help for what it takes.` : undefined);
  if (hint !== undefined) stderr.write(`${paint('cyan', 'hint: ')}${hint}\n`);
}
