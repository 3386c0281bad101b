import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createCatalog } from '../../../src/catalog/catalog.ts';
import { CopiesWriter } from '../../../src/catalog/copies_writer.ts';
import { openRepository } from '../../../src/catalog/repository.ts';
import { localSpec } from '../../../src/config/stores.ts';
import type { Manifest, ManifestFile } from '../../../src/core/manifest.ts';
import { sha256Of } from '../../../src/core/sums.ts';
import { readBackFiles } from '../../../src/operations/backup_read_back.ts';
import type { RepositoryContext } from '../../../src/operations/context.ts';
import { sampleContext } from '../../support/sample_backup.ts';
import { flipped } from '../../support/workbench.ts';

const plain = Buffer.from('holdfast '.repeat(1000));
const stored = zstdCompressSync(plain);
const measured = (bytes: Buffer) => ({ bytes: bytes.length, sha256: sha256Of(bytes) });
const file: ManifestFile = {
  name: 'database.dump.zst',
  role: 'dump',
  filters: [{ name: 'zstd', level: 3 }],
  stored: measured(stored),
  plain: measured(plain),
};

let top: string;
let context: RepositoryContext;
let folder: CopiesWriter;
let path: string;
let attempt = 0;

beforeAll(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-read-back-'));
  const repository = await openRepository(join(top, 'r'), { create: true, now: new Date() });
  context = sampleContext(repository, createCatalog(repository.storage));
});
afterAll(() => rm(top, { recursive: true, force: true }));
beforeEach(async () => {
  attempt += 1;
  const key = `full/c/d/attempt${attempt}`;
  const writer = await context.repository.storage.createFolder(key);
  folder = new CopiesWriter([{ spec: localSpec(top), writer }], {
    folder: key,
    stopwatch: context.stopwatch,
    onLeft: () => undefined,
  });
  await folder.put(file.name, stored);
  path = join(context.repository.root, `${key}.partial`, file.name);
});

const readBack = (depth: Manifest['read_back']['depth'], change: Partial<ManifestFile> = {}) =>
  readBackFiles(context, folder, [{ ...file, ...change }], depth, context.signal);

describe('reading back what was written', () => {
  it.each(['none', 'stored', 'plain'] as const)('%s takes what is as it was', async (depth) => {
    expect(await readBack(depth)).toMatchObject({ depth });
    expect(await readBack(depth, { plain: null })).toMatchObject({ depth });
  });

  it('finds the one bit that the disk has turned, unless nobody looks', async () => {
    await writeFile(path, flipped(await readFile(path)));
    await expect(readBack('stored')).rejects.toMatchObject({ code: 'DAMAGED' });
    await expect(readBack('plain')).rejects.toMatchObject({ code: 'DAMAGED' });
    expect(await readBack('none')).toEqual({ depth: 'none', seconds: 0 });
  });

  it('finds that what comes out is not what went in', async () => {
    const other = measured(Buffer.from('something else'));
    await expect(readBack('plain', { plain: other })).rejects.toMatchObject({
      code: 'DAMAGED',
      message: expect.stringContaining('its plain bytes'),
    });
    expect(await readBack('stored', { plain: other })).toMatchObject({ depth: 'stored' });
  });
});
