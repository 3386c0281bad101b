/** The memory of alerts on the disk: one file, changed by one process at a time. */

import { readFile, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { withFileLock } from '../../catalog/lock.ts';
import { type AlertMemory, emptyMemory, parseAlertMemory } from '../../core/alert_memory.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { documentBytes } from '../../core/validate.ts';
import { errorNumber, makeFolders, replaceFile } from '../../process/durable.ts';
import { within } from '../../process/within.ts';

/** A change takes milliseconds: who waits longer than this waits for a process that hangs. */
const lockWaitMs = 3000;

/** A file system that hangs must not keep an alert from going out. */
const diskMsMax = 5000;

/** Where the memory is, and what became of one that could not be read. */
export interface MemoryFile {
  /**
   * Changes the memory durably, while no other process does.
   *
   * @param change pure; it may be given a memory that another process has just changed
   * @throws HoldfastError LOCKED, NO_SPACE, STORE_REFUSED, STORE_UNREACHABLE (a disk that hangs)
   */
  update(change: (memory: AlertMemory) => AlertMemory): Promise<AlertMemory>;
}

/**
 * Waits for a disk, but not for ever.
 *
 * @throws HoldfastError STORE_UNREACHABLE; what the work throws
 */
export function inDiskTime<T>(work: Promise<T>): Promise<T> {
  const late = () =>
    new HoldfastError('STORE_UNREACHABLE', `the disk did not answer in ${diskMsMax / 1000} s`, {
      hint: 'Look at the file system of BACKUP_DIR: df and ls hang, too, where a server is gone.',
    });
  return within(diskMsMax, work, late);
}

/** The folder of the alerts below the folder of what is local. */
export function alertsFolder(stateDir: string): string {
  return join(stateDir, 'alerts');
}

async function readBytes(path: string): Promise<Uint8Array | null> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') return null;
    throw toHoldfastError(error, 'reading the memory of alerts');
  }
}

/**
 * What is remembered, without changing anything: for whoever only looks.
 *
 * @param stateDir the repository's folder for what is local (`Repository.stateDir`)
 * @throws HoldfastError DAMAGED, STORE_REFUSED
 */
export async function readAlertMemory(stateDir: string): Promise<AlertMemory> {
  const bytes = await readBytes(join(alertsFolder(stateDir), 'memory.json'));
  return bytes === null ? emptyMemory : parseAlertMemory(bytes);
}

/** Reads it for a change. A damaged one is kept beside for a person to look at, and told. */
async function readOrSetAside(
  path: string,
  onDamage: (error: HoldfastError, aside: string) => void,
): Promise<AlertMemory> {
  const bytes = await readBytes(path);
  if (bytes === null) return emptyMemory;
  try {
    return parseAlertMemory(bytes);
  } catch (error) {
    // One is kept: a disk that damages it again and again shall not fill up with copies.
    const aside = `${path}.damaged`;
    await rename(path, aside);
    onDamage(toHoldfastError(error), aside);
    return emptyMemory;
  }
}

/**
 * The memory of a repository.
 *
 * @param stateDir the folder for what is local, of a repository that has to be there
 * @param onDamage told where the file was damaged, and under which name it is kept
 */
export function openMemory(
  stateDir: string,
  onDamage: (error: HoldfastError, aside: string) => void,
): MemoryFile {
  const folder = alertsFolder(stateDir);
  const path = join(folder, 'memory.json');
  // Within this process one after the other, so that they do not wait for each other's lock.
  let last: Promise<unknown> = Promise.resolve();

  async function changeAlone(change: (memory: AlertMemory) => AlertMemory): Promise<AlertMemory> {
    try {
      // A repository that is not there (a disk that is not mounted) is not begun by an alert; a new
      // one has no such folder before its first run has got somewhere.
      const root = dirname(stateDir);
      if (!(await stat(root)).isDirectory()) {
        throw new HoldfastError('STORE_REFUSED', `${JSON.stringify(root)} is no folder`);
      }
      await makeFolders(folder);
      return await withFileLock(join(folder, 'memory.lock'), { waitMs: lockWaitMs }, async () => {
        const before = await readOrSetAside(path, onDamage);
        const after = change(before);
        if (after !== before) await replaceFile(path, documentBytes(after));
        return after;
      });
    } catch (error) {
      throw toHoldfastError(error, 'keeping alerts');
    }
  }

  return {
    update(change) {
      const next = last.then(() => changeAlone(change));
      last = next.catch(() => undefined);
      return inDiskTime(next);
    },
  };
}
