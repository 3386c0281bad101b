import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Catalog, type CatalogEntry, createCatalog } from '../../../../src/catalog/catalog.ts';
import { openRepository, type Repository } from '../../../../src/catalog/repository.ts';
import { HoldfastError } from '../../../../src/core/errors.ts';
import type { Manifest } from '../../../../src/core/manifest.ts';
import { serializeManifest } from '../../../../src/core/manifest_codec.ts';
import { sha256Of, sumsOf } from '../../../../src/core/sums.ts';
import type { RepositoryContext } from '../../../../src/operations/context.ts';
import { damageError, verifyBackup } from '../../../../src/operations/full/verify.ts';
import { failureOf } from '../../../contract/storage.ts';
import {
  sampleContext,
  sampleManifest,
  writeSampleBackup,
} from '../../../support/sample_backup.ts';

let top: string;
let repository: Repository;
let catalog: Catalog;
let context: RepositoryContext;
let entry: CatalogEntry;
let folder: string;
const original = new Map<string, Buffer>();

beforeAll(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-verify-'));
  repository = await openRepository(join(top, 'r'), { create: true, now: new Date() });
  catalog = createCatalog(repository.storage);
  context = sampleContext(repository, catalog);
  folder = join(repository.root, await writeSampleBackup(repository.storage));
  entry = await catalog.findBackup(sampleManifest().label);
  for (const name of await readdir(folder)) {
    original.set(name, await readFile(join(folder, name)));
  }
});
afterAll(() => rm(top, { recursive: true, force: true }));

/** A catalog that keeps no results of checks, or fails to. */
function catalogThatRecords(recordCheck: () => Promise<void>): Catalog {
  return Object.create(catalog, { recordCheck: { value: recordCheck } });
}

async function findings(depth: 'stored' | 'plain') {
  const forgetful = sampleContext(
    repository,
    catalogThatRecords(async () => undefined),
  );
  return (await verifyBackup(forgetful, entry, { depth })).findings;
}

/** Does something to the backup, tells the findings, and puts everything back. */
async function afterChange(change: () => Promise<unknown>, depth: 'stored' | 'plain' = 'plain') {
  try {
    await change();
    return await findings(depth);
  } finally {
    for (const name of await readdir(folder)) {
      if (!original.has(name)) await rm(join(folder, name), { recursive: true });
    }
    for (const [name, bytes] of original) await writeFile(join(folder, name), bytes);
  }
}

/** Rewrites manifest and SHA256SUMS so that they agree with each other. */
async function forge(manifest: Manifest): Promise<void> {
  const bytes = serializeManifest(manifest);
  await writeFile(join(folder, 'manifest.json'), bytes);
  await writeFile(join(folder, 'SHA256SUMS'), sumsOf(manifest, bytes));
}

