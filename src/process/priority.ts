/** How far this process stands back for others on the machine. */

import { readdirSync } from 'node:fs';
import { getPriority, setPriority } from 'node:os';

/**
 * On Linux the nice value belongs to a thread, and setpriority(2) for a process reaches its first
 * one alone: those that already run are told one by one. What is started later inherits it.
 */
export function ownThreads(): number[] {
  try {
    return readdirSync('/proc/self/task').map(Number);
  } catch {
    // No Linux: there the value is the process's.
    return [process.pid];
  }
}

/**
 * Gives this process, and with it every program that it starts from now on, a nice value. One that
 * stands back already as far, or farther, stays as it is: only root may come forward again.
 *
 * @param nice 0 to 19; 19 stands back the farthest
 * @throws Node's SystemError
 */
export function standBack(nice: number): void {
  if (getPriority() >= nice) return;
  for (const thread of ownThreads()) {
    try {
      setPriority(thread, nice);
    } catch (error) {
      // It has ended meanwhile.
      if ((error as NodeJS.ErrnoException).code !== 'ERR_SYSTEM_ERROR' || thread === process.pid) {
        throw error;
      }
    }
  }
}
