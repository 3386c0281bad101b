/** Which base backups a repository holds. Read from the repository, never kept. */

import { buffer } from 'node:stream/consumers';
import type { BaseManifest } from '../core/base_manifest.ts';
import { parseBaseManifest } from '../core/base_manifest_codec.ts';
import { HoldfastError } from '../core/errors.ts';
import { parseBaseLabel, requireBaseLabel } from '../core/label.ts';
import { manifestName } from '../core/manifest.ts';
import { decodeComponent, encodeComponent } from '../core/names.ts';
import type { Storage } from '../storage/storage.ts';
import { type CheckState, latestCheck } from './checks.ts';
import { mapBounded } from './map_bounded.ts';
import { incrementalFolder } from './wal_archive.ts';

/** Where a base backup lies. */
export interface BasePlace {
  readonly cluster: string;
  readonly label: string;
  /** The key of its folder. */
  readonly folder: string;
}

interface BaseEntryParts extends BasePlace {
  /** The result of the latest check; `null` when there was none. */
  readonly check: CheckState | null;
}

/** A folder of a base backup; `problem` tells why its manifest cannot be used. */
export type BaseEntry =
  | (BaseEntryParts & { readonly manifest: BaseManifest; readonly problem: null })
  | (BaseEntryParts & { readonly manifest: null; readonly problem: HoldfastError });

/** Which base backups; what is absent does not restrict. */
export interface BaseFilter {
  readonly cluster?: string | undefined;
}

const readsMax = 16;

/** `incremental/<cluster>/base`: the folder of the base backups of one cluster. */
export function baseFolder(cluster: string): string {
  return `${incrementalFolder}/${encodeComponent(cluster)}/base`;
}

/** The folder of one base backup. @throws HoldfastError USAGE when the label is none */
export function baseBackupFolder(cluster: string, label: string): string {
  return `${baseFolder(cluster)}/${requireBaseLabel(label).text}`;
}

/** What is wrong with one backup, and not with the whole store. */
const damageCodes = new Set<string>([
  'BACKUP_NOT_FOUND',
  'DAMAGED',
  'MANIFEST_INVALID',
  'PATH_REFUSED',
  'STORE_UNREACHABLE',
]);

/** What is wrong with a manifest in that place, or `null`. */
export function baseMisplacement(manifest: BaseManifest, place: BasePlace): string | null {
  const folder = baseBackupFolder(manifest.cluster, manifest.label);
  return folder === place.folder
    ? null
    : `the manifest belongs to ${folder}, but lies in ${place.folder}`;
}

async function readEntry(storage: Storage, place: BasePlace): Promise<BaseEntry | null> {
  const key = `${place.folder}/${manifestName}`;
  const check = await latestCheck(storage, place.folder);
  try {
    const manifest = parseBaseManifest(await buffer(await storage.get(key)));
    const problem = baseMisplacement(manifest, place);
    if (problem !== null) throw new HoldfastError('DAMAGED', problem);
    return { ...place, check, manifest, problem: null };
  } catch (error) {
    if (!(error instanceof HoldfastError) || !damageCodes.has(error.code)) throw error;
    // It was removed since it was seen.
    if ((await storage.children(place.folder)).length === 0) return null;
    const text = error.code === 'BACKUP_NOT_FOUND' ? `there is no ${key}` : error.message;
    const code = error.code === 'BACKUP_NOT_FOUND' ? 'DAMAGED' : error.code;
    const problem = new HoldfastError(code, text, { hint: error.hint, cause: error });
    return { ...place, check, manifest: null, problem };
  }
}

async function places(storage: Storage, filter: BaseFilter): Promise<BasePlace[]> {
  const found: BasePlace[] = [];
  for (const component of await storage.children(incrementalFolder)) {
    const cluster = decodeComponent(component) ?? component;
    if (filter.cluster !== undefined && filter.cluster !== cluster) continue;
    const above = `${incrementalFolder}/${component}/base`;
    for (const label of await storage.children(above)) {
      if (parseBaseLabel(label) === null) continue;
      found.push({ cluster, label, folder: `${above}/${label}` });
    }
  }
  return found;
}

/**
 * All base backups, sorted by label; damaged ones too, as such.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function listBaseBackups(
  storage: Storage,
  filter: BaseFilter = {},
): Promise<BaseEntry[]> {
  const found = await places(storage, filter);
  const entries = await mapBounded(found, readsMax, (place) => readEntry(storage, place));
  return entries
    .filter((entry) => entry !== null)
    .sort((a, b) =>
      a.label === b.label ? (a.folder < b.folder ? -1 : 1) : a.label < b.label ? -1 : 1,
    );
}

/**
 * The base backup of that label, damaged or not.
 *
 * @throws HoldfastError USAGE when the text is no label, or two clusters have it and the filter
 *   does not say which; BACKUP_NOT_FOUND
 */
export async function findBaseBackup(
  storage: Storage,
  label: string,
  filter: BaseFilter = {},
): Promise<BaseEntry> {
  requireBaseLabel(label);
  const found = (await places(storage, filter)).filter((place) => place.label === label);
  if (found.length > 1) {
    const clusters = found.map(({ cluster }) => JSON.stringify(cluster)).join(', ');
    const text = `the base backup ${label} exists in several clusters: ${clusters}`;
    throw new HoldfastError('USAGE', text, { hint: 'Say which with --cluster.' });
  }
  const [place] = found;
  const entry = place === undefined ? null : await readEntry(storage, place);
  if (entry !== null) return entry;
  throw new HoldfastError('BACKUP_NOT_FOUND', `there is no base backup ${label}`, {
    hint: 'list_backups.ts shows the labels of all backups.',
  });
}
