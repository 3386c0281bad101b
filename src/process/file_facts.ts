/** Who owns files, who may use them, and how much room is beside them. */

import { lstat, readdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errorNumber } from './durable.ts';

/** What a walk through a folder has found. */
export interface TreeFacts {
  /** Of all files, in bytes. */
  readonly bytes: number;
  /** Entries that were looked at. */
  readonly entries: number;
  /** There are more entries than were looked at. */
  readonly isCut: boolean;
  /** At most {@link listedMax} paths that belong to another user. */
  readonly foreign: readonly string[];
  /** At most {@link listedMax} paths that their group or others may use. */
  readonly open: readonly string[];
  /** Folders that this user may not read. */
  readonly closed: readonly string[];
}

const listedMax = 20;
/** Any right for anybody but the owner. */
const othersMask = 0o077;

/**
 * Walks through a folder, breadth first, without following links. What vanishes meanwhile is passed
 * over.
 *
 * @param uid the user to whom everything should belong
 * @param entriesMax where the walk ends
 * @throws Node's error when the folder itself cannot be looked at
 */
export async function inspectTree(
  root: string,
  uid: number,
  entriesMax: number,
): Promise<TreeFacts> {
  const foreign: string[] = [];
  const open: string[] = [];
  const closed: string[] = [];
  const waiting = [root];
  let bytes = 0;
  let entries = 0;
  for (let path = waiting.shift(); path !== undefined; path = waiting.shift()) {
    if (entries >= entriesMax) return { bytes, entries, isCut: true, foreign, open, closed };
    entries += 1;
    try {
      const status = await lstat(path);
      if (status.uid !== uid && foreign.length < listedMax) foreign.push(path);
      const isOpen = !status.isSymbolicLink() && (status.mode & othersMask) !== 0;
      if (isOpen && open.length < listedMax) open.push(path);
      if (status.isFile()) bytes += status.size;
      if (!status.isDirectory()) continue;
      for (const name of await readdir(path)) waiting.push(join(path, name));
    } catch (error) {
      if (path === root) throw error;
      if (errorNumber(error) === 'EACCES') closed.push(path);
      else if (errorNumber(error) !== 'ENOENT') throw error;
    }
  }
  return { bytes, entries, isCut: false, foreign, open, closed };
}

/** The folder itself, or the nearest one above it that exists. */
export async function nearestExisting(path: string): Promise<string> {
  try {
    await lstat(path);
    return path;
  } catch (error) {
    if (errorNumber(error) !== 'ENOENT' || dirname(path) === path) throw error;
    return nearestExisting(dirname(path));
  }
}

/** Bytes that this user can still write where a path is or would be; `null` where none can tell. */
export async function freeBytesAt(path: string): Promise<number | null> {
  try {
    const { bavail, bsize } = await statfs(await nearestExisting(path));
    return bavail * bsize;
  } catch {
    return null;
  }
}

/** A file system, in bytes. */
export interface FileSystem {
  /** What this user can still write. */
  readonly freeBytes: number;
  readonly usedBytes: number;
  readonly totalBytes: number;
  /** Equal for all that lies on it. */
  readonly device: number;
  /** It lies on another machine, whose clock dates its files. */
  readonly isRemote: boolean;
}

/** What statfs(2) calls NFS, SMB (three kinds), 9p, Ceph, AFS, and FUSE, as sshfs and s3fs are. */
const remoteTypes: ReadonlySet<number> = new Set([
  0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x01021997, 0x00c36400, 0x5346414f, 0x65735546,
]);

/** The file system on which a path lies or would; `null` where none can tell. */
export async function fileSystemAt(path: string): Promise<FileSystem | null> {
  try {
    const place = await nearestExisting(path);
    const { bavail, bfree, blocks, bsize, type } = await statfs(place);
    return {
      device: (await stat(place)).dev,
      isRemote: remoteTypes.has(type),
      freeBytes: bavail * bsize,
      usedBytes: (blocks - bfree) * bsize,
      totalBytes: blocks * bsize,
    };
  } catch {
    return null;
  }
}
