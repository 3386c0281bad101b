import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalStorage } from '../../src/storage/local.ts';
import { storageContract } from './storage.ts';
import { folderAbilities } from './storage_support.ts';

storageContract('local store', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-store-'));
  return {
    storage: createLocalStorage({ root: join(folder, 'repository') }),
    abilities: folderAbilities,
    close: () => rm(folder, { recursive: true, force: true }),
  };
});
