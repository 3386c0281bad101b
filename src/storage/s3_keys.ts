/**
 * Which keys objects have in a bucket: the prefix, then the key of the port. Beside them lie the
 * marks of folders that are not committed, under names that no key can have.
 *
 * A folder `full/c/d/label` that was begun has `full/c/d/label.partial`, which a listing in the
 * order of S3 (UTF-8 bytes) brings directly before the objects of the folder, `.` being before `/`;
 * and `.partial/full/c/d/label`, by which all begun folders are found without reading every key. A
 * mark without bytes is none: a key that may not delete overwrites it.
 */

import { isKeyComponent, joinKey } from './key.ts';

const suffix = '.partial';

/** Where the index of begun folders lies. */
const indexFolder = suffix;

/** The object that commits a folder: where it is, the mark is void. */
export const commitName = 'manifest.json';

/** The key in the bucket. */
export function bucketKey(prefix: string, key: string): string {
  return joinKey(prefix, key);
}

/** What all keys in a folder begin with in the bucket; `''`: those of the whole store. */
export function bucketFolder(prefix: string, folder: string): string {
  const key = [prefix, folder].filter((part) => part !== '').join('/');
  return key === '' ? '' : `${key}/`;
}

/** The mark beside a folder that was begun. */
export function markOf(folder: string): string {
  return `${folder}${suffix}`;
}

/** The entry of a begun folder in the index. */
export function indexEntryOf(folder: string): string {
  return joinKey(indexFolder, folder);
}

/** The folder whose mark this key is, or `null`. */
export function folderOfMark(key: string): string | null {
  if (!key.endsWith(suffix)) return null;
  const folder = key.slice(0, -suffix.length);
  return isObjectKey(folder) ? folder : null;
}

/** Whether a key of the bucket, without the prefix, is one that an object of the port may have. */
export function isObjectKey(key: string): boolean {
  return key.split('/').every(isKeyComponent);
}

/** `a/b/c` → `a/b`; `''` at the top. */
export function parentOf(key: string): string {
  return key.slice(0, Math.max(0, key.lastIndexOf('/')));
}

const uploadPattern = /^(.+)\.upload-([^/]+)$/s;

/** The key under which an upload of an object is told, that nobody has finished. */
export function uploadKey(key: string, uploadId: string): string {
  return `${key}.upload-${encodeURIComponent(uploadId)}`;
}

/** What {@link uploadKey} was made of, or `null`. */
export function parseUploadKey(text: string): { key: string; uploadId: string } | null {
  const [, key, id] = uploadPattern.exec(text) ?? [];
  if (key === undefined || id === undefined) return null;
  try {
    return { key, uploadId: decodeURIComponent(id) };
  } catch {
    return null;
  }
}

/** What tells an object from any other under its key; HEAD and listings tell the same of it. */
export function identityOf(etag: string | undefined, bytes: number, modifiedAt: Date): string {
  // HEAD has whole seconds, listings may have more.
  return `${etag ?? ''}-${bytes}-${Math.floor(modifiedAt.getTime() / 1000)}`;
}
