/** What every store must do (src/storage/storage.ts); a new one joins like local.test.ts. */

import { randomBytes } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/core/errors.ts';
import { sha256Of } from '../../src/core/sums.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { leftovers, remains } from './storage_leftovers.ts';
import { bytes, failureOf, keysOf, type StoreUnderTest, textOf } from './storage_support.ts';

export { failureOf, keysOf, type StoreUnderTest };

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

/** Holds a store against its contract. */
export function storageContract(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`the ${name}`, () => {
    let under: StoreUnderTest;
    let storage: Storage;
    beforeEach(async () => {
      under = await open();
      storage = under.storage;
    });
    afterEach(() => under.close());

    objects(() => storage);
    writingOnce(() => storage);
    listing(() => storage);
    failures(() => storage);
    folders(() => storage);
    clashes(() => storage);
    leftovers(() => storage);
    remains(() => storage);
    keys(() => storage);
  });
}

function objects(store: () => Storage): void {
  it('is empty at first, and says so without an error', async () => {
    const storage = store();
    expect(await keysOf(storage)).toEqual([]);
    expect(await storage.children('')).toEqual([]);
    expect(await storage.children('no/such')).toEqual([]);
    expect(await storage.unfinishedFolders('')).toEqual([]);
    expect(await storage.stat('no/such')).toBeNull();
    expect((await failureOf(storage.get('no/such'))).code).toBe('BACKUP_NOT_FOUND');
  });

  it('gives back what was put, whole and in ranges', async () => {
    const storage = store();
    const content = randomBytes(3 * 1024 * 1024 + 17);
    const put = await storage.put(
      'a/b',
      Readable.from([content.subarray(0, 5), content.subarray(5)]),
    );
    expect(put).toMatchObject({ key: 'a/b', bytes: content.length });
    expect(await storage.stat('a/b')).toEqual(put);
    expect((await buffer(await storage.get('a/b'))).equals(content)).toBe(true);
    const range = async (start: number, length?: number) =>
      buffer(await storage.get('a/b', length === undefined ? { start } : { start, bytes: length }));
    expect((await range(10, 20)).equals(content.subarray(10, 30))).toBe(true);
    expect((await range(1_048_570, 20)).equals(content.subarray(1_048_570, 1_048_590))).toBe(true);
    expect((await range(content.length - 3)).equals(content.subarray(-3))).toBe(true);
    expect((await range(5, 0)).length).toBe(0);
    expect((await range(content.length - 3, 100)).length).toBe(3);
    expect((await range(content.length + 3)).length).toBe(0);
  });

  it('keeps empty objects, and bytes given at once', async () => {
    const storage = store();
    await storage.put('empty', new Uint8Array());
    await storage.put('empty stream', Readable.from([]));
    await storage.put('text', bytes('hello'));
    expect((await storage.stat('empty'))?.bytes).toBe(0);
    expect(await textOf(storage, 'empty stream')).toBe('');
    expect(await textOf(storage, 'text')).toBe('hello');
  });
}

function writingOnce(store: () => Storage): void {
  it('tells an object from another one under the same key, and from none', async () => {
    const storage = store();
    expect(await storage.identity('a/known')).toBeNull();
    await storage.put('a/known', bytes('one'));
    const first = await storage.identity('a/known');
    expect(first).toEqual(expect.any(String));
    expect(await storage.identity('a/known')).toBe(first);
    expect(await storage.identity('a')).toBeNull();
    await storage.remove('a/known');
    await storage.put('a/known', bytes('another one'));
    expect(await storage.identity('a/known')).not.toBe(first);
  });

  it('never overwrites: the second put fails and changes nothing', async () => {
    const storage = store();
    await storage.put('a/once', bytes('first'));
    const body = Readable.from([bytes('second')]);
    const error = await failureOf(storage.put('a/once', body));
    expect(error.code).toBe('STORE_EXISTS');
    expect(error.message).toContain('a/once');
    expect(error.message).toContain(storage.description);
    expect(await textOf(storage, 'a/once')).toBe('first');
    expect(await keysOf(storage)).toEqual(['a/once']);
  });

  it('lets one of twenty racing puts win, whole', async () => {
    const storage = store();
    const contents = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(100_000));
    const outcomes = await Promise.allSettled(
      contents.map((content) => storage.put('race', Readable.from([bytes(content)]))),
    );
    const winners = outcomes.flatMap((outcome, index) =>
      outcome.status === 'fulfilled' ? [index] : [],
    );
    expect(winners).toHaveLength(1);
    expect(await textOf(storage, 'race')).toBe(contents[winners[0] ?? -1]);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason.code).toBe('STORE_EXISTS');
    }
    expect(await keysOf(storage)).toEqual(['race']);
  });
}

