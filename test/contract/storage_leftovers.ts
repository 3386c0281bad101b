/** What every store must do with what was begun, is empty, or is to go. */

import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import type { Storage } from '../../src/storage/storage.ts';
import { bytes, failureOf, keysOf, type StoreUnderTest } from './storage_support.ts';

/** What was never committed, and what is removed. */
export function leftovers(store: () => Storage): void {
  it('finds and removes what was never committed', async () => {
    const storage = store();
    await (await storage.createFolder('full/c/d/one')).put('dump', bytes('x'));
    await storage.createFolder('full/c/e/two');
    const found = async (below: string) =>
      (await storage.unfinishedFolders(below)).map(({ folder }) => folder).sort();
    expect(await found('')).toEqual(['full/c/d/one', 'full/c/e/two']);
    expect(await found('full/c/e')).toEqual(['full/c/e/two']);
    await storage.removeUnfinished('full/c/d/one');
    await storage.removeUnfinished('full/c/d/one');
    await storage.removeUnfinished('never/was');
    expect(await found('')).toEqual(['full/c/e/two']);
  });

  it('removes a committed folder, twice too, and never an unfinished one by it', async () => {
    const storage = store();
    const folder = await storage.createFolder('a/b');
    await folder.put('one', bytes('x'));
    await folder.commit('manifest.json', bytes('{}'));
    await storage.put('a/c', bytes('stays'));
    await storage.removeFolder('a/b', 'manifest.json');
    await storage.removeFolder('a/b', 'manifest.json');
    await storage.removeFolder('never/was', 'manifest.json');
    expect(await keysOf(storage)).toEqual(['a/c']);
    expect(await storage.children('a')).toEqual(['c']);
    expect(await storage.unfinishedFolders('')).toEqual([]);
  });
}

/** What a prune needs: what is empty, and what was begun. */
export function remains(under: () => StoreUnderTest): void {
  const store = () => under().storage;

  it('removes a folder if it is empty, and nothing else', async () => {
    const storage = store();
    await storage.put('a/b/object', bytes('x'));
    expect(await storage.removeIfEmpty('a/b')).toBe(false);
    expect(await storage.removeIfEmpty('a/b/object')).toBe(false);
    expect(await storage.removeIfEmpty('never/was')).toBe(false);
    const folder = await storage.createFolder('a/c/d');
    expect(await storage.removeIfEmpty('a/c')).toBe(false);
    await folder.abort();
    await storage.removeIfEmpty('a/c');
    expect(await storage.children('a')).toEqual(['b']);
    expect(await keysOf(storage)).toEqual(['a/b/object']);
  });

  it('begins a folder however often the empty one above it is removed meanwhile', async () => {
    const storage = store();
    for (let round = 0; round < 20; round += 1) {
      const [folder] = await Promise.all([
        storage.createFolder(`a/b/${round}`),
        storage.removeIfEmpty('a/b'),
      ]);
      await folder.abort();
    }
    expect(await storage.unfinishedFolders('')).toEqual([]);
  });

  it('finds the objects that were begun and never finished', async () => {
    const storage = store();
    const body = new PassThrough();
    const writing = failureOf(storage.put('a/b/c', body));
    const { begunBytes } = under().abilities;
    body.write(Buffer.alloc(begunBytes, 'x'));
    const found = async () =>
      (await storage.unfinishedObjects('a')).filter(({ bytes: n }) => n > 0);
    if (under().abilities.faults.includes('list of uploads')) {
      body.destroy();
      await writing;
      return;
    }
    await expect.poll(found, { timeout: 20_000 }).toHaveLength(1);
    const [object] = await found();
    expect(object?.bytes).toBeGreaterThanOrEqual(1);
    expect(object?.bytes).toBeLessThanOrEqual(begunBytes);
    expect(Math.abs(Date.now() - (object?.modifiedAt.getTime() ?? 0))).toBeLessThan(60_000);
    expect(await storage.unfinishedObjects('b')).toEqual([]);
    expect(await storage.unfinishedFolders('')).toEqual([]);
    await storage.removeUnfinished(object?.key ?? '');
    expect(await storage.unfinishedObjects('')).toEqual([]);
    body.destroy(new Error('the writer was killed'));
    await writing;
  });
}
