/** Runs one command from its arguments to its exit status, without ending the process. */

import { styleText } from 'node:util';
import { type ExitStatus, exitStatus, HoldfastError, toHoldfastError } from '../core/errors.ts';
import type { Log } from '../process/console.ts';
import type { Command, CommandResult, World } from './command.ts';
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
  let result: CommandResult;
  try {
    const { createParser } = await import('./parser.ts');
    const parsed = await createParser(command, commonOptions, settingOptions).parse(argv);
    if (parsed.answer !== null) {
      stdout.write(`${parsed.answer}\n`);
      return exitStatus.done;
    }
    const { openContext } = await import('./open_context.ts');
    const { flags, operands } = parsed;
    const opened = await openContext(command, flags, world, (created) => {
      log = created;
    });
    const { context, problem } = opened;
    result = await opened.run(() => command.run({ context, flags, operands, world, problem }));
  } catch (thrown) {
    result = failure(command, thrown, log, world);
  }
  if (argv.includes('--json')) stdout.write(`${JSON.stringify(result.json, null, 2)}\n`);
  else if (result.text !== undefined) stdout.write(result.text);
  return result.status;
}

/** Tells an error and gives the result that stands for it. */
function failure(
  command: Command,
  thrown: unknown,
  log: Log | null,
  { signal, stderr }: World,
): CommandResult {
  const error =
    signal.aborted && signal.reason instanceof HoldfastError
      ? signal.reason
      : toHoldfastError(thrown);
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
