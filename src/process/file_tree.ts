/** What lies below a folder, links and all, none of which is followed. */

import { lstat, readdir } from 'node:fs/promises';
import { errorNumber } from './durable.ts';

/** Something below a folder. */
export interface TreeEntry {
  /** Below the folder; names need not be UTF-8. */
  readonly path: Buffer;
  readonly kind: 'file' | 'folder' | 'link' | 'other';
  readonly bytes: number;
  /** When it was last written: seconds since 1970, whole ones. */
  readonly modifiedSeconds: number;
}

/** A path and another below it. */
export function joinBytes(folder: Uint8Array, path: Uint8Array): Buffer {
  return folder.length === 0 ? Buffer.from(path) : Buffer.concat([folder, Buffer.from('/'), path]);
}

/**
 * Everything below a folder, each folder before what is in it. What vanishes meanwhile is passed
 * over.
 *
 * @param skip nothing below such a path is looked at, nor is it told
 * @throws Node's errors
 */
export async function* listTree(
  root: string,
  skip: (path: Buffer) => boolean = () => false,
): AsyncGenerator<TreeEntry> {
  const base = Buffer.from(root);
  const waiting: Buffer[] = [Buffer.alloc(0)];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    const names = await readdir(joinBytes(base, folder), { encoding: 'buffer' });
    for (const name of names) {
      const path = joinBytes(folder, name);
      if (skip(path)) continue;
      try {
        const found = await lstat(joinBytes(base, path));
        const kind = found.isFile()
          ? 'file'
          : found.isDirectory()
            ? 'folder'
            : found.isSymbolicLink()
              ? 'link'
              : 'other';
        const modifiedSeconds = Math.floor(found.mtimeMs / 1000);
        if (kind === 'folder') waiting.push(path);
        yield { path, kind, bytes: found.size, modifiedSeconds };
      } catch (error) {
        if (errorNumber(error) !== 'ENOENT') throw error;
      }
    }
  }
}
