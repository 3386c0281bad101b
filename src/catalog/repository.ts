/** A repository: its head, its folders, and the keys of what lies in it (REPOSITORY.md). */

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { localName, localSpec, type StoreSpec } from '../config/stores.ts';
import { assert } from '../core/assert.ts';
import { HoldfastError } from '../core/errors.ts';
import { requireLabel } from '../core/label.ts';
import { encodeComponent } from '../core/names.ts';
import { type Static, Type } from '../core/type_builder.ts';
import { documentBytes, documentReader } from '../core/validate.ts';
import { openFolder } from '../storage/open.ts';
import type { Storage } from '../storage/storage.ts';
import { createStores, type Store } from './stores.ts';

/** The newest format of a repository that this version reads and the one it creates. */
const repositoryFormat = 1;
/** The object that makes a folder a repository. */
export const headName = 'holdfast.json';
/** Where the doctor tries what a store can do; where objects are locked its probes stay. */
export const probeFolder = 'doctor';
/** What may lie in a folder that becomes a repository. */
const allowedBefore = new Set(['lost+found', 'logs', 'state', 'status.json', probeFolder]);

const headSchema = Type.Object({
  format: Type.Integer({ minimum: 1 }),
  repository_id: Type.String({ minLength: 1 }),
  created_at: Type.String({ minLength: 1 }),
});

const parseHead = documentReader(headSchema, {
  name: `the repository's ${headName}`,
  format: repositoryFormat,
  code: 'STORE_REFUSED',
});

/** A repository that was opened or created. */
export interface Repository {
  /** The first of the stores: what a run works with, where it does not ask for another one. */
  readonly storage: Storage;
  /** All of them, the first one too. */
  readonly stores: readonly [Store, ...Store[]];
  /** The folder on this machine: logs, state, and the archive that the hooks of WAL write into. */
  readonly root: string;
  /** What lies there, whether or not backups are kept in it. */
  readonly local: Storage;
  readonly id: string;
  readonly createdAt: Date;
  /** Local only: JSON-lines logs; locks, records of runs. */
  readonly logsDir: string;
  readonly stateDir: string;
}

export interface OpenRepositoryOptions {
  /** Whether one is begun where there is none; `plan`: it is told as it would be begun. */
  readonly create: boolean | 'plan';
  /** For a new repository. */
  readonly now: Date;
  /** Where backups are kept; without them in the folder alone. */
  readonly stores?: readonly StoreSpec[];
}

type Head = Static<typeof headSchema>;

/**
 * What `holdfast.json` of a store says; `null` where there is none.
 *
 * @throws HoldfastError STORE_REFUSED where it cannot be read; STORE_UNREACHABLE
 */
export async function readHead(storage: Storage): Promise<Head | null> {
  if ((await storage.stat(headName)) === null) return null;
  return parseHead(await buffer(await storage.get(headName)));
}

/** Writes the head once; of two who create a repository at the same time both get the first's. */
async function createHead(storage: Storage, head: Head): Promise<Head> {
  const foreign = (await storage.children('')).find((name) => !allowedBefore.has(name));
  if (foreign === undefined) {
    try {
      await storage.put(headName, documentBytes(head));
      return head;
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'STORE_EXISTS') throw error;
    }
  }
  const existing = await readHead(storage);
  if (existing !== null) return existing;
  throw new HoldfastError(
    'STORE_REFUSED',
    `the ${storage.description} is not empty and is no repository ` +
      `(it holds ${JSON.stringify(foreign)})`,
    { hint: 'Set BACKUP_DIR (of a bucket BACKUP_PREFIX) to a place that is empty or new.' },
  );
}

