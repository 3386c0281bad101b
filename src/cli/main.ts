/** Runs a command in this process, which ends with its exit status. */

import { exitStatus, HoldfastError } from '../core/errors.ts';
import type { Command } from './command.ts';
import { executeCommand } from './execute.ts';

/** The signals that a person, cron or systemd ends a run with. */
const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs a command with the arguments of this process and ends it with the command's status. */
export async function runCommandLine(command: Command): Promise<never> {
  const { stdin, stdout, stderr } = process;
  // `list | head` closes the pipe: that is no failure of ours. A full disk under a file is one.
  let answerLost = false;
  stdout.on('error', (error: NodeJS.ErrnoException) => {
    answerLost = error.code !== 'EPIPE';
  });
  // Who reads along may go away: the run goes on, and the log file has it all.
  stderr.on('error', () => undefined);
  const status = await executeCommand(command, {
    argv: process.argv.slice(2),
    cwd: currentFolder(),
    stdin,
    stdout,
    stderr,
    signal: catchSignals(),
  });
  await new Promise((resolve) => stdout.write('', resolve));
  process.exit(answerLost && status === exitStatus.done ? exitStatus.failed : status);
}

/** The current folder, or `/` where it has been removed: only relative paths need it. */
function currentFolder(): string {
  try {
    return process.cwd();
  } catch {
    return '/';
  }
}

/**
 * The first signal asks the run to end in order: children are ended, half-written files removed.
 * A second one ends this process at once.
 */
function catchSignals(): AbortSignal {
  const controller = new AbortController();
  for (const name of endingSignals) {
    process.on(name, () => {
      if (controller.signal.aborted) process.exit(exitStatus.interrupted);
      controller.abort(
        new HoldfastError('INTERRUPTED', `interrupted by ${name}`, {
          hint: 'What was under way has left nothing behind; start the command again.',
          details: { signal: name },
        }),
      );
    });
  }
  return controller.signal;
}
