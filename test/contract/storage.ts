/** What every store must do (src/storage/storage.ts); a new one joins like local.test.ts. */

import { randomBytes } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/core/errors.ts';
import { sha256Of } from '../../src/core/sums.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { keys } from './storage_keys.ts';
import { leftovers, remains } from './storage_leftovers.ts';
import { bytes, failureOf, keysOf, type StoreUnderTest, textOf } from './storage_support.ts';

export { failureOf, keysOf, type StoreUnderTest };

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

    objects(() => under);
    writingOnce(() => under);
    listing(() => under);
    failures(() => under);
    folders(() => storage);
    clashes(() => under);
    leftovers(() => storage);
    remains(() => under);
    keys(() => under);
  });
}

function objects(under: () => StoreUnderTest): void {
  const store = () => under().storage;

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
    expect((await buffer(await storage.get('a/b', { start: 0, bytes: 9 }))).length).toBe(9);
    if (under().abilities.faults.includes('ranges')) return;
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

function writingOnce(under: () => StoreUnderTest): void {
  const store = () => under().storage;

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
    // A server without conditional writes takes more than one, and keeps one of them.
    if (under().abilities.refusesRaces) expect(winners).toHaveLength(1);
    const kept = await textOf(storage, 'race');
    expect(winners.map((index) => contents[index])).toContain(kept);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason.code).toBe('STORE_EXISTS');
    }
    expect(await keysOf(storage)).toEqual(['race']);
  });
}

function listing(under: () => StoreUnderTest): void {
  const store = () => under().storage;

  it('lists sorted, by folder, in as many pages as it takes', async () => {
    const storage = store();
    const names = Array.from(
      { length: under().abilities.manyObjects },
      (_, index) => `many/${String(index).padStart(5, '0')}`,
    );
    await Promise.all(names.map((key) => storage.put(key, bytes('x'))));
    await storage.put('manyfold', bytes('x'));
    expect(await keysOf(storage, 'many')).toEqual(names);
    expect((await keysOf(storage)).length).toBe(names.length + 1);
    expect(await keysOf(storage, 'man')).toEqual([]);
    if (under().abilities.faults.includes('pages of a level')) return;
    expect(await storage.children('')).toEqual(['many', 'manyfold']);
    expect((await storage.children('many')).length).toBe(names.length);
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

function failures(under: () => StoreUnderTest): void {
  const store = () => under().storage;

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
    const below = under().abilities.hasFolders ? ['there/below'] : [];
    for (const key of ['../out', 'there', ...below]) {
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

function clashes(under: () => StoreUnderTest): void {
  const store = () => under().storage;

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
    // In a bucket `one` is there under its last name: what appears is what commits the folder.
    const theirs = under().abilities.hasFolders ? 'a/b/one' : 'a/b/manifest.json';
    await storage.put(theirs, bytes('theirs'));
    expect((await failureOf(folder.commit('manifest.json', bytes('{}')))).code).toBe(
      'STORE_EXISTS',
    );
    await folder.abort();
    expect(await keysOf(storage)).toEqual([theirs]);
    expect(await textOf(storage, theirs)).toBe('theirs');
  });
}
