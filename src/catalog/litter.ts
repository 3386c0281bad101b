/**
 * What lies in a repository and belongs to no backup: what killed runs have left, checks whose
 * backup is gone, and what somebody else has put there, which is named and never touched.
 */

import { parseLabel } from '../core/label.ts';
import { decodeComponent } from '../core/names.ts';
import type { Storage } from '../storage/storage.ts';
import { isCheckName } from './checks.ts';
import { type DatabaseFilter, type DatabaseFolder, databaseFolders } from './database_folders.ts';
import { checksFolder, fullFolder, probeFolder } from './repository.ts';
import { forgetDeadRuns, isAbandoned, removeStale, staleUnfinished } from './runs.ts';

/** One thing that nobody needs any more. */
export interface Litter {
  readonly kind: 'unfinished backup' | 'unfinished file' | 'check' | 'file of the WAL';
  /** Of the folder or object, without the suffix of what is unfinished. */
  readonly key: string;
  /** Why it may go. */
  readonly reason: string;
}

/** All that belongs to nothing. */
export interface FoundLitter {
  readonly litter: readonly Litter[];
  /** Keys that nothing of ours has. */
  readonly foreign: readonly string[];
}

export interface LitterOptions {
  readonly storage: Storage;
  /** `Repository.stateDir` */
  readonly stateDir: string;
  readonly filter: DatabaseFilter;
  readonly now: Date;
  /** Whether killed runs stay known when what they have left here is removed. */
  readonly remembersRuns?: boolean | undefined;
}

/** What a repository may hold at its top. */
const knownAtTop = new Set([
  'holdfast.json',
  fullFolder,
  checksFolder,
  'incremental',
  'hooks',
  probeFolder,
  'status.json',
  'logs',
  'state',
  'lost+found',
]);

interface CheckFolder {
  /** `<cluster>/<database>/<label>` as they are encoded. */
  readonly place: string;
  readonly names: readonly string[];
}

/** `full/a/b/label` → `a/b/label`. */
function placeOf(top: string, folder: string): string {
  return folder.slice(top.length + 1);
}

/** Every folder of checks, and what lies beside them. */
async function readChecks(
  storage: Storage,
  databases: readonly DatabaseFolder[],
  foreign: string[],
): Promise<CheckFolder[]> {
  const found: CheckFolder[] = [];
  for (const { folder } of databases) {
    for (const label of await storage.children(folder)) {
      const key = `${folder}/${label}`;
      if (parseLabel(label) === null) {
        foreign.push(key);
        continue;
      }
      const names = await storage.children(key);
      if (names.length === 0) foreign.push(...(await ifObject(storage, key)));
      const unknown = names.filter((name) => !isCheckName(name));
      foreign.push(...unknown.map((name) => `${key}/${name}`));
      found.push({ place: placeOf(checksFolder, key), names: names.filter(isCheckName) });
    }
  }
  return found;
}

/** The key itself where an object lies, of which none belongs there. */
async function ifObject(storage: Storage, key: string): Promise<string[]> {
  return (await storage.stat(key)) === null ? [] : [key];
}

/** The places of all folders that have the name of a backup. */
async function readPlaces(
  storage: Storage,
  databases: readonly DatabaseFolder[],
  foreign: string[],
): Promise<Set<string>> {
  const places = new Set<string>();
  for (const { folder } of databases) {
    for (const name of await storage.children(folder)) {
      if (parseLabel(name) === null) foreign.push(`${folder}/${name}`);
      else places.add(placeOf(fullFolder, `${folder}/${name}`));
    }
  }
  return places;
}

/** Whether there is any folder that has the name of a backup, of whatever database. */
async function hasBackups(storage: Storage): Promise<boolean> {
  for (const { folder } of await databaseFolders(storage, fullFolder)) {
    const names = await storage.children(folder);
    if (names.some((name) => parseLabel(name) !== null)) return true;
  }
  return false;
}

/** Objects where only folders belong: at the top, among the clusters, among the databases. */
async function foreignAbove(storage: Storage, filter: DatabaseFilter): Promise<string[]> {
  if (filter.cluster !== undefined || filter.database !== undefined) return [];
  const found = (await storage.children('')).filter((name) => !knownAtTop.has(name));
  for (const top of [fullFolder, checksFolder]) {
    for (const cluster of await storage.children(top)) {
      found.push(...(await ifObject(storage, `${top}/${cluster}`)));
      for (const database of await storage.children(`${top}/${cluster}`)) {
        found.push(...(await ifObject(storage, `${top}/${cluster}/${database}`)));
      }
    }
  }
  return found;
}

