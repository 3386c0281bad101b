/**
 * What lies below `incremental/` and belongs to nothing: what killed runs have left, digests and
 * indexes without their file, checks of base backups that are gone; and what somebody else has put
 * there, which is named and never touched.
 */

import { parseBaseLabel } from '../core/label.ts';
import { encodeComponent } from '../core/names.ts';
import type { ArchiveListing } from '../core/wal_listing.ts';
import type { Storage } from '../storage/storage.ts';
import { baseFolder } from './base_catalog.ts';
import { isCheckName } from './checks.ts';
import type { FoundLitter, Litter } from './litter.ts';
import { forgetDeadRuns, isAbandoned, removeStale, staleUnfinished } from './runs.ts';
import { incrementalFolder, walFolder } from './wal_archive.ts';

export interface ClusterLitterOptions {
  readonly storage: Storage;
  /** `Repository.stateDir` */
  readonly stateDir: string;
  readonly cluster: string;
  /** What lies in its archive; what is gone since then, or is being written anew, is left. */
  readonly listing: ArchiveListing;
  readonly now: Date;
  /** Whether killed runs stay known when what they have left here is removed. */
  readonly remembersRuns?: boolean | undefined;
}

const dayOld = 'nothing has changed in it for a day';
/** What is being written into an archive by wal_push, and the answers of its self-test. */
const temporaryPattern = /(?:^|\/)\.(?:[^/]*\.tmp|self-test-[^/]*)$/;
/** `stream` belongs to pg_receivewal. */
const knownInside = new Set(['base', 'wal', 'checks', 'stream']);

/** The folder of everything of a cluster but its logical backups. */
function clusterFolder(cluster: string): string {
  return `${incrementalFolder}/${encodeComponent(cluster)}`;
}

/** Objects by their keys that have been left alone for a day. */
async function abandoned(
  { storage, now }: ClusterLitterOptions,
  keys: readonly string[],
): Promise<string[]> {
  const found: string[] = [];
  for (const key of keys) {
    const stored = await storage.stat(key);
    if (stored !== null && isAbandoned(stored.modifiedAt, now)) found.push(key);
  }
  return found;
}

/** Of the archive of the WAL. */
async function walLitter(options: ClusterLitterOptions): Promise<FoundLitter> {
  const { storage, cluster, listing, now } = options;
  const keyOf = (path: string) => `${walFolder(cluster)}/${path}`;
  const temporary = listing.unfinished.filter((path) => temporaryPattern.test(path)).map(keyOf);
  const begun = await storage.unfinishedObjects(walFolder(cluster));
  const strays = await abandoned(options, listing.strays.map(keyOf));
  return {
    litter: [
      ...(await abandoned(options, temporary)).map(
        (key): Litter => ({ kind: 'file of the WAL', key, reason: dayOld }),
      ),
      ...strays.map(
        (key): Litter => ({ kind: 'file of the WAL', key, reason: 'what it lies beside is gone' }),
      ),
      ...begun
        .filter(({ modifiedAt }) => isAbandoned(modifiedAt, now))
        .map(({ key }): Litter => ({ kind: 'unfinished file', key, reason: dayOld })),
    ],
    foreign: listing.foreign.map(keyOf),
  };
}

/** Checks of base backups that are gone. */
async function checkLitter({ storage, cluster }: ClusterLitterOptions): Promise<FoundLitter> {
  const checks = `${clusterFolder(cluster)}/checks`;
  // The checks first: what is committed since then cannot make one of them look lost.
  const labels = await storage.children(checks);
  const bases = (await storage.children(baseFolder(cluster))).filter(
    (name) => parseBaseLabel(name) !== null,
  );
  const [litter, foreign]: [Litter[], string[]] = [[], []];
  for (const label of labels) {
    const folder = `${checks}/${label}`;
    if (parseBaseLabel(label) === null) {
      foreign.push(folder);
      continue;
    }
    for (const name of await storage.children(folder)) {
      const key = `${folder}/${name}`;
      if (!isCheckName(name)) foreign.push(key);
      // Without any base backup it is their tree that is lost, mostly a disk that is not mounted.
      else if (bases.length > 0 && !bases.includes(label)) {
        litter.push({ kind: 'check', key, reason: 'its backup is gone' });
      }
    }
  }
  return { litter, foreign };
}

/** Base backups that nobody is writing or removing any more. */
async function staleBases({ storage, stateDir, cluster, now }: ClusterLitterOptions) {
  return staleUnfinished({ storage, stateDir, folder: baseFolder(cluster), now });
}

/**
 * Looks for what belongs to nothing.
 *
 * @throws HoldfastError when the store cannot be read
 */
export async function findClusterLitter(options: ClusterLitterOptions): Promise<FoundLitter> {
  const { storage, cluster } = options;
  const inside = clusterFolder(cluster);
  const bases = baseFolder(cluster);
  const unknown = (await storage.children(inside)).filter((name) => !knownInside.has(name));
  const noLabels = (await storage.children(bases)).filter((name) => parseBaseLabel(name) === null);
  const stale = (await staleBases(options)).map(
    ({ folder, reason }): Litter => ({ kind: 'unfinished backup', key: folder, reason }),
  );
  const [checks, wal] = [await checkLitter(options), await walLitter(options)];
  return {
    litter: [...stale, ...wal.litter, ...checks.litter],
    foreign: [
      ...unknown.map((name) => `${inside}/${name}`),
      ...noLabels.map((name) => `${bases}/${name}`),
      ...checks.foreign,
      ...wal.foreign,
    ],
  };
}

/**
 * Removes litter, as far as it still is some, and folders of checks that are empty then.
 *
 * @param chosen keys of litter; what is none any more is left
 * @returns what was removed
 * @throws HoldfastError STORE_REFUSED, STORE_UNREACHABLE
 */
export async function removeClusterLitter(
  options: ClusterLitterOptions,
  chosen: ReadonlySet<string>,
): Promise<Litter[]> {
  const { storage, stateDir, cluster, now, remembersRuns = false } = options;
  const going = (await findClusterLitter(options)).litter.filter(({ key }) => chosen.has(key));
  const stale = (await staleBases(options)).filter(({ folder }) => chosen.has(folder));
  await removeStale(storage, remembersRuns ? null : stateDir, stale);
  if (!remembersRuns) {
    await forgetDeadRuns({ storage, stateDir, folder: baseFolder(cluster), now });
  }
  for (const { kind, key } of going) {
    if (kind === 'check' || kind === 'file of the WAL') await storage.remove(key);
    if (kind === 'unfinished file') await storage.removeUnfinished(key);
  }
  const checks = `${clusterFolder(cluster)}/checks`;
  for (const label of await storage.children(checks)) {
    if (parseBaseLabel(label) !== null) await storage.removeIfEmpty(`${checks}/${label}`);
  }
  await storage.removeIfEmpty(checks);
  return going;
}
