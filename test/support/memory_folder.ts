/** A place in memory for the servers and repositories of tests: a third less processor time. */

import { readFileSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';

const shared = '/dev/shm';
/** For the servers of all the files that run at a time. */
const freeBytesMin = 4 * 2 ** 30;

function isSuitable(): boolean {
  try {
    const { bavail, bsize } = statfsSync(shared);
    const mount = readFileSync('/proc/mounts', 'utf8')
      .split('\n')
      .findLast((line) => line.split(' ')[1] === shared);
    // Hooks are executed from there.
    const isExecutable = mount !== undefined && !/\bnoexec\b/.test(mount.split(' ')[3] ?? '');
    return isExecutable && bavail * bsize > freeBytesMin && freemem() > 2 * freeBytesMin;
  } catch {
    return false;
  }
}

/** `null` where there is none, or not enough of it. */
export const memoryFolder: string | null = isSuitable() ? shared : null;
