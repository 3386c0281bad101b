/**
 * WAL that waits in BACKUP_DIR to be carried away (`local_copy` is off): it is newer than what any
 * store has, and a recovery on this machine reads it with the rest.
 */

import { openWalArchive, type WalArchive, walFolder } from '../../catalog/wal_archive.ts';
import { HoldfastError } from '../../core/errors.ts';
import { archivedPath } from '../../core/wal_listing.ts';
import type { Storage } from '../../storage/storage.ts';
import type { RepositoryContext } from '../context.ts';

/** Whether both are of one server: a name alone may be that of another one. */
async function areOfOneServer(own: WalArchive, there: WalArchive): Promise<boolean> {
  const claims = await Promise.all([own, there].map((each) => each.claim().catch(() => null)));
  const [first, second] = claims.map((claim) => claim?.system_identifier);
  return first !== undefined && first === second;
}

/** Names of the files, as PostgreSQL calls them, that lie here and not in the store. */
async function waitingFiles(own: WalArchive, there: WalArchive): Promise<Set<string>> {
  // Here first: what is carried meanwhile is in the other listing, and counts as carried.
  const [here, stored] = [await own.list(), await there.list()];
  const filesOf = ({ segments, histories }: typeof here) =>
    [...segments, ...histories].map(({ name }) => name);
  const present = new Set(filesOf(stored));
  return new Set(filesOf(here).filter((name) => !present.has(name)));
}

/** What an object of an archive belongs to: a segment with what lies beside it, or a history. */
function fileOf(key: string): string {
  const file = key.slice(key.lastIndexOf('/') + 1);
  const [, segment = file] = /^([0-9A-F]{24}(?:\.partial)?)\./.exec(file) ?? [];
  return segment;
}

/** The store, with the files of the archive that lie here and are not there. */
function withFiles(store: Storage, own: WalArchive, waiting: ReadonlySet<string>): Storage {
  const { storage: local, folder: archive } = own;
  const isHere = (key: string) => key.startsWith(`${archive}/`) && waiting.has(fileOf(key));
  const at = (key: string) => (isHere(key) ? local : store);
  const children = async (folder: string) => {
    const names = new Set(await store.children(folder));
    const here = folder === archive || folder.startsWith(`${archive}/`);
    for (const name of here ? await local.children(folder) : []) {
      const isFolderOfSome = [...waiting].some((file) =>
        archivedPath(file)?.startsWith(`${name}/`),
      );
      if (isHere(`${folder}/${name}`) || isFolderOfSome) names.add(name);
    }
    return [...names].sort();
  };
  /** What was carried away since it was listed is in the store. */
  const found = async <T>(key: string, ask: (storage: Storage) => Promise<T | null>) =>
    (await ask(at(key))) ?? (isHere(key) ? ask(store) : null);
  return {
    description: store.description,
    children,
    stat: (key) => found(key, (storage) => storage.stat(key)),
    identity: (key) => found(key, (storage) => storage.identity(key)),
    get: (key, range) =>
      at(key)
        .get(key, range)
        .catch((error: unknown) => {
          const isGone = error instanceof HoldfastError && error.code === 'BACKUP_NOT_FOUND';
          if (!isGone || !isHere(key)) throw error;
          return store.get(key, range);
        }),
    list: async function* (folder) {
      yield* store.list(folder);
      for await (const page of local.list(folder)) {
        const here = page.filter(({ key }) => isHere(key));
        if (here.length > 0) yield here;
      }
    },
    put: (key, body) => at(key).put(key, body),
    remove: (key) => at(key).remove(key),
    removeFolder: (folder, commitName) => store.removeFolder(folder, commitName),
    createFolder: (folder, facts) => store.createFolder(folder, facts),
    removeIfEmpty: (folder) => store.removeIfEmpty(folder),
    unfinishedFolders: (folder) => store.unfinishedFolders(folder),
    unfinishedObjects: (folder) => store.unfinishedObjects(folder),
    removeUnfinished: (key) => store.removeUnfinished(key),
    freeBytes: () => store.freeBytes(),
  };
}

/**
 * The repository as a recovery reads its WAL: as it is, unless nothing is kept in BACKUP_DIR and
 * WAL of the cluster still waits there.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function withWaitingWal(
  context: RepositoryContext,
  cluster: string,
): Promise<RepositoryContext> {
  const { repository, config, log } = context;
  const { storage, local } = repository;
  if (config.settings.local_copy || storage === local) return context;
  const [own, there] = [openWalArchive(local, cluster), openWalArchive(storage, cluster)];
  if ((await local.children(walFolder(cluster))).length === 0) return context;
  if (!(await areOfOneServer(own, there))) return context;
  const waiting = await waitingFiles(own, there);
  if (waiting.size === 0) return context;
  log.detail(`WAL that waits in ${local.description} is read too`, { files: waiting.size });
  const both = withFiles(storage, own, waiting);
  return { ...context, repository: { ...repository, storage: both } };
}