function listing(store: () => Storage): void {
  it('lists sorted, by folder, in as many pages as it takes', async () => {
    const storage = store();
    const names = Array.from(
      { length: 1203 },
      (_, index) => `many/${String(index).padStart(5, '0')}`,
    );
    await Promise.all(names.map((key) => storage.put(key, bytes('x'))));
    await storage.put('manyfold', bytes('x'));
    expect(await keysOf(storage, 'many')).toEqual(names);
    expect((await keysOf(storage)).length).toBe(1204);
    expect(await storage.children('')).toEqual(['many', 'manyfold']);
    expect((await storage.children('many')).length).toBe(1203);
    expect(await keysOf(storage, 'man')).toEqual([]);
  });

  it('removes, also what is not there', async () => {
    const storage = store();
    await storage.put('a/b', bytes('x'));
    await storage.remove('a/b');
    await storage.remove('a/b');
    await storage.remove('a/b/c');
    await storage.remove('never/was');
    expect(await keysOf(storage)).toEqual([]);
    await storage.put('a/b', bytes('again'));
    expect(await textOf(storage, 'a/b')).toBe('again');
  });

  it('tells the free space as a number, or that it cannot', async () => {
    await store().put('x', bytes('x'));
    const free = await store().freeBytes();
    expect(free === null || free > 0).toBe(true);
  });
}

/** A body that gives some bytes and fails. */
function failingBody(error: Error): Readable {
  return Readable.from(
    (async function* () {
      yield randomBytes(200_000);
      throw error;
    })(),
  );
}

function failures(store: () => Storage): void {
  it('keeps nothing of a body that fails, and the key stays free', async () => {
    const storage = store();
    const own = new HoldfastError('DUMP_FAILED', 'pg_dump ended with 1');
    expect(await failureOf(storage.put('a/b', failingBody(own)))).toBe(own);
    const foreign = await failureOf(storage.put('a/b', failingBody(new Error('the cable'))));
    expect(foreign.message).toContain('the cable');
    expect(foreign.message).toContain('a/b');
    const full = Object.assign(new Error('ENOSPC: elsewhere'), { code: 'ENOSPC', errno: -28 });
    expect((await failureOf(storage.put('a/b', failingBody(full)))).code).toBe('NO_SPACE');
    expect(await keysOf(storage)).toEqual([]);
    expect(await storage.stat('a/b')).toBeNull();
    await storage.put('a/b', bytes('x'));
    expect(await keysOf(storage)).toEqual(['a/b']);
  });

  it('keeps nothing of a body that is destroyed half-way, or was before', async () => {
    const storage = store();
    const body = new PassThrough();
    const put = storage.put('a/b', body);
    body.write(randomBytes(100_000));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(await keysOf(storage)).toEqual([]);
    expect(await storage.stat('a/b')).toBeNull();
    body.destroy();
    await failureOf(put);
    await failureOf(storage.put('a/b', body));
    expect(await keysOf(storage)).toEqual([]);
  });

  it('ends a body that it does not take', async () => {
    const storage = store();
    await storage.put('there', bytes('x'));
    for (const key of ['../out', 'there', 'there/below']) {
      const body = new PassThrough();
      body.end('x');
      await failureOf(storage.put(key, body));
      expect(body.destroyed || body.readableEnded, key).toBe(true);
    }
  });
}

