import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { sha256Of } from '../../src/core/sums.ts';
import { limitStorage } from '../../src/storage/limited.ts';
import { createLocalStorage } from '../../src/storage/local.ts';
import { storageContract } from './storage.ts';
import { folderAbilities } from './storage_support.ts';

async function openLimited(bytesPerSecond: number) {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-store-'));
  return {
    storage: limitStorage(createLocalStorage({ root: join(folder, 'repository') }), bytesPerSecond),
    abilities: folderAbilities,
    close: () => rm(folder, { recursive: true, force: true }),
  };
}

storageContract('store at a rate', () => openLimited(1e9));

it('a store at a rate takes the time that its bytes take, in each direction', async () => {
  const { storage, close } = await openLimited(1024 * 1024);
  try {
    const bytes = randomBytes(512 * 1024);
    const began = performance.now();
    const folder = await storage.createFolder('full/c/d/label');
    // Two at once share the rate.
    await Promise.all([
      folder.put('a', Readable.from([bytes.subarray(0, 256 * 1024)])),
      folder.put('b', bytes.subarray(256 * 1024)),
    ]);
    // A tenth of a second is free; never less than the rest.
    expect(performance.now() - began).toBeGreaterThan(390);
    const { signal } = new AbortController();
    const readBegan = performance.now();
    expect(await folder.measure('a', signal)).toEqual({
      bytes: 256 * 1024,
      sha256: sha256Of(bytes.subarray(0, 256 * 1024)),
    });
    expect((await buffer(await folder.get('b'))).equals(bytes.subarray(256 * 1024))).toBe(true);
    expect(performance.now() - readBegan).toBeGreaterThan(390);
    const stop = AbortSignal.abort(new Error('enough'));
    await expect(folder.measure('a', stop)).rejects.toThrow('enough');
    await folder.commit('manifest.json', Buffer.from('{}'));
    expect(await storage.children('full/c/d/label')).toEqual(['a', 'b', 'manifest.json']);
  } finally {
    await close();
  }
});
