import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readOnly } from '../../../src/catalog/read_only.ts';
import { openFolder } from '../../../src/storage/open.ts';
import type { Storage } from '../../../src/storage/storage.ts';

let folder: string;
let storage: Storage;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-read-only-'));
  storage = openFolder(folder);
  await storage.put('a/b', Buffer.from('bytes'));
});
afterEach(() => rm(folder, { recursive: true }));

it('reads what the store holds', async () => {
  const only = readOnly(storage);
  expect(only.description).toBe(storage.description);
  expect(await buffer(await only.get('a/b'))).toEqual(Buffer.from('bytes'));
  expect(await only.children('')).toEqual(['a']);
  expect((await only.stat('a/b'))?.bytes).toBe(5);
  expect(await only.freeBytes()).toBeGreaterThan(0);
});

it('refuses whatever would change it', async () => {
  const only = readOnly(storage);
  const changes = [
    () => only.put('a/c', Buffer.from('more')),
    () => only.remove('a/b'),
    () => only.removeFolder('a', 'b'),
    () => only.removeIfEmpty('a'),
    () => only.removeUnfinished('a'),
    () => only.createFolder('c'),
  ];
  for (const change of changes) await expect(change()).rejects.toThrow(/is only read here/);
  expect(await readdir(join(folder, 'a'))).toEqual(['b']);
});
