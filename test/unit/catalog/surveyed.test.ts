import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { surveyed } from '../../../src/catalog/surveyed.ts';
import { createLocalStorage } from '../../../src/storage/local.ts';
import type { Storage } from '../../../src/storage/storage.ts';
import { surveyable } from '../../support/surveyable.ts';

let root: string;
let real: Storage;
let requests: string[];
let storage: Storage;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-surveyed-'));
  real = createLocalStorage({ root });
  for (const key of ['full/a/x/one/f', 'full/a/x/two/f', 'full/b/z', 'fuller/n', 'other/o']) {
    await real.put(key, Buffer.from(key));
  }
  await (await real.createFolder('full/a/x/three')).put('f', Buffer.from('begun'));
  requests = [];
  storage = await surveyed(surveyable(real, requests), ['full', 'other']);
});
afterEach(() => rm(root, { recursive: true }));

async function keysBelow(folder: string): Promise<string[]> {
  const pages = await Array.fromAsync(storage.list(folder));
  return pages.flat().map(({ key }) => key);
}

describe('a store that was looked at once', () => {
  it('tells the same as the store itself, without asking it again', async () => {
    for (const folder of ['full', 'full/a', 'full/a/x', 'full/a/x/one', 'full/none', 'other']) {
      expect(await storage.children(folder)).toEqual(await real.children(folder));
      const pages = await Array.fromAsync(real.list(folder));
      expect(await keysBelow(folder)).toEqual(pages.flat().map(({ key }) => key));
      const begun = await real.unfinishedFolders(folder);
      expect(await storage.unfinishedFolders(folder)).toEqual(begun);
    }
    expect(await storage.stat('full/b/z')).toMatchObject((await real.stat('full/b/z')) ?? {});
    expect(await storage.stat('full/b')).toBeNull();
    expect(await storage.identity('full/b/z')).toBe(await real.identity('full/b/z'));
    expect(await storage.identity('full/none')).toBeNull();
    expect(requests).toEqual(['survey full', 'survey other']);
  });

  it('reads from the store, and asks it about what was not looked at', async () => {
    expect((await buffer(await storage.get('full/b/z'))).toString()).toBe('full/b/z');
    expect(await storage.children('fuller')).toEqual(['n']);
    expect(await keysBelow('')).toHaveLength(5);
    expect(await storage.stat('fuller/n')).not.toBeNull();
    expect(await storage.identity('fuller/n')).not.toBeNull();
    expect(await storage.unfinishedFolders('')).toHaveLength(1);
    expect(requests.slice(2)).toEqual([
      'get full/b/z',
      'children fuller',
      'list ',
      'stat fuller/n',
      'identity fuller/n',
      'unfinishedFolders ',
    ]);
  });

  it('no longer tells of what has gone when it is read', async () => {
    await real.removeFolder('full/a/x/one', 'f');
    await expect(storage.get('full/a/x/one/f')).rejects.toThrow(/one\/f/);
    expect(await storage.children('full/a/x/one')).toEqual([]);
    expect(await storage.stat('full/a/x/one/f')).toBeNull();
  });

  it('is written and removed in like any other', async () => {
    await storage.put('full/new', Buffer.from('new'));
    await storage.remove('full/b/z');
    await (await storage.createFolder('other/p')).commit('c', Buffer.from('c'));
    await storage.removeFolder('other/p', 'c');
    await storage.removeUnfinished('full/a/x/three');
    await storage.removeIfEmpty('full/b');
    expect(await storage.unfinishedObjects('full')).toEqual([]);
    expect(await storage.freeBytes()).toBeGreaterThan(0);
    expect(await real.children('full')).toEqual(['a', 'new']);
    expect(await real.unfinishedFolders('')).toEqual([]);
    expect(await real.children('other')).toEqual(['o']);
  });
});
