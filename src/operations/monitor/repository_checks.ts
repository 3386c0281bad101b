/**
 * Looks whether the repository and each of its stores is there, and can be written where there is a
 * server to back up: on another host it may be read-only.
 */

import { access, constants, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { checksFolder, fullFolder, readHead } from '../../catalog/repository.ts';
import { incrementalFolder } from '../../catalog/wal_archive.ts';
import { localName } from '../../config/stores.ts';
import { toHoldfastError } from '../../core/errors.ts';
import type { HealthFinding } from '../../core/health.ts';
import { type FolderProblem, type StoreFacts, storeHealth } from '../../core/health_repository.ts';
import { errorNumber } from '../../process/durable.ts';
import { findUserById } from '../../process/user.ts';
import { within } from '../../process/within.ts';
import type { CheckGroup, MonitorContext, StoreListing } from './monitor_context.ts';
import { hasServer } from './server_asks.ts';

/** A folder that has not told by then whether it can be written lies on what hangs. */
const probeMsMax = 20_000;
/** The folders that runs write into; those that are not there yet are made by them. */
const writtenFolders = ['', fullFolder, incrementalFolder, checksFolder];
/** And those of this machine alone. */
const localFolders = ['state', 'logs'];

function userName(uid: number): string {
  return findUserById(uid)?.name ?? `user ${uid}`;
}

/** Whether this user may write into a folder, by access(2); one that is not there is no matter. */
async function writeProblem(path: string): Promise<FolderProblem | null> {
  try {
    await access(path, constants.R_OK | constants.W_OK | constants.X_OK);
    return null;
  } catch (error) {
    const number = errorNumber(error);
    if (number === 'ENOENT') return null;
    return { kind: number === 'EROFS' ? 'read-only' : 'mode', path };
  }
}

/** What is wrong with the folder of a store. */
async function folderProblem(root: string, isLocal: boolean): Promise<FolderProblem | null> {
  const stats = await stat(root).catch(() => null);
  if (stats === null) return null;
  const uid = process.geteuid?.() ?? stats.uid;
  for (const name of [...writtenFolders, ...(isLocal ? localFolders : [])]) {
    const problem = await writeProblem(join(root, name));
    if (problem === null) continue;
    if (problem.kind === 'read-only' || stats.uid === uid) return problem;
    const [owner, user] = [userName(stats.uid), userName(uid)];
    return { kind: 'owner', path: root, owner, user };
  }
  // Root may write anywhere: what it writes in the place of the owner, the owner cannot use.
  const isForeign = isLocal && stats.uid !== uid;
  if (!isForeign) return null;
  return { kind: 'owner', path: root, owner: userName(stats.uid), user: userName(uid) };
}

async function storeFacts(
  { context }: MonitorContext,
  listing: StoreListing,
  isWritten: boolean,
): Promise<StoreFacts> {
  const { spec } = listing.store;
  const { repository } = context;
  const isLocal = spec.name === localName;
  const root = spec.kind === 'folder' ? spec.path : null;
  const base = {
    name: spec.name,
    isRequired: spec.isRequired,
    expectedId: repository.id,
    problem: null,
    repositoryId: null,
    backups: 0,
  };
  const failed = (thrown: unknown): StoreFacts => {
    const { message, hint = null } = toHoldfastError(thrown);
    const where = root ?? 'a bucket';
    return { ...base, description: where, failure: { message, hint } };
  };
  if (listing.error !== null) return failed(listing.error);
  const { storage } = listing.view.repository;
  const late = () => toHoldfastError(new Error(`it has not answered in ${probeMsMax / 1000} s`));
  try {
    const work = async (): Promise<StoreFacts> => {
      const head = await readHead(storage);
      const isProbed = root !== null && isWritten;
      const problem = isProbed ? await folderProblem(root, isLocal) : null;
      const backups = listing.full.backups.length + listing.bases.length;
      const repositoryId = head?.repository_id ?? null;
      const { description } = storage;
      return { ...base, description, failure: null, problem, repositoryId, backups };
    };
    return await within(probeMsMax, work(), late);
  } catch (thrown) {
    return failed(thrown);
  }
}

/** BACKUP_DIR where no backups are kept in it: logs, state, the hooks' archive. */
async function folderOfMachine({ context }: MonitorContext): Promise<StoreFacts[]> {
  const { repository } = context;
  const { root, id: expectedId } = repository;
  if (repository.stores.some(({ spec }) => spec.name === localName)) return [];
  const problem = await folderProblem(root, true);
  const description = `the folder ${root}`;
  const about = { name: 'BACKUP_DIR', isRequired: true, description, failure: null, problem };
  return [{ ...about, repositoryId: expectedId, expectedId, backups: 0 }];
}

async function checkRepository(monitor: MonitorContext): Promise<readonly HealthFinding[]> {
  const [listings, isWritten] = await Promise.all([monitor.listing(), hasServer(monitor.context)]);
  const facts = await Promise.all(
    listings.map((listing) => storeFacts(monitor, listing, isWritten)),
  );
  const folder = isWritten ? await folderOfMachine(monitor) : [];
  return [...folder, ...facts].map(storeHealth);
}

/** Whether what holds the backups is there and takes more. */
export const repositoryGroup: CheckGroup = {
  name: 'repository',
  checks: ['repository'],
  needs: 'repository',
  run: checkRepository,
};
