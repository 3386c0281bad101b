/** How far this process stands back for others at the disks of the machine. */

import { HoldfastError } from '../core/errors.ts';
import { ownThreads } from './priority.ts';
import { runCommand } from './run.ts';

/** ioprio_set(2): what a disk does first where its scheduler asks; BFQ does, others do not. */
const ioArguments = {
  'best-effort': ['--class', 'best-effort', '--classdata', '7'],
  idle: ['--class', 'idle'],
} as const;

/** The classes that a process may give itself. */
export type IoClass = keyof typeof ioArguments;

/**
 * Gives this process, and with it every program that it starts from now on, a class of disk access,
 * by util-linux's ionice: Node has no call for it. Like the nice value it belongs to a thread.
 *
 * @throws HoldfastError PROGRAM_MISSING, CHILD_FAILED with what ionice says
 */
export async function standBackFromDisk(
  ioClass: IoClass,
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  // A thread that has ended meanwhile is no failure: --ignore.
  const pids = ownThreads().map(String);
  const args = [...ioArguments[ioClass], '--ignore', '--pid', ...pids];
  const { status, stderr } = await runCommand('ionice', args, { environment });
  if (status === 0) return;
  throw new HoldfastError('CHILD_FAILED', `ionice ended with ${status}: ${stderr.trim()}`);
}
