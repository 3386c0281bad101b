/** The catalog: which backups a repository holds. It is read from the repository, never kept. */

import { editDistance } from '../config/nearest.ts';
import { HoldfastError } from '../core/errors.ts';
import { parseLabel, requireLabel, type Tier } from '../core/label.ts';
import type { Storage } from '../storage/storage.ts';
import { type CheckState, checksOf, writeCheck } from './checks.ts';
import { type DatabaseFolder, databaseFolders } from './database_folders.ts';
import {
  type BackupEntry,
  type CatalogEntry,
  type EntryPlace,
  type ListedEntry,
  readEntry,
  readFacts,
} from './entry.ts';
import type { ManifestCache } from './manifest_cache.ts';
import { mapBounded } from './map_bounded.ts';
import { fullFolder } from './repository.ts';

export type { BackupEntry, CatalogEntry, DamagedEntry, ListedEntry } from './entry.ts';

/** Which backups; what is absent does not restrict. */
export interface CatalogFilter {
  readonly cluster?: string | undefined;
  readonly database?: string | undefined;
  readonly tier?: Tier | undefined;
}

/** The latest usable backup of a database. */
export interface LatestBackup {
  readonly entry: BackupEntry;
  /** Younger ones that were passed over: damaged, or the safety backup of a restore. Tell it. */
  readonly skipped: readonly CatalogEntry[];
}

/** Finds backups in a repository, and keeps what checks learn about them. */
export interface Catalog {
  /** All folders of backups, sorted by label; damaged ones too, as such. */
  listBackups(filter?: CatalogFilter): Promise<CatalogEntry[]>;

  /**
   * The same folders with no more than a list shows of them. What the cache knows of a manifest
   * that has not changed is believed: to restore or to remove take {@link listBackups}.
   */
  listFacts(cache: ManifestCache, filter?: CatalogFilter): Promise<ListedEntry[]>;

  /**
   * The backup of that label, damaged or not.
   *
   * @throws HoldfastError USAGE when the text is no label, or when the label exists more than once
   *   and the filter does not say which; BACKUP_NOT_FOUND
   */
  findBackup(label: string, filter?: CatalogFilter): Promise<CatalogEntry>;

  /**
   * The youngest backup of a database that is not known as damaged. Safety backups hold what a
   * restore in place replaced: they are passed over, so that the same restore can be typed again,
   * unless the tier is named or there is no other.
   *
   * @throws HoldfastError USAGE when two clusters have such a database; BACKUP_NOT_FOUND with the
   *   databases that have backups, the nearest name first
   */
  latestBackup(database: string, filter?: CatalogFilter): Promise<LatestBackup>;

  /** Keeps what was learnt about a backup. @param facts never a secret */
  recordCheck(
    entry: CatalogEntry,
    check: CheckState,
    facts: Readonly<Record<string, unknown>>,
  ): Promise<void>;
}

/** Whether nothing is known against a backup. */
export function isUsable(entry: CatalogEntry): entry is BackupEntry {
  return entry.problem === null && entry.check?.kind !== 'damaged';
}

interface YoungestUsable {
  readonly entry: BackupEntry | null;
  readonly skipped: readonly CatalogEntry[];
}

/** So many files are read at the same time: more brings nothing (four threads read in Node). */
const readsMax = 16;
/** So many databases are named in an error. */
const namesMax = 10;

/** Opens the catalog of a repository. */
export function createCatalog(storage: Storage): Catalog {
  return new StoredCatalog(storage);
}

class StoredCatalog implements Catalog {
  readonly #storage: Storage;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  #databases(filter: CatalogFilter): Promise<DatabaseFolder[]> {
    return databaseFolders(this.#storage, fullFolder, filter);
  }

