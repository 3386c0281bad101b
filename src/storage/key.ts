/** What every store takes: keys (storage.ts, "The contract", 1), and ranges of bytes. */

import { assert } from '../core/assert.ts';
import { HoldfastError } from '../core/errors.ts';
import type { ByteRange } from './storage.ts';

/** What a store keeps for itself: no key has a component that ends so. */
const reservedSuffix = '.partial';

function isComponent(text: string): boolean {
  return (
    text !== '' &&
    text !== '.' &&
    text !== '..' &&
    !text.includes('\0') &&
    !text.endsWith(reservedSuffix) &&
    // Half of a surrogate pair has no bytes in UTF-8: two such names would meet on a disk.
    text.isWellFormed()
  );
}

function refused(key: string): HoldfastError {
  return new HoldfastError('PATH_REFUSED', `the key ${JSON.stringify(key)} is not allowed`, {
    hint: 'A key is a relative path that stays in the repository and does not end in .partial.',
  });
}

/**
 * The key as it is.
 *
 * @throws HoldfastError PATH_REFUSED when it is none
 */
export function requireKey(key: string): string {
  if (!key.split('/').every(isComponent)) throw refused(key);
  return key;
}

/** Like {@link requireKey}; `''` stands for the whole store. */
export function requireFolder(folder: string): string {
  return folder === '' ? folder : requireKey(folder);
}

/** Like {@link requireKey}, for the name of an object in a folder: one component. */
export function requireName(name: string): string {
  if (!isComponent(name) || name.includes('/')) throw refused(name);
  return name;
}

/** Whether a name that lies in a store can be a part of a key. */
export function isKeyComponent(name: string): boolean {
  return isComponent(name);
}

/** Joins a folder, which may be `''`, and a name. */
export function joinKey(folder: string, name: string): string {
  return folder === '' ? name : `${folder}/${name}`;
}

/** Says that a range is one; another one is a fault of ours. */
export function requireRange({ start, bytes = 0 }: ByteRange): void {
  for (const count of [start, bytes]) {
    assert(Number.isSafeInteger(count) && count >= 0, 'a range of bytes is not negative');
  }
}