/** The head of the first of other stores that has one; what the others said, if none has. */
async function headElsewhere(stores: readonly Store[]): Promise<Head | null> {
  const failures: unknown[] = [];
  for (const store of stores) {
    if (store.spec.name === localName) continue;
    try {
      const head = await readHead(await store.open());
      if (head !== null) return head;
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw failures[0];
  return null;
}

/** A store that does not answer keeps nobody from a backup into another one. */
function unlessCreating(create: OpenRepositoryOptions['create']): (error: unknown) => null {
  return (error) => {
    if (create !== false) return null;
    throw error;
  };
}

/**
 * The error of a place without a repository.
 *
 * @param place BACKUP_DIR, and where else was looked
 */
export function noRepository(place: string): HoldfastError {
  return new HoldfastError('BACKUP_NOT_FOUND', `there is no repository in ${place}`, {
    hint:
      'Mount its disk, if it lies on one of its own, or set BACKUP_DIR to its folder; ' +
      'where there was none the first backup creates it.',
  });
}

/**
 * Opens a repository: a folder of this machine, and the stores that it is kept in. Where the folder
 * is new, as on a machine that takes the place of a lost one, the other stores tell which it is.
 *
 * @param root the setting `backup_dir`: an absolute path
 * @throws HoldfastError BACKUP_NOT_FOUND when there is none and none is to be created;
 *   STORE_REFUSED when the folder holds something else, or a repository of a newer format; what the
 *   other stores throw, where they have to be asked
 */
export async function openRepository(
  root: string,
  { create, now, stores: specs }: OpenRepositoryOptions,
): Promise<Repository> {
  const local = openFolder(root);
  const stores = createStores(specs ?? [localSpec(root)]);
  const [first] = stores;
  assert(first !== undefined, 'a repository is kept somewhere');
  const own = await readHead(local);
  const known = own ?? (await headElsewhere(stores).catch(unlessCreating(create)));
  if (known === null && create === false) {
    const others = stores.filter(({ spec }) => spec.name !== localName);
    const nor = others.map(({ spec }) => `, nor in the store ${JSON.stringify(spec.name)}`);
    throw noRepository(`${root}${nor.join('')}`);
  }
  const head = known ?? {
    format: repositoryFormat,
    repository_id: randomUUID(),
    created_at: now.toISOString(),
  };
  const settled = own === null && create === true ? await createHead(local, head) : head;
  return {
    storage: first.spec.name === localName ? local : await first.open(),
    stores: [first, ...stores.slice(1)],
    root,
    local,
    id: settled.repository_id,
    createdAt: new Date(settled.created_at),
    logsDir: join(root, 'logs'),
    stateDir: join(root, 'state'),
  };
}

/**
 * Opens a store to write into it: where it is empty it becomes one of this repository.
 *
 * @throws HoldfastError STORE_REFUSED when it holds something else; STORE_UNREACHABLE
 */
export async function openToWrite(repository: Repository, store: Store): Promise<Storage> {
  const storage = await store.open();
  if ((await readHead(storage)) === null) {
    await createHead(storage, {
      format: repositoryFormat,
      repository_id: repository.id,
      created_at: repository.createdAt.toISOString(),
    });
  }
  return storage;
}

/** Which backup: names as they are, not encoded. */
export interface BackupPlace {
  readonly cluster: string;
  readonly database: string;
  readonly label: string;
}

/** Below it lie the clusters with the logical backups of their databases. */
export const fullFolder = 'full';
/** Below it lie the results of checks, in the same tree. */
export const checksFolder = 'checks';

/** The folder that a backup lies in: that of a database, or of the base backups of a cluster. */
export function folderAbove(folder: string): string {
  return folder.slice(0, folder.lastIndexOf('/'));
}

/** `full/<cluster>/<database>`: the folder of the logical backups of one database. */
export function databaseFolder(cluster: string, database: string): string {
  return `${fullFolder}/${encodeComponent(cluster)}/${encodeComponent(database)}`;
}

/**
 * `full/<cluster>/<database>/<label>`: the folder of one backup.
 *
 * @throws HoldfastError USAGE when the label is none
 */
export function backupFolder(cluster: string, database: string, label: string): string {
  return `${databaseFolder(cluster, database)}/${requireLabel(label).text}`;
}