/** Whether a key lies in the folder of a database that is meant. */
function isMeant(key: string, { cluster, database }: DatabaseFilter): boolean {
  const [, clusterPart = '', databasePart = ''] = key.split('/');
  const is = (wanted: string | undefined, part: string) =>
    wanted === undefined || wanted === (decodeComponent(part) ?? part);
  return is(cluster, clusterPart) && is(database, databasePart);
}

/** What killed runs have left: folders of backups, and small files beside the checks. */
async function unfinished({ storage, stateDir, filter, now }: LitterOptions): Promise<Litter[]> {
  const stale = await staleUnfinished({ storage, stateDir, folder: fullFolder, now });
  const folders = stale.map(
    ({ folder, reason }): Litter => ({ kind: 'unfinished backup', key: folder, reason }),
  );
  const begun = [
    ...(await storage.unfinishedObjects(checksFolder)),
    ...(await storage.unfinishedFolders(checksFolder)).map((each) => ({
      ...each,
      key: each.folder,
    })),
  ];
  const files = begun
    .filter(({ modifiedAt }) => isAbandoned(modifiedAt, now))
    .map(({ key }): Litter => {
      return { kind: 'unfinished file', key, reason: 'nothing has changed in it for a day' };
    });
  return [...folders, ...files].filter(({ key }) => isMeant(key, filter));
}

/**
 * Looks for what belongs to no backup.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function findLitter(options: LitterOptions): Promise<FoundLitter> {
  const { storage, filter } = options;
  const foreign = await foreignAbove(storage, filter);
  // The checks first: what is committed since then cannot make one of them look lost.
  const ofChecks = await databaseFolders(storage, checksFolder, filter);
  const checks = await readChecks(storage, ofChecks, foreign);
  const own = await readPlaces(
    storage,
    await databaseFolders(storage, fullFolder, filter),
    foreign,
  );
  const missing = checks.filter(({ place }) => !own.has(place));
  // Without any backup it is the tree of backups that is lost, mostly a disk that is not mounted.
  const isLost = missing.length > 0 && own.size === 0 && !(await hasBackups(storage));
  const lost = isLost ? [] : missing;
  const orphans = lost.flatMap(({ place, names }) =>
    names.map((name): Litter => {
      const key = `${checksFolder}/${place}/${name}`;
      return { kind: 'check', key, reason: 'its backup is gone' };
    }),
  );
  return { litter: [...(await unfinished(options)), ...orphans], foreign };
}

/** The folders that may be empty, deepest first; those of another program's names are left. */
async function emptied(storage: Storage, filter: DatabaseFilter): Promise<string[]> {
  const isOurs = (name: string) => decodeComponent(name) !== null;
  const folders: string[] = [];
  for (const top of [fullFolder, checksFolder]) {
    for (const { folder } of await databaseFolders(storage, top, filter)) {
      const [, cluster = '', database = ''] = folder.split('/');
      if (!isOurs(cluster) || !isOurs(database)) continue;
      const labels = (await storage.children(folder)).filter((name) => parseLabel(name) !== null);
      folders.push(...labels.map((label) => `${folder}/${label}`), folder);
    }
    const clusters = (await storage.children(top)).filter(isOurs);
    folders.push(...clusters.map((cluster) => `${top}/${cluster}`));
  }
  return folders;
}

/**
 * Removes litter, as far as it still is some, and the folders that are empty then.
 *
 * @param chosen keys of litter; what is none any more is left
 * @returns what was removed
 * @throws HoldfastError STORE_REFUSED, STORE_UNREACHABLE
 */
export async function removeLitter(
  options: LitterOptions,
  chosen: ReadonlySet<string>,
): Promise<Litter[]> {
  const { storage, filter } = options;
  const going = chosen.size === 0 ? [] : await removeChosen(options, chosen);
  if (options.remembersRuns !== true) await forgetDeadRuns({ ...options, folder: fullFolder });
  // A bucket, which tells all in one walk, has no folders that could stay behind empty.
  const folders = storage.survey === undefined ? await emptied(storage, filter) : [];
  for (const folder of folders) await storage.removeIfEmpty(folder);
  return going;
}

/** Removes what was chosen and still is litter. */
async function removeChosen(
  options: LitterOptions,
  chosen: ReadonlySet<string>,
): Promise<Litter[]> {
  const { storage, stateDir, now, remembersRuns = false } = options;
  const { litter } = await findLitter(options);
  const going = litter.filter(({ key }) => chosen.has(key));
  const stale = await staleUnfinished({ storage, stateDir, folder: fullFolder, now });
  await removeStale(
    storage,
    remembersRuns ? null : stateDir,
    stale.filter(({ folder }) => chosen.has(folder)),
  );
  for (const { kind, key } of going) {
    if (kind === 'check') await storage.remove(key);
    if (kind === 'unfinished file') await storage.removeUnfinished(key);
  }
  return going;
}
