/** Which keys every store takes as they are, and which it refuses. */

import { expect, it } from 'vitest';
import { bytes, failureOf, keysOf, type StoreUnderTest, textOf } from './storage_support.ts';

const oddNames = [
  'with space',
  'quote\'and"double',
  '$(touch pwned)',
  'new\nline',
  '\\back\\slash',
  'ünïcödé-名前-🐘',
  '-leading-dash',
  '.hidden',
  '...',
  '~tilde',
  '*?[a]',
  'a'.repeat(200),
];

const badKeys = [
  '',
  '/',
  '/etc/passwd',
  'a/',
  'a//b',
  '.',
  '..',
  '../x',
  'a/../b',
  'a/./b',
  'nul\0byte',
  'x.partial',
  'x.partial/y',
  '\ud800half',
];

/** Odd names and bad keys. */
export function keys(under: () => StoreUnderTest): void {
  const store = () => under().storage;

  it.each(oddNames.map((odd) => [JSON.stringify(odd).slice(0, 30), odd]))(
    'takes the name %s as it is',
    async (_, given) => {
      const storage = store();
      const isTaken = !under().abilities.faults.includes('line breaks');
      const odd = isTaken ? given : given.replaceAll('\n', ' ');
      await storage.put(`a/${odd}/b`, bytes('x'));
      await storage.put(odd, bytes('y')).catch(() => undefined);
      const folder = await storage.createFolder(`f/${odd}`);
      await folder.put(odd, bytes('z'));
      await folder.commit('manifest.json', bytes('{}'));
      expect(await storage.children('a')).toEqual([odd]);
      expect(await textOf(storage, `f/${odd}/${odd}`)).toBe('z');
      expect(await textOf(storage, odd)).toBe('y');
      expect(await keysOf(storage, `a/${odd}`)).toEqual([`a/${odd}/b`]);
    },
  );

  it.each(badKeys.map((bad) => [JSON.stringify(bad), bad]))(
    'refuses the key %s everywhere',
    async (_, bad) => {
      const storage = store();
      const attempts: Promise<unknown>[] = [
        storage.put(bad, bytes('x')),
        storage.get(bad),
        storage.stat(bad),
        storage.remove(bad),
        storage.removeFolder(bad, 'manifest.json'),
        storage.removeIfEmpty(bad),
        storage.createFolder(bad),
        storage.removeUnfinished(bad),
      ];
      if (bad !== '') {
        attempts.push(storage.children(bad), storage.unfinishedFolders(bad), keysOf(storage, bad));
        attempts.push(storage.unfinishedObjects(bad));
      }
      const codes = (await Promise.all(attempts.map(failureOf))).map(({ code }) => code);
      expect(codes).toEqual(attempts.map(() => 'PATH_REFUSED'));
      const folder = await storage.createFolder('ok');
      expect((await failureOf(folder.put(bad, bytes('x')))).code).toBe('PATH_REFUSED');
      expect((await failureOf(folder.get(bad))).code).toBe('PATH_REFUSED');
      const { signal } = new AbortController();
      expect((await failureOf(folder.measure(bad, signal))).code).toBe('PATH_REFUSED');
      expect((await failureOf(folder.commit(bad, bytes('x')))).code).toBe('PATH_REFUSED');
      await folder.abort();
      expect((await failureOf(storage.removeFolder('ok', bad))).code).toBe('PATH_REFUSED');
    },
  );

  it('refuses a name with a folder in it for the objects of a folder', async () => {
    const folder = await store().createFolder('ok');
    expect((await failureOf(folder.put('a/b', bytes('x')))).code).toBe('PATH_REFUSED');
    await folder.abort();
  });
}
