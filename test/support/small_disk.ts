/** Real disks that are full: small tmpfs file systems, which only root can mount. */

import { execFileSync } from 'node:child_process';
import { chownSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { OsUser } from '../../src/process/user.ts';

export const pageBytes = 4096;
const mounted: string[] = [];

/** Mounts a file system of that size on a folder. @param owner of its root, else this user */
export function mountSmall(folder: string, bytes: number, owner: OsUser | null = null): void {
  mkdirSync(folder, { recursive: true });
  const kibibytes = Math.ceil(bytes / pageBytes) * (pageBytes / 1024);
  const options = `size=${kibibytes}k,mode=0700`;
  execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'holdfast-test', folder]);
  mounted.push(folder);
  if (owner !== null) chownSync(folder, owner.uid, owner.gid);
}

/** Takes all of them away again. Lazy: the logs of commands that ran in this process are open. */
export function unmountAll(): void {
  for (const folder of mounted.splice(0).reverse()) execFileSync('umount', ['--lazy', folder]);
}

export function freeBytesOf(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}

/** Leaves so many bytes free. @returns what frees the rest again */
export function fillUp(folder: string, leaveBytes: number): () => void {
  const ballast = join(folder, 'lost+found');
  mkdirSync(ballast, { recursive: true });
  const bytes = freeBytesOf(folder) - leaveBytes;
  if (bytes > 0) writeFileSync(join(ballast, 'ballast'), Buffer.alloc(bytes));
  return () => rmSync(ballast, { recursive: true });
}
