/** Ends a process that another run of ours has started and left behind. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type ProcessIdentity, processState } from './identity.ts';

/** How long it may take after SIGTERM before it is killed. */
const graceMs = 10_000;
const pollMs = 50;

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended meanwhile, or belongs to somebody else: the state tells.
  }
}

/**
 * Ends a process, and no other that has its number by now.
 *
 * @returns whether it was running and has ended
 */
export async function endProcess(identity: ProcessIdentity): Promise<boolean> {
  if (processState(identity) !== 'alive') return false;
  send(identity.pid, 'SIGTERM');
  for (let waitedMs = 0; waitedMs < 2 * graceMs; waitedMs += pollMs) {
    if (processState(identity) !== 'alive') return true;
    if (waitedMs === graceMs) send(identity.pid, 'SIGKILL');
    await sleep(pollMs);
  }
  return false;
}
