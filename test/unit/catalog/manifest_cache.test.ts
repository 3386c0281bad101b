import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Catalog, createCatalog } from '../../../src/catalog/catalog.ts';
import { openManifestCache } from '../../../src/catalog/manifest_cache.ts';
import { openRepository, type Repository } from '../../../src/catalog/repository.ts';
import { manifestFacts } from '../../../src/core/manifest_facts.ts';
import { type BackupList, listBackups } from '../../../src/operations/full/list.ts';
import type { Storage } from '../../../src/storage/storage.ts';
import { sampleContext, sampleManifest, writeSampleBackup } from '../../support/sample_backup.ts';

/** Enough that the cache is worth its file. */
const backups = 40;

let root: string;
let repository: Repository;
let catalog: Catalog;
/** The manifests that were read. */
let manifestsRead: number;

function counting(storage: Storage): Storage {
  const get: Storage['get'] = (key, range) => {
    if (key.endsWith('/manifest.json')) manifestsRead += 1;
    return storage.get(key, range);
  };
  return new Proxy(storage, {
    get: (target, name) => {
      const value: unknown = name === 'get' ? get : Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const labelOf = (index: number) =>
  `20261121T0200${String(index).padStart(2, '0')}Z-daily-a0${String(index).padStart(2, '0')}`;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-cache-'));
  const real = await openRepository(join(root, 'r'), { create: true, now: new Date() });
  repository = { ...real, storage: counting(real.storage) };
  catalog = createCatalog(repository.storage);
  for (let index = 0; index < backups; index += 1) {
    await writeSampleBackup(real.storage, { manifest: { label: labelOf(index) } });
  }
  manifestsRead = 0;
});
afterEach(() => rm(root, { recursive: true, force: true }));

const cachePath = () => join(repository.stateDir, 'manifest_cache.json');

async function list(filter = {}): Promise<{ list: BackupList; read: number }> {
  manifestsRead = 0;
  const result = await listBackups(sampleContext(repository, catalog), filter);
  return { list: result, read: manifestsRead };
}

describe('a list with a cache', () => {
  it('reads every manifest once, and tells the same without reading them', async () => {
    const first = await list();
    expect(first.read).toBe(backups);
    const second = await list();
    expect(second.read).toBe(0);
    expect(second.list).toEqual(first.list);
    expect(second.list.backups[0]?.details).toEqual(
      manifestFacts(sampleManifest({ manifest: { label: labelOf(0) } })),
    );
  });

  it('reads what has changed: a manifest flipped in place, a backup that is gone', async () => {
    await list();
    const path = join(repository.root, 'full/main/shop', labelOf(3), 'manifest.json');
    const bytes = await readFile(path);
    // The same size: an error in the name of a field.
    await writeFile(path, bytes.toString().replace('"format": 1', '"Format": 1'));
    await rm(join(repository.root, 'full/main/shop', labelOf(4)), { recursive: true });
    const { list: changed, read } = await list();
    expect(read).toBe(1);
    expect(changed.backups).toHaveLength(backups - 1);
    expect(changed.backups[3]).toMatchObject({ label: labelOf(3), state: 'damaged' });
  });

  it('is not fooled by a backup moved to the place of another one', async () => {
    await list();
    const folder = join(repository.root, 'full/main/shop');
    const moved = await readFile(join(folder, labelOf(6), 'manifest.json'));
    await writeFile(join(folder, labelOf(5), 'manifest.json'), moved);
    const { list: changed } = await list();
    expect(changed.backups[5]?.problem?.message).toContain('belongs to');
  });

  it('believes no cache with a flipped bit anywhere, and none that was cut', async () => {
    const { list: truth } = await list();
    const bytes = await readFile(cachePath());
    for (let part = 0; part < 24; part += 1) {
      const flipped = Buffer.from(bytes);
      const at = Math.floor((bytes.length * part) / 24);
      flipped.writeUInt8(flipped.readUInt8(at) ^ (1 << (part % 8)), at);
      await writeFile(cachePath(), flipped);
      expect(await list(), `bit at ${at}`).toEqual({ list: truth, read: backups });
      // What was read has mended it.
      expect((await list()).read).toBe(0);
    }
    for (const cut of [0, 1, 70, bytes.length - 1]) {
      await writeFile(cachePath(), bytes.subarray(0, cut));
      expect(await list(), `cut at ${cut}`).toEqual({ list: truth, read: backups });
    }
  });

  it('believes no cache of another repository', async () => {
    await list();
    repository = { ...repository, id: 'another' };
    expect((await list()).read).toBe(backups);
  });

  it('keeps what it knows of others when only some are listed', async () => {
    await list();
    await writeSampleBackup(repository.storage, {
      manifest: { label: labelOf(50), database: 'other' },
    });
    expect((await list({ database: 'other' })).read).toBe(1);
    expect((await list({ database: 'shop' })).read).toBe(0);
  });

  it('is told to nobody who restores or removes: they read the manifests', async () => {
    await list();
    manifestsRead = 0;
    await catalog.listBackups();
    expect(manifestsRead).toBe(backups);
    await catalog.latestBackup('shop');
    await catalog.findBackup(labelOf(1));
    expect(manifestsRead).toBe(backups + 2);
  });

  it('works where nothing can be written, and tells why it stays slow', async () => {
    await writeFile(repository.stateDir, 'a file where the folder should be');
    const { list: truth, read } = await list();
    expect([truth.backups.length, read]).toEqual([backups, backups]);
    const details: string[] = [];
    const context = sampleContext(repository, catalog);
    const log = { ...context.log, detail: (text: string) => void details.push(text) };
    await listBackups({ ...context, log });
    expect(details.join()).toContain('manifest_cache.json');
  });
});

describe('the file of the cache', () => {
  it('is whole after many have written it at once, for its owner alone', async () => {
    await Promise.all(Array.from({ length: 8 }, () => list()));
    expect(await readdir(repository.stateDir)).toEqual(['manifest_cache.json']);
    expect((await list()).read).toBe(0);
  });

  it('is not written for a few backups: to read those is faster', async () => {
    const cache = await openManifestCache(repository.stateDir, repository.id);
    const facts = manifestFacts(sampleManifest());
    for (let index = 0; index < 20; index += 1) cache.put(`full/a/b/${index}`, 'i', facts);
    expect(await cache.save(true)).toBeNull();
    await expect(readdir(repository.stateDir)).rejects.toThrow(/ENOENT/);
  });

  it('leaves out what would make it large', async () => {
    const cache = await openManifestCache(repository.stateDir, repository.id);
    const facts = manifestFacts(sampleManifest());
    const large = { ...facts, warnings: ['x'.repeat(5000)] };
    for (let index = 0; index < 40; index += 1) cache.put(`full/a/b/${index}`, 'i', facts);
    cache.put('full/a/b/large', 'i', large);
    await cache.save(true);
    const again = await openManifestCache(repository.stateDir, repository.id);
    expect(again.get('full/a/b/7', 'i')).toEqual(facts);
    expect(again.get('full/a/b/7', 'other')).toBeNull();
    expect(again.get('full/a/b/large', 'i')).toBeNull();
  });

  it('that may not be read is as good as none', async () => {
    await list();
    await chmod(cachePath(), 0);
    // Root may read everything: then it is used, and that is right as well.
    const { list: told } = await list();
    expect(told.backups).toHaveLength(backups);
  });
});
