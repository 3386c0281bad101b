/** A repository that is kept in BACKUP_DIR and in a second folder, `nas`; without a server. */

import { chmod, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { openRepository, openToWrite, type Repository } from '../../src/catalog/repository.ts';
import { localSpec, type RetentionSettings, type StoreSpec } from '../../src/config/stores.ts';
import type { Manifest } from '../../src/core/manifest.ts';
import type { RepositoryContext } from '../../src/operations/context.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { type CommandName, type Outcome, type RunOptions, runCommand } from './command.ts';
import { sampleContext, writeSampleBackup } from './sample_backup.ts';
import { flipped } from './workbench.ts';

export type StoreName = 'local' | 'nas';

export interface TwoStores {
  readonly folder: string;
  readonly repository: Repository;
  readonly storages: Readonly<Record<StoreName, Storage>>;
  /** The path of a store. */
  path(store: StoreName): string;
  /** Writes a sample backup into some stores. @returns the key of its folder */
  sample(stores: readonly StoreName[], manifest: Partial<Manifest>): Promise<string>;
  /** Flips one bit of a file in one store. */
  flip(store: StoreName, key: string): Promise<void>;
  context(overrides?: Partial<RepositoryContext>): RepositoryContext;
  /** Runs a command with both stores in its settings. */
  run(name: CommandName, argv: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Loses BACKUP_DIR, as with its machine. */
  loseLocal(): Promise<void>;
  /** Lets the second store answer nothing but errors. */
  breakNas(): Promise<void>;
  close(): Promise<void>;
}

/** More settings of the second store. */
type NasSettings = Partial<RetentionSettings> & { readonly required?: boolean };

/** Opens it; both stores are empty. */
export async function openTwoStores(entry: NasSettings = {}): Promise<TwoStores> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-stores-'));
  const paths = { local: join(folder, 'r'), nas: join(folder, 'nas') };
  const config = join(folder, 'holdfast.yaml');
  const { required = true, ...retention } = entry;
  const lines = Object.entries(entry).map(([name, value]) => `    ${name}: ${value}`);
  const head = ['stores:', '  nas:', `    path: ${paths.nas}`];
  await writeFile(config, `${[...head, ...lines].join('\n')}\n`, { mode: 0o600 });
  const { retention: general, ...spec } = localSpec(paths.nas);
  const own = { name: 'nas', isRequired: required, retention: { ...general, ...retention } };
  const nas: StoreSpec = { ...spec, ...own, kind: 'folder', path: paths.nas };
  const now = new Date();
  const specs = [localSpec(paths.local), nas];
  const repository = await openRepository(paths.local, { create: true, now, stores: specs });
  const [, second] = repository.stores;
  if (second === undefined) throw new Error('there are two stores');
  const storages = { local: repository.local, nas: await openToWrite(repository, second) };

  return {
    folder,
    repository,
    storages,
    path: (store) => paths[store],
    async sample(stores, manifest) {
      let key = '';
      for (const store of stores) key = await writeSampleBackup(storages[store], { manifest });
      return key;
    },
    async flip(store, key) {
      const path = join(paths[store], key);
      await chmod(path, 0o600);
      await writeFile(path, flipped(await readFile(path)));
    },
    context: (overrides = {}) =>
      sampleContext(repository, createCatalog(repository.storage), overrides),
    run: (name, argv, options = {}) =>
      runCommand(name, [...argv, '--config', config], {
        ...options,
        // No server is there, whatever runs on this machine.
        environment: { BACKUP_DIR: paths.local, PGHOST: folder, ...options.environment },
      }),
    async loseLocal() {
      await rm(paths.local, { recursive: true });
      await mkdir(paths.local);
    },
    async breakNas() {
      await rename(paths.nas, `${paths.nas}.away`);
      // A link that leads to itself: every access fails, also that of root.
      await symlink(paths.nas, paths.nas);
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}
