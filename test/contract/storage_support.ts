/** What the suites of stores share. */

import { buffer } from 'node:stream/consumers';
import { expect } from 'vitest';
import { HoldfastError } from '../../src/core/errors.ts';
import type { Storage } from '../../src/storage/storage.ts';

/** What a store is able to do beyond the contract, and what the suite must not ask of others. */
export interface StoreAbilities {
  /** Of two writers of one key one fails, whatever they do at once. */
  readonly refusesRaces: boolean;
  /**
   * A name is an object's or a folder's, never both; folders are there before anything is in them,
   * and what is being written lies elsewhere until it is finished. In a bucket there are only keys.
   */
  readonly hasFolders: boolean;
  /** After so many bytes an object that was begun is known to the store. */
  readonly begunBytes: number;
  /** So many objects do not fit on one page. */
  readonly manyObjects: number;
  /** What a server for tests does wrong that real ones do right. */
  readonly faults: readonly ServerFault[];
}

/**
 * Line breaks: keys with one are not found. Ranges: other bytes come than were asked for. Pages: a
 * listing of one level ends after one. Uploads: those in parts are not listed.
 */
type ServerFault = 'line breaks' | 'ranges' | 'pages of a level' | 'list of uploads';

/** A store that is empty, and what ends it. */
export interface StoreUnderTest {
  readonly storage: Storage;
  readonly abilities: StoreAbilities;
  readonly close: () => Promise<void>;
}

/** A disk's. */
export const folderAbilities: StoreAbilities = {
  refusesRaces: true,
  hasFolders: true,
  begunBytes: 1,
  manyObjects: 1203,
  faults: [],
};

/** The code that a promise fails with; fails itself when it does not. */
export async function failureOf(promise: Promise<unknown>): Promise<HoldfastError> {
  const outcome = await promise.then(
    () => null,
    (error: unknown) => error,
  );
  expect(outcome, 'it should have failed with a HoldfastError').toBeInstanceOf(HoldfastError);
  return outcome as HoldfastError;
}

/** The keys of everything that is finished below a folder. */
export async function keysOf(storage: Storage, folder = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const page of storage.list(folder)) keys.push(...page.map(({ key }) => key));
  return keys;
}

/** An object's bytes as text. */
export async function textOf(storage: Storage, key: string): Promise<string> {
  return (await buffer(await storage.get(key))).toString('utf8');
}

/** Text as bytes. */
export const bytes = (text: string) => Buffer.from(text, 'utf8');
