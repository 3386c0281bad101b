/**
 * The markers of a cluster in state/: what wal_ship.ts and wal_push tell each other of the files
 * that wait. They are hints: whoever reads one looks at the file and at the archive too.
 */

import { readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeComponent } from '../../core/names.ts';
import {
  type FileIdentity,
  fileIdentity,
  formatMarker,
  isSameFile,
  parseMarker,
  type WalMarker,
} from '../../core/wal_marker.ts';
import { errorNumber, fileMode, makeFolders } from '../../process/durable.ts';
import { processExists } from '../../process/identity.ts';
import type { Context } from '../context.ts';

/** Whoever works on a file has done it, or has been killed, within this time. */
const workingMsMax = 60_000;

/** Where the markers of a cluster lie. @param stateDir `Repository.stateDir` */
export function markersFolder(stateDir: string, cluster: string): string {
  return join(stateDir, 'wal_ship', encodeComponent(cluster));
}

/** The markers of one cluster. All methods throw Node's errors where the disk does. */
export interface WalMarkers {
  /** Says that this process works on a file. @returns whether nobody else does */
  begin(name: string): Promise<boolean>;
  /** Says that a file is stored durably, with its digest. */
  store(name: string, identity: FileIdentity): Promise<void>;
  /** Whether a marker says that the file is stored in the state in which it is now. */
  isStored(name: string, path: string): Promise<boolean>;
  remove(name: string): Promise<void>;
  /** Removes all but those of files that still wait. @param keep names */
  sweep(keep: ReadonlySet<string>): Promise<void>;
}

/** Somebody may have taken the folder away: it holds nothing that is needed. */
async function inFolder<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (errorNumber(error) !== 'ENOENT') throw error;
    await makeFolders(folder);
    return work();
  }
}

/** Opens the markers of a cluster; their folder is made where it is missing. */
export async function openMarkers(
  folder: string,
  { pid, clock }: Pick<Context, 'pid' | 'clock'>,
): Promise<WalMarkers> {
  await makeFolders(folder);
  const pathOf = (name: string) => join(folder, name);

  /** In one step, and without an fsync: after a crash the work is done again. */
  async function write(name: string, marker: WalMarker): Promise<void> {
    const temporary = pathOf(`.${name}.tmp`);
    await inFolder(folder, () => writeFile(temporary, formatMarker(marker), { mode: fileMode }));
    await rename(temporary, pathOf(name));
  }

  async function read(name: string): Promise<WalMarker | null> {
    try {
      return parseMarker(await readFile(pathOf(name), 'latin1'));
    } catch (error) {
      if (['ENOENT', 'EISDIR'].includes(errorNumber(error) ?? '')) return null;
      throw error;
    }
  }

  /** A number may be that of another process by now: its file is too old then. */
  async function isAtWork(name: string, worker: number): Promise<boolean> {
    const stats = await stat(pathOf(name)).catch(() => null);
    if (stats === null || worker === pid || !processExists(worker)) return false;
    return clock().getTime() - stats.mtimeMs < workingMsMax;
  }

  return {
    async begin(name) {
      const marker: WalMarker = { kind: 'working', pid };
      try {
        const options = { flag: 'wx', mode: fileMode };
        await inFolder(folder, () => writeFile(pathOf(name), formatMarker(marker), options));
        return true;
      } catch (error) {
        if (errorNumber(error) !== 'EEXIST') throw error;
      }
      const found = await read(name);
      if (found?.kind === 'working' && (await isAtWork(name, found.pid))) return false;
      await write(name, marker);
      return true;
    },
    store: (name, file) => write(name, { kind: 'stored', file }),
    async isStored(name, path) {
      const found = await read(name);
      if (found?.kind !== 'stored') return false;
      const now = await stat(path, { bigint: true }).catch(() => null);
      return now !== null && isSameFile(found.file, fileIdentity(now));
    },
    remove: (name) => rm(pathOf(name), { recursive: true, force: true }),
    async sweep(keep) {
      for (const name of await inFolder(folder, () => readdir(folder))) {
        if (!keep.has(name)) await rm(pathOf(name), { recursive: true, force: true });
      }
    },
  };
}
