/** What the suites of stores share. */

import { buffer } from 'node:stream/consumers';
import { expect } from 'vitest';
import { HoldfastError } from '../../src/core/errors.ts';
import type { Storage } from '../../src/storage/storage.ts';

/** A store that is empty, and what ends it. */
export interface StoreUnderTest {
  readonly storage: Storage;
  readonly close: () => Promise<void>;
}

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
