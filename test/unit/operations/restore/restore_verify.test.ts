import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCatalog } from '../../../../src/catalog/catalog.ts';
import { openRepository } from '../../../../src/catalog/repository.ts';
import type { MeasuredBytes } from '../../../../src/core/manifest.ts';
import { serializeManifest } from '../../../../src/core/manifest_codec.ts';
import { sha256Of, sumsOf } from '../../../../src/core/sums.ts';
import type { BackupSource } from '../../../../src/operations/backup_source.ts';
import type { Context, RepositoryContext } from '../../../../src/operations/context.ts';
import { labelSource } from '../../../../src/operations/restore/restore_source.ts';
import { verifySource } from '../../../../src/operations/restore/restore_verify.ts';
import { createByteCounter } from '../../../../src/pipeline/measure.ts';
import { createPlaceFinder } from '../../../../src/postgres/archive_places.ts';
import type { Storage } from '../../../../src/storage/storage.ts';
import { failureOf } from '../../../contract/storage.ts';
import {
  sampleContext,
  sampleManifest,
  writeSampleBackup,
} from '../../../support/sample_backup.ts';
import { flipped } from '../../../support/workbench.ts';

let top: string;
let temporary: string;
let folder: string;
let context: Context;
let source: BackupSource;
/** Every file that was opened in the store, in that order. */
let opened: string[];

/** The store as it is, remembering what is read of it. */
function watched(storage: Storage): Storage {
  const get: Storage['get'] = (key, range) => {
    opened.push(key.split('/').at(-1) ?? key);
    return storage.get(key, range);
  };
  return new Proxy(storage, {
    get: (target, name) => {
      const value: unknown = name === 'get' ? get : Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-restore-verify-'));
  temporary = await mkdtemp(join(top, 'tmp-'));
  const real = await openRepository(join(top, 'r'), { create: true, now: new Date() });
  folder = join(real.root, await writeSampleBackup(real.storage));
  opened = [];
  const repository = { ...real, storage: watched(real.storage) };
  const settings = { threads: 1, temp_dir: temporary, allowed_signers: null };
  const all = sampleContext(repository, createCatalog(repository.storage), {
    config: { settings } as RepositoryContext['config'],
  });
  context = all;
  source = await labelSource(all, sampleManifest().label, undefined, {});
  opened = [];
});
afterEach(() => rm(top, { recursive: true, force: true }));

/** The backup with another word for the plain bytes of its dump, all else agreeing with it. */
async function withPlain(plain: MeasuredBytes | null): Promise<BackupSource> {
  const { files, ...rest } = sampleManifest();
  const forged = {
    ...rest,
    files: files.map((file) => (file.role === 'dump' ? { ...file, plain } : file)),
  };
  const bytes = serializeManifest(forged);
  await writeFile(join(folder, 'manifest.json'), bytes);
  await writeFile(join(folder, 'SHA256SUMS'), sumsOf(forged, bytes));
  return { ...source, manifest: forged };
}

describe('reading a backup before it is restored', () => {
  it.each([1, 2])('reads each of its files once (%i jobs)', async (jobs) => {
    const verified = await verifySource(context, source, { jobs });
    await verified.remove();
    expect(opened.toSorted()).toEqual(
      ['SHA256SUMS', ...sampleManifest().files.map(({ name }) => name), 'manifest.json'].toSorted(),
    );
    expect(await readdir(temporary)).toEqual([]);
  });

  it('unpacks for several jobs the bytes that were dumped, with the places of the data', async () => {
    const passed: Buffer[] = [];
    const look = { update: (chunk: Buffer) => passed.push(Buffer.from(chunk)) };
    const wish = { jobs: 2, observers: [look] };
    const { file, plainBytes, remove } = await verifySource(context, source, wish);
    const bytes = await readFile(file ?? '');
    const dumped = Buffer.concat(passed);
    const dump = sampleManifest().files.find(({ role }) => role === 'dump');
    expect({ bytes: dumped.length, sha256: sha256Of(dumped) }).toEqual(dump?.plain);
    const places = createPlaceFinder();
    places.update(dumped);
    const patches = places.finish();
    expect(patches.length).toBeGreaterThan(0);
    for (const { position, bytes: told } of patches) told.copy(dumped, position);
    expect(bytes.equals(dumped)).toBe(true);
    expect(plainBytes).toBe(dump?.plain?.bytes);
    await remove();
    expect(await readdir(temporary)).toEqual([]);
  });

  it('shows the plain bytes to whoever looks on, and tells the structure when asked', async () => {
    let seen = 0;
    const observer = createByteCounter((bytes) => {
      seen += bytes;
    });
    const wish = { jobs: 1, observers: [observer] };
    expect((await verifySource(context, source, wish)).reading).toBeNull();
    expect(seen).toBe(source.plainBytes);
    const told = await verifySource(context, source, { jobs: 1, structure: true });
    expect(told.reading?.tables).toHaveLength(2);
  });

  it.each([1, 2])(
    'finds a flipped bit in any file and leaves nothing behind (%i jobs)',
    async (jobs) => {
      for (const name of await readdir(folder)) {
        const path = join(folder, name);
        const bytes = await readFile(path);
        await writeFile(path, flipped(bytes));
        const error = await failureOf(verifySource(context, source, { jobs }));
        expect(error.code, name).toBe('DAMAGED');
        expect(error.message, name).toContain(source.description);
        expect(await readdir(temporary)).toEqual([]);
        await writeFile(path, bytes);
      }
    },
  );

  it('tells late, with several jobs, that the plain bytes are others; with one at once', async () => {
    const others = { bytes: source.plainBytes ?? 0, sha256: '0'.repeat(64) };
    const forged = await withPlain(others);
    const verified = await verifySource(context, forged, { jobs: 2 });
    const late = await failureOf(verified.proof);
    await verified.remove();
    const atOnce = await failureOf(verifySource(context, forged, { jobs: 1 }));
    for (const { code, message } of [late, atOnce]) {
      expect(code).toBe('DAMAGED');
      expect(message).toMatch(/database\.dump\.zst differs from its digest when decompressed/);
    }
    expect(await readdir(temporary)).toEqual([]);
  });

  it.each([1, 2])('proves no plain digest where none was taken (%i jobs)', async (jobs) => {
    const verified = await verifySource(context, await withPlain(null), { jobs });
    await expect(verified.proof).resolves.toBeUndefined();
    await verified.remove();
    expect(await readdir(temporary)).toEqual([]);
  });

  it('is not content with digests that came from another manifest than the one there', async () => {
    // Everything in the folder agrees with itself, but it is not what was chosen to be restored.
    const { files, ...rest } = sampleManifest();
    const path = join(folder, 'database.dump.zst');
    const other = Buffer.concat([await readFile(path), Buffer.from('more')]);
    await writeFile(path, other);
    const stored = { bytes: other.length, sha256: sha256Of(other) };
    const forged = {
      ...rest,
      files: files.map((file) => (file.role === 'dump' ? { ...file, stored } : file)),
    };
    const bytes = serializeManifest(forged);
    await writeFile(join(folder, 'manifest.json'), bytes);
    await writeFile(join(folder, 'SHA256SUMS'), sumsOf(forged, bytes));
    const error = await failureOf(verifySource(context, source, { jobs: 2 }));
    expect(error.code).toBe('DAMAGED');
    expect(await readdir(temporary)).toEqual([]);
  });
});
