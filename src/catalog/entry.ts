/** One entry of the catalog: a folder of a backup, and whether it is what it seems to be. */

import { buffer } from 'node:stream/consumers';
import { HoldfastError } from '../core/errors.ts';
import { parseLabel } from '../core/label.ts';
import { type Manifest, manifestName } from '../core/manifest.ts';
import { parseManifest } from '../core/manifest_codec.ts';
import { type ManifestFacts, manifestFacts } from '../core/manifest_facts.ts';
import { encodeComponent } from '../core/names.ts';
import type { Storage } from '../storage/storage.ts';
import { type CheckState, latestCheck } from './checks.ts';
import type { ManifestCache } from './manifest_cache.ts';
import { type BackupPlace, fullFolder } from './repository.ts';

/** Where a backup lies: its names and the key of its folder. */
export interface EntryPlace extends BackupPlace {
  readonly folder: string;
}

interface EntryBase extends EntryPlace {
  /** The result of the latest check; `null` when there was none. */
  readonly check: CheckState | null;
}

/** A backup whose manifest was read and stands in its right place. */
export interface BackupEntry extends EntryBase {
  readonly manifest: Manifest;
  readonly problem: null;
}

/** A folder that is no usable backup: without a manifest, with a wrong one, or in a wrong place. */
export interface DamagedEntry extends EntryBase {
  readonly manifest: null;
  readonly problem: HoldfastError;
}

/** A folder of a backup; `problem` tells the two kinds apart. */
export type CatalogEntry = BackupEntry | DamagedEntry;

/** A folder of a backup with what a list shows of its manifest, or why that cannot be used. */
export interface ListedEntry extends EntryBase {
  readonly facts: ManifestFacts | null;
  readonly problem: HoldfastError | null;
}

/** Errors that say something about one backup, not about the whole store. */
const damageCodes = new Set<string>([
  'BACKUP_NOT_FOUND',
  'DAMAGED',
  'MANIFEST_INVALID',
  'PATH_REFUSED',
  'STORE_UNREACHABLE',
]);

/**
 * What is wrong with a manifest in that place, or `null`: a backup that was moved or whose manifest
 * was exchanged is not the one that its folder says.
 */
export function misplacement(manifest: Manifest, place: EntryPlace): string | null {
  const { cluster, database, label } = manifest;
  const parts = [fullFolder, encodeComponent(cluster), encodeComponent(database), label];
  const folder = parts.join('/');
  return folder === place.folder
    ? null
    : `the manifest belongs to ${folder}, but lies in ${place.folder}`;
}

/** Reads the manifest in a folder. @throws HoldfastError whatever is wrong with it or the store */
async function readManifest(storage: Storage, place: EntryPlace): Promise<Manifest> {
  const manifest = parseManifest(
    await buffer(await storage.get(`${place.folder}/${manifestName}`)),
  );
  const problem = misplacement(manifest, place);
  if (problem !== null) throw new HoldfastError('DAMAGED', problem);
  return manifest;
}

/**
 * Whether there is no backup, not even a damaged one: it was removed since it was seen, or what
 * lies there has neither a label for its name nor a manifest in it, such as a README.
 */
async function isNone(storage: Storage, { label, folder }: EntryPlace): Promise<boolean> {
  if (parseLabel(label) === null) return true;
  const [children, object] = await Promise.all([storage.children(folder), storage.stat(folder)]);
  return children.length === 0 && object === null;
}

/** The error as a fact about this backup. */
function asProblem(error: HoldfastError, place: EntryPlace): HoldfastError {
  const name = `${place.folder}/${manifestName}`;
  return error.code === 'BACKUP_NOT_FOUND'
    ? new HoldfastError('DAMAGED', `there is no ${name}`, { cause: error })
    : new HoldfastError(error.code, `${name}: ${error.message}`, {
        hint: error.hint,
        cause: error,
      });
}

/**
 * Reads an entry; `null` when its folder has been removed, or never was one of a backup.
 *
 * @param hasChecks whether there is anything to read about its checks
 * @throws HoldfastError when the store refuses
 */
export async function readEntry(
  storage: Storage,
  place: EntryPlace,
  hasChecks = true,
): Promise<CatalogEntry | null> {
  const check = hasChecks ? await latestCheck(storage, place.folder) : null;
  try {
    return { ...place, check, manifest: await readManifest(storage, place), problem: null };
  } catch (error) {
    if (!(error instanceof HoldfastError) || !damageCodes.has(error.code)) throw error;
    if (error.code === 'BACKUP_NOT_FOUND' && (await isNone(storage, place))) return null;
    return { ...place, check, manifest: null, problem: asProblem(error, place) };
  }
}

/**
 * Reads what a list shows of an entry, from the cache where its manifest is the one that was read
 * before; `null` when its folder has been removed.
 *
 * @throws HoldfastError when the store refuses
 */
export async function readFacts(
  storage: Storage,
  place: EntryPlace,
  hasChecks: boolean,
  cache: ManifestCache,
): Promise<ListedEntry | null> {
  // Looked at before the manifest is read: if that changes in between it is read again next time.
  const identity = await storage.identity(`${place.folder}/${manifestName}`).catch(() => null);
  const known = identity === null ? null : cache.get(place.folder, identity);
  if (known !== null) {
    const check = hasChecks ? await latestCheck(storage, place.folder) : null;
    return { ...place, check, facts: known, problem: null };
  }
  const entry = await readEntry(storage, place, hasChecks);
  if (entry === null) return null;
  const { manifest, problem, check } = entry;
  const facts = manifest === null ? null : manifestFacts(manifest);
  if (identity !== null && facts !== null) cache.put(place.folder, identity, facts);
  return { ...place, check, facts, problem };
}
