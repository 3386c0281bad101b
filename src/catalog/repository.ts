/** A repository: its head, its folders, and the keys of what lies in it (REPOSITORY.md). */

import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { HoldfastError } from '../core/errors.ts';
import { requireLabel } from '../core/label.ts';
import { encodeComponent } from '../core/names.ts';
import { type Static, Type } from '../core/type_builder.ts';
import { documentBytes, documentReader } from '../core/validate.ts';
import { openStorage } from '../storage/open.ts';
import type { Storage } from '../storage/storage.ts';

/** The newest format of a repository that this version reads and the one it creates. */
const repositoryFormat = 1;
/** The object that makes a folder a repository. */
const headName = 'holdfast.json';
/** What may lie in a folder that becomes a repository. */
const allowedBefore = new Set(['lost+found', 'logs', 'state', 'status.json']);

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
  readonly storage: Storage;
  /** The folder on this machine. */
  readonly root: string;
  readonly id: string;
  readonly createdAt: Date;
  /** Local only: JSON-lines logs; locks, records of runs. */
  readonly logsDir: string;
  readonly stateDir: string;
}

export interface OpenRepositoryOptions {
  /** Whether a repository is begun where there is none. */
  readonly create: boolean;
  /** For a new repository. */
  readonly now: Date;
}

async function readHead(storage: Storage): Promise<Static<typeof headSchema> | null> {
  if ((await storage.stat(headName)) === null) return null;
  return parseHead(await buffer(await storage.get(headName)));
}

/** Writes the head once; of two who create a repository at the same time both get the first's. */
async function createHead(
  storage: Storage,
  root: string,
  now: Date,
): Promise<Static<typeof headSchema>> {
  const foreign = (await storage.children('')).find((name) => !allowedBefore.has(name));
  const head = {
    format: repositoryFormat,
    repository_id: randomUUID(),
    created_at: now.toISOString(),
  };
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
    `${root} is not empty and is no repository (it holds ${JSON.stringify(foreign)})`,
    { hint: 'Set BACKUP_DIR to an empty or new folder.' },
  );
}

/**
 * Opens the repository in a folder.
 *
 * @param root the setting `backup_dir`: an absolute path
 * @throws HoldfastError BACKUP_NOT_FOUND when there is none and none is to be created;
 *   STORE_REFUSED when the folder holds something else, or a repository of a newer format
 */
export async function openRepository(
  root: string,
  { create, now }: OpenRepositoryOptions,
): Promise<Repository> {
  const storage = openStorage(root);
  const found = await readHead(storage);
  if (found === null && !create) {
    throw new HoldfastError('BACKUP_NOT_FOUND', `there is no repository in ${root}`, {
      hint: 'Set BACKUP_DIR to the folder of the repository; the first backup creates it.',
    });
  }
  const head = found ?? (await createHead(storage, root, now));
  return {
    storage,
    root,
    id: head.repository_id,
    createdAt: new Date(head.created_at),
    logsDir: join(root, 'logs'),
    stateDir: join(root, 'state'),
  };
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