  /** The places of the backups of one database, oldest first. */
  async #places(database: DatabaseFolder, tier: Tier | undefined): Promise<EntryPlace[]> {
    const labels = await this.#storage.children(database.folder);
    return labels
      .filter((label) => tier === undefined || parseLabel(label)?.tier === tier)
      .map((label) => ({ ...database, label, folder: `${database.folder}/${label}` }));
  }

  listBackups(filter: CatalogFilter = {}): Promise<CatalogEntry[]> {
    return this.#list(filter, (place, hasChecks) => readEntry(this.#storage, place, hasChecks));
  }

  listFacts(cache: ManifestCache, filter: CatalogFilter = {}): Promise<ListedEntry[]> {
    return this.#list(filter, (place, hasChecks) =>
      readFacts(this.#storage, place, hasChecks, cache),
    );
  }

  /** Every folder of a backup, sorted by label; those that were removed meanwhile left out. */
  async #list<Entry extends EntryPlace>(
    filter: CatalogFilter,
    readOne: (place: EntryPlace, hasChecks: boolean) => Promise<Entry | null>,
  ): Promise<Entry[]> {
    const entries: Entry[] = [];
    for (const database of await this.#databases(filter)) {
      const places = await this.#places(database, filter.tier);
      const checks = new Set(await this.#storage.children(checksOf(database.folder)));
      const read = await mapBounded(places, readsMax, (place) =>
        readOne(place, checks.has(place.label)),
      );
      entries.push(...read.filter((entry) => entry !== null));
    }
    return entries.sort(byLabel);
  }

  async findBackup(label: string, filter: CatalogFilter = {}): Promise<CatalogEntry> {
    requireLabel(label);
    const found: EntryPlace[] = [];
    for (const database of await this.#databases(filter)) {
      const places = await this.#places(database, filter.tier);
      found.push(...places.filter((place) => place.label === label));
    }
    const [first, second] = found;
    if (first === undefined) return throwMissing(label);
    if (second !== undefined) throw ambiguous(`the backup ${label}`, found);
    return (await readEntry(this.#storage, first)) ?? throwMissing(label);
  }

  async latestBackup(database: string, filter: CatalogFilter = {}): Promise<LatestBackup> {
    const places: EntryPlace[] = [];
    for (const folder of await this.#databases({ ...filter, database })) {
      places.push(...(await this.#places(folder, filter.tier)));
    }
    if (new Set(places.map(({ cluster }) => cluster)).size > 1) {
      throw ambiguous(`the database ${JSON.stringify(database)}`, places);
    }
    const { entry, skipped } = await this.#youngestUsable(places, filter.tier !== undefined);
    if (entry !== null) return { entry, skipped };
    throw await this.#nothingFor(database, filter, skipped.length);
  }

  /** @param places oldest first */
  async #youngestUsable(
    places: readonly EntryPlace[],
    safetyToo: boolean,
  ): Promise<YoungestUsable> {
    const skipped: CatalogEntry[] = [];
    let lastResort: YoungestUsable = { entry: null, skipped };
    for (const place of places.toReversed()) {
      const entry = await readEntry(this.#storage, place);
      if (entry === null) continue;
      if (isUsable(entry)) {
        if (safetyToo || entry.manifest.safety !== true) return { entry, skipped };
        if (lastResort.entry === null) lastResort = { entry, skipped: [...skipped] };
      }
      skipped.push(entry);
    }
    return lastResort;
  }

  async #nothingFor(
    database: string,
    filter: CatalogFilter,
    damaged: number,
  ): Promise<HoldfastError> {
    const kind = filter.tier === undefined ? 'backup' : `${filter.tier} backup`;
    const where = filter.cluster === undefined ? '' : ` of the cluster ${filter.cluster}`;
    const name = `${JSON.stringify(database)}${where}`;
    if (damaged > 0) {
      const text = `there is no usable ${kind} of ${name}: all ${damaged} are damaged`;
      const hint = 'scripts/verify_backups.ts tells what is wrong with each of them.';
      return new HoldfastError('BACKUP_NOT_FOUND', text, { hint });
    }
    const known = await this.#databasesWithBackups({ ...filter, database: undefined });
    const text = `there is no ${kind} of ${name}`;
    if (known.length === 0) {
      const hint = 'scripts/backup_full.ts takes the first one.';
      return new HoldfastError('BACKUP_NOT_FOUND', `${text}, nor of any other database`, { hint });
    }
    const near = known.sort((a, b) => editDistance(a, database) - editDistance(b, database));
    const names = near.slice(0, namesMax).map((other) => JSON.stringify(other));
    const rest = near.length > namesMax ? ` and ${near.length - namesMax} more` : '';
    return new HoldfastError('BACKUP_NOT_FOUND', text, {
      hint: `Databases that have some: ${names.join(', ')}${rest}.`,
      details: { databases: near },
    });
  }

  async #databasesWithBackups(filter: CatalogFilter): Promise<string[]> {
    const names = new Set<string>();
    for (const folder of await this.#databases(filter)) {
      if ((await this.#places(folder, filter.tier)).length > 0) names.add(folder.database);
    }
    return [...names];
  }

  async recordCheck(
    entry: CatalogEntry,
    check: CheckState,
    facts: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    await writeCheck(this.#storage, entry.folder, check, facts);
  }
}

function byLabel(a: EntryPlace, b: EntryPlace): number {
  if (a.label !== b.label) return a.label < b.label ? -1 : 1;
  return a.folder < b.folder ? -1 : 1;
}

function throwMissing(label: string): never {
  throw new HoldfastError('BACKUP_NOT_FOUND', `there is no backup ${label}`, {
    hint: 'scripts/list_backups.ts shows the labels of all backups.',
  });
}

/** More than one thing is meant by what the user wrote. */
function ambiguous(what: string, places: readonly EntryPlace[]): HoldfastError {
  const clusters = [...new Set(places.map(({ cluster }) => cluster))];
  const databases = [...new Set(places.map(({ database }) => database))];
  const choose = clusters.length > 1 ? clusters : databases;
  const kind = clusters.length > 1 ? 'clusters' : 'databases';
  const names = choose.slice(0, namesMax).map((name) => JSON.stringify(name));
  return new HoldfastError('USAGE', `${what} exists in several ${kind}: ${names.join(', ')}`, {
    hint: clusters.length > 1 ? 'Say which with --cluster.' : 'Say which with its database.',
    details: { [kind]: choose },
  });
}