describe('verifying a backup', () => {
  it('finds nothing wrong with a whole one, and records that', async () => {
    for (const depth of ['stored', 'plain'] as const) {
      const result = await verifyBackup(context, entry, { depth });
      expect(result).toMatchObject({ ok: true, findings: [], notRecorded: null });
      expect(result.bytes).toBe(
        [...original.values()].reduce((sum, { length }) => sum + length, 0),
      );
    }
    const again = await catalog.findBackup(entry.label);
    expect(again.check?.kind).toBe('verified');
  });

  it('reads gzip and uncompressed backups too, with programs and without', async () => {
    for (const [compression, label] of [
      ['gzip', '20261122T020000Z-daily-aaaa'],
      ['none', '20261123T020000Z-daily-bbbb'],
    ] as const) {
      await writeSampleBackup(repository.storage, { compression, manifest: { label } });
      const other = await catalog.findBackup(label);
      for (const path of ['', process.env.PATH ?? '']) {
        const withPath = sampleContext(repository, catalog, { environment: { PATH: path } });
        expect((await verifyBackup(withPath, other, { depth: 'plain' })).findings).toEqual([]);
      }
    }
  });

  it('finds a flipped byte anywhere in any file', async () => {
    const name = fc.constantFrom(...original.keys());
    await fc.assert(
      fc.asyncProperty(name, fc.nat(), fc.integer({ min: 1, max: 255 }), async (file, at, mask) => {
        const bytes = Buffer.from(original.get(file) ?? []);
        const place = at % bytes.length;
        bytes.writeUInt8(bytes.readUInt8(place) ^ mask, place);
        const found = await afterChange(() => writeFile(join(folder, file), bytes));
        expect(found.map((finding) => finding.file)).toContain(file);
      }),
      { numRuns: 300 },
    );
  }, 120_000);

  it('finds a file that was cut anywhere, or that has grown', async () => {
    const name = fc.constantFrom(...original.keys());
    await fc.assert(
      fc.asyncProperty(name, fc.nat(), fc.boolean(), async (file, at, deep) => {
        const length = original.get(file)?.length ?? 0;
        const path = join(folder, file);
        const depth = deep ? 'plain' : 'stored';
        const cut = await afterChange(() => truncate(path, at % length), depth);
        expect(cut.map((finding) => finding.file)).toContain(file);
        const grown = await afterChange(() => truncate(path, length + 1 + (at % 10)), depth);
        expect(grown.map((finding) => finding.file)).toContain(file);
      }),
      { numRuns: 120 },
    );
  }, 120_000);

  it('finds missing and extra files', async () => {
    for (const name of original.keys()) {
      const found = await afterChange(() => rm(join(folder, name)));
      expect(found).toContainEqual({ file: name, check: 'missing', message: 'is not there' });
    }
    expect(await afterChange(() => writeFile(join(folder, 'extra'), ''))).toEqual([
      { file: 'extra', check: 'extra', message: 'does not belong to the backup' },
    ]);
  });

  it('still says which files are good where the manifest is lost', async () => {
    const found = await afterChange(async () => {
      await writeFile(join(folder, 'manifest.json'), '{}');
      await writeFile(join(folder, 'restore.sh'), 'exit 0');
      await rm(join(folder, 'globals.sql.zst'));
    });
    const checks = found.map(({ file, check }) => `${file} ${check}`).sort();
    expect(checks).toEqual([
      'globals.sql.zst missing',
      'manifest.json manifest',
      'manifest.json stored',
      'restore.sh stored',
    ]);
  });

  it('finds a manifest that belongs to another backup', async () => {
    const found = await afterChange(() =>
      forge(sampleManifest({ manifest: { database: 'other' } })),
    );
    expect(found).toMatchObject([{ file: 'manifest.json', check: 'manifest' }]);
  });

  it('compares what the archive holds with the tables of the manifest', async () => {
    const manifest = sampleManifest();
    const [documents, empty] = manifest.tables ?? [];
    if (documents === undefined || empty === undefined)
      throw new Error('the sample has two tables');
    const messages = async (change: Partial<Manifest>) => {
      const found = await afterChange(() => forge({ ...manifest, ...change }));
      expect(new Set(found.map(({ check }) => check)), JSON.stringify(found)).toEqual(
        new Set(['archive']),
      );
      return found.map(({ message }) => message);
    };
    const rows = { ...documents, rows: 41 };
    expect(await messages({ tables: [rows, empty] })).toEqual([
      'has 40 rows of "public.documents" instead of 41',
    ]);
    const data = { ...documents, sha256: sha256Of(Buffer.from('x')) };
    expect(await messages({ tables: [data, empty] })).toEqual([
      'has other data of the table "public.documents"',
    ]);
    expect(await messages({ tables: [documents] })).toEqual([
      expect.stringContaining('not in the manifest'),
    ]);
    expect(await messages({ tables: [documents, empty, { ...empty, name: 'gone' }] })).toEqual([
      expect.stringContaining('lacks the table'),
    ]);
    expect(await messages({ large_objects: null })).toEqual(['has other large objects']);
    expect(
      await afterChange(() => forge({ ...manifest, tables: null, large_objects: null })),
    ).toEqual([]);
  });

  it('of a dump without digests of its own goes by its structure', async () => {
    const manifest = sampleManifest();
    const [dump, ...others] = manifest.files;
    if (dump === undefined) throw new Error('no dump');
    const archive = zstdDecompressSync(original.get(dump.name) ?? '');
    const withDump = (plain: Buffer) =>
      afterChange(async () => {
        const bytes = zstdCompressSync(plain);
        await writeFile(join(folder, dump.name), bytes);
        const stored = { bytes: bytes.length, sha256: sha256Of(bytes) };
        const files = [{ ...dump, stored, plain: null }, ...others];
        await forge({ ...manifest, files, tables: null, large_objects: null });
      });
    expect(await withDump(archive)).toEqual([]);
    expect(await withDump(archive.subarray(0, archive.length - 7))).toEqual([
      { file: dump.name, check: 'archive', message: expect.stringContaining('ends') },
    ]);
    expect(await withDump(Buffer.from('no archive at all'))).toEqual([
      { file: dump.name, check: 'archive', message: expect.stringContaining('archive') },
    ]);
  });

  it('records damage, and the latest check counts', async () => {
    const at = (iso: string) => sampleContext(repository, catalog, { clock: () => new Date(iso) });
    await rm(join(repository.root, 'checks'), { recursive: true });
    await afterChange(async () => {
      await truncate(join(folder, 'restore.sh'), 1);
      const damaged = at('2026-11-23T00:00:00.000Z');
      const result = await verifyBackup(damaged, entry, { depth: 'stored' });
      const error = damageError(entry.label, result.findings);
      expect(error).toMatchObject({ code: 'DAMAGED', status: 4 });
      expect(error.message).toContain('restore.sh has 1 bytes instead of');
    });
    expect((await catalog.findBackup(entry.label)).check?.kind).toBe('damaged');
    const later = at('2026-11-24T00:00:00.000Z');
    await verifyBackup(later, entry, { depth: 'stored' });
    await verifyBackup(later, entry, { depth: 'stored' });
    expect((await catalog.findBackup(entry.label)).check?.kind).toBe('verified');
    const files = await repository.storage.children(`checks/main/shop/${entry.label}`);
    expect(files).toEqual([
      '20261123T000000000Z-damaged.json',
      '20261124T000000000Z-verified.json',
      '20261124T000000001Z-verified.json',
    ]);
  });

  it('tells when it may not record, and ends with the signal', async () => {
    const refusing = catalogThatRecords(async () => {
      throw new HoldfastError('STORE_REFUSED', 'read-only');
    });
    const readOnly = sampleContext(repository, refusing);
    const result = await verifyBackup(readOnly, entry, { depth: 'stored' });
    expect(result).toMatchObject({ ok: true, notRecorded: { code: 'STORE_REFUSED' } });
    const stopped = sampleContext(repository, catalog, {
      signal: AbortSignal.abort(new HoldfastError('INTERRUPTED', 'interrupted by SIGINT')),
    });
    const error = await failureOf(verifyBackup(stopped, entry, { depth: 'plain' }));
    expect(error.code).toBe('INTERRUPTED');
  });
});
