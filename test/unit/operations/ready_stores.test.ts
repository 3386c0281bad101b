import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCatalog } from '../../../src/catalog/catalog.ts';
import { openRepository } from '../../../src/catalog/repository.ts';
import { localSpec, type StoreSpec } from '../../../src/config/stores.ts';
import { readyStores } from '../../../src/operations/ready_stores.ts';
import { sampleContext } from '../../support/sample_backup.ts';
import { stubSpec } from '../../support/stub_writer.ts';

const small = { plainBytes: 1, storedBytes: 1, from: 'history' } as const;
const huge = { plainBytes: 1e18, storedBytes: 1e18, from: 'history' } as const;

let top: string;
let local: StoreSpec;
/** In a place where no folder can be. */
let broken: StoreSpec;

beforeAll(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-ready-'));
  await writeFile(join(top, 'file'), '');
  local = localSpec(join(top, 'local'));
  broken = stubSpec('broken', { path: join(top, 'file/nas') });
});
afterAll(() => rm(top, { recursive: true, force: true }));

async function ready(stores: readonly StoreSpec[], estimate: typeof small | typeof huge, keep = 0) {
  const now = new Date();
  const repository = await openRepository(join(top, 'local'), { create: true, now, stores });
  const context = sampleContext(repository, createCatalog(repository.storage));
  Object.assign(context.config.settings, { min_disk_space_gb: keep });
  return readyStores(context, estimate);
}

describe('the stores of a run', () => {
  it('are opened, and become stores of this repository; one that is not there says why', async () => {
    const nas = stubSpec('nas', { path: join(top, 'nas') });
    const { stores, storage, warnings } = await ready([local, broken, nas], small);
    expect(stores.map(({ spec, error }) => [spec.name, error === null])).toEqual([
      ['local', true],
      ['broken', false],
      ['nas', true],
    ]);
    expect(storage.description).toContain(join(top, 'local'));
    expect(warnings).toEqual([]);
    expect(await stores[2]?.storage?.children('')).toEqual(['holdfast.json']);
  });

  it('warn of little space by their names, where there are several', async () => {
    const nas = stubSpec('nas', { path: join(top, 'nas') });
    const told = async (stores: readonly StoreSpec[]) =>
      (await ready(stores, small, 1e9)).warnings.map(({ message }) => message);
    expect(await told([local])).toEqual([expect.stringMatching(/^only /)]);
    expect(await told([local, nas])).toEqual([
      expect.stringMatching(/^in the store "local" only /),
      expect.stringMatching(/^in the store "nas" only /),
    ]);
  });

  it('are an error where none of them will hold the backup, that of the first', async () => {
    await expect(ready([local], huge)).rejects.toMatchObject({ code: 'NO_SPACE' });
    await expect(ready([local, broken], huge)).rejects.toMatchObject({ code: 'NO_SPACE' });
    const one = await ready([local, broken], small);
    expect(one.stores[1]?.error).toMatchObject({ code: 'STORE_REFUSED' });
  });
});