function folders(store: () => Storage): void {
  it('shows a folder with its commit, all at once', async () => {
    const storage = store();
    const folder = await storage.createFolder('full/c/db/label');
    expect(folder.folder).toBe('full/c/db/label');
    await folder.put('dump', Readable.from([bytes('data')]));
    expect((await buffer(await folder.get('dump'))).toString()).toBe('data');
    expect(await keysOf(storage)).toEqual([]);
    expect(await storage.children('full/c/db')).toEqual([]);
    expect(await storage.stat('full/c/db/label/dump')).toBeNull();
    expect((await failureOf(storage.get('full/c/db/label/dump'))).code).toBe('BACKUP_NOT_FOUND');
    const unfinished = await storage.unfinishedFolders('full');
    expect(unfinished.map((each) => each.folder)).toEqual(['full/c/db/label']);
    expect(Math.abs(Date.now() - (unfinished[0]?.modifiedAt.getTime() ?? 0))).toBeLessThan(60_000);

    await folder.commit('manifest.json', bytes('{}'));
    expect(await keysOf(storage, 'full/c')).toEqual([
      'full/c/db/label/dump',
      'full/c/db/label/manifest.json',
    ]);
    expect(await storage.children('full/c/db')).toEqual(['label']);
    expect(await storage.unfinishedFolders('')).toEqual([]);
    await folder.abort();
    expect(await textOf(storage, 'full/c/db/label/dump')).toBe('data');
  });

  it('measures what was put into a folder, to its last byte, until it is told to stop', async () => {
    const folder = await store().createFolder('a/b');
    const stop = new AbortController();
    for (const size of [0, 1, 3_000_001]) {
      const content = randomBytes(size);
      await folder.put(`n${size}`, content);
      expect(await folder.measure(`n${size}`, stop.signal)).toEqual({
        bytes: size,
        sha256: sha256Of(content),
      });
    }
    const lost = new HoldfastError('LOCK_LOST', 'the lock was lost');
    stop.abort(lost);
    expect(await failureOf(folder.measure('n1', stop.signal))).toBe(lost);
    await folder.abort();
  });

  it('leaves nothing of a folder that is aborted, and it can be begun again', async () => {
    const storage = store();
    const folder = await storage.createFolder('a/b');
    await folder.put('one', bytes('x'));
    const lost = new HoldfastError('LOCK_LOST', 'the lock was lost');
    expect(await failureOf(folder.put('two', failingBody(lost)))).toBe(lost);
    expect((await failureOf(folder.get('two'))).code).toBe('BACKUP_NOT_FOUND');
    const { signal } = new AbortController();
    expect((await failureOf(folder.measure('two', signal))).code).toBe('BACKUP_NOT_FOUND');
    await folder.abort();
    await folder.abort();
    expect(await storage.unfinishedFolders('')).toEqual([]);
    const again = await storage.createFolder('a/b');
    await again.commit('manifest.json', bytes('{}'));
    expect(await keysOf(storage)).toEqual(['a/b/manifest.json']);
  });
}

function clashes(store: () => Storage): void {
  it('is write-once for folders and the objects in them', async () => {
    const storage = store();
    const folder = await storage.createFolder('a/b');
    await folder.put('one', bytes('x'));
    expect((await failureOf(folder.put('one', bytes('y')))).code).toBe('STORE_EXISTS');
    await folder.commit('manifest.json', bytes('{}'));
    expect((await failureOf(storage.createFolder('a/b'))).code).toBe('STORE_EXISTS');
    expect(await textOf(storage, 'a/b/one')).toBe('x');
  });

  it('refuses a commit where a folder has appeared, and leaves that one alone', async () => {
    const storage = store();
    const folder = await storage.createFolder('a/b');
    await folder.put('one', bytes('mine'));
    await storage.put('a/b/one', bytes('theirs'));
    expect((await failureOf(folder.commit('manifest.json', bytes('{}')))).code).toBe(
      'STORE_EXISTS',
    );
    await folder.abort();
    expect(await keysOf(storage)).toEqual(['a/b/one']);
    expect(await textOf(storage, 'a/b/one')).toBe('theirs');
  });
}

function keys(store: () => Storage): void {
  it.each(oddNames.map((odd) => [JSON.stringify(odd).slice(0, 30), odd]))(
    'takes the name %s as it is',
    async (_, odd) => {
      const storage = store();
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
