/**
 * What a prune would do with the base backups and the WAL of a cluster: each with keep or remove
 * and the reason. Nothing is changed.
 */

import { type BaseEntry, type BasePlace, listBaseBackups } from '../../catalog/base_catalog.ts';
import { findClusterLitter } from '../../catalog/base_litter.ts';
import type { FoundLitter } from '../../catalog/litter.ts';
import { mapBounded } from '../../catalog/map_bounded.ts';
import { incrementalFolder, openWalArchive, type WalArchive } from '../../catalog/wal_archive.ts';
import { totalBytes } from '../../core/manifest_sizes.ts';
import { decodeComponent } from '../../core/names.ts';
import { type RetainedBase, retainedBase } from '../../core/retained_base.ts';
import { sha256Of } from '../../core/sums.ts';
import {
  type ArchiveListing,
  archivedPath,
  digestSuffix,
  indexSuffix,
  pathBeside,
} from '../../core/wal_listing.ts';
import { type IncrementalPlan, planIncremental } from '../../core/wal_retention.ts';
import type { Storage } from '../../storage/storage.ts';
import { readIncrementalScene } from '../archiving/incremental_scene.ts';
import { inspectFolder, retainedOf } from '../backup_folder.ts';
import type { RepositoryContext } from '../context.ts';

/** A base backup with what its removal has to know. */
export interface PrunableBase extends RetainedBase {
  readonly place: BasePlace;
  /** What it was when the plan was made: {@link baseFingerprint}. */
  readonly fingerprint: string;
  /** As it lies in the store; `null`: not known. */
  readonly bytes: number | null;
}

/** What becomes of the incremental side of one cluster. */
export interface ClusterPlan extends IncrementalPlan<PrunableBase>, FoundLitter {
  readonly cluster: string;
  readonly now: Date;
  readonly listing: ArchiveListing;
  /**
   * Stored bytes of the files of the archive, with what lies beside them, by the names that
   * PostgreSQL gives them; empty where nothing goes.
   */
  readonly walBytes: ReadonlyMap<string, number>;
}

const readsMax = 8;
/** The files of a base backup whose manifest does not tell them any more. */
const knownFile =
  /^(?:(?:base|\d+)\.tar(?:\.zst|\.gz)?(?:\.age|\.gpg)?|backup_manifest(?:\.age|\.gpg)?|config_.*)$/;

/** What changes when anything is learnt about a base backup, or its manifest is another one. */
export function baseFingerprint({ manifest, check }: BaseEntry): string {
  const sum = manifest === null ? null : sha256Of(Buffer.from(JSON.stringify(manifest)));
  return JSON.stringify([sum, check?.kind, check?.at]);
}

function prunableOf(entry: BaseEntry, promise: string | null): PrunableBase {
  const { cluster, label, folder, manifest } = entry;
  return {
    ...retainedBase(entry, promise),
    place: { cluster, label, folder },
    fingerprint: baseFingerprint(entry),
    bytes: manifest === null ? null : totalBytes(manifest, 'stored'),
  };
}

/** Looks at the files themselves: a base backup that lacks one holds no other one's place. */
async function inspect(storage: Storage, entry: BaseEntry): Promise<PrunableBase> {
  const { manifest, problem, folder } = entry;
  const files = manifest?.files.map(({ name, stored }) => [name, stored.bytes] as const) ?? null;
  const isKnown = (name: string) => knownFile.test(name);
  const expected = { files, problem: problem?.message ?? null, isKnown };
  const { bytes, isWhole, promise } = await inspectFolder(storage, folder, expected);
  const base = prunableOf(entry, promise);
  return { ...base, bytes, health: isWhole ? base.health : 'damaged' };
}

/**
 * Tells the keys of a file of the WAL and of what lies beside it; the file itself first.
 *
 * @param listing tells how segments are stored
 */
export function walKeysIn(
  archive: Pick<WalArchive, 'folder'>,
  { segments }: Pick<ArchiveListing, 'segments'>,
): (name: string) => string[] {
  const suffixes = new Map(segments.map(({ name, suffix }) => [name, suffix]));
  return (name) => {
    const path = archivedPath(name, suffixes.get(name));
    if (path === null) return [];
    const beside = [digestSuffix, indexSuffix].map((suffix) => pathBeside(name, suffix));
    return [path, ...beside].map((each) => `${archive.folder}/${each}`);
  };
}

interface Measured {
  readonly times: ReadonlyMap<string, Date>;
  readonly bytes: ReadonlyMap<string, number>;
}

/** Size and time of every file of the archive. */
async function measureArchive(archive: WalArchive, listing: ArchiveListing): Promise<Measured> {
  const found = new Map<string, { readonly bytes: number; readonly modifiedAt: Date }>();
  for await (const page of archive.storage.list(archive.folder)) {
    for (const { key, bytes, modifiedAt } of page) found.set(key, { bytes, modifiedAt });
  }
  const keysOf = walKeysIn(archive, listing);
  const [times, sizes] = [new Map<string, Date>(), new Map<string, number>()];
  for (const { name } of [...listing.segments, ...listing.histories, ...listing.backups]) {
    const keys = keysOf(name);
    const time = found.get(keys[0] ?? '')?.modifiedAt;
    if (time !== undefined) times.set(name, time);
    const sum = keys.reduce((bytes, key) => bytes + (found.get(key)?.bytes ?? 0), 0);
    sizes.set(name, sum);
  }
  return { times, bytes: sizes };
}

function isNothing({ bases, wal }: IncrementalPlan): boolean {
  return [...bases, ...wal].every(({ action }) => action === 'keep');
}

/**
 * Says what a prune would do with one cluster. Cheap where nothing goes: only then are all files
 * looked at.
 *
 * @param inUse base backups that somebody reads just now, and what is to be said of them
 * @throws HoldfastError STORE_UNREACHABLE, STORE_REFUSED
 */
export async function planCluster(
  context: RepositoryContext,
  cluster: string,
  inUse: ReadonlyMap<string, string> = new Map(),
): Promise<ClusterPlan> {
  const { storage, stateDir } = context.repository;
  const archive = openWalArchive(storage, cluster);
  // The base backups first: WAL that is added since then is of none that goes.
  const entries = await listBaseBackups(storage, { cluster });
  const listing = await archive.list();
  const promised = (base: PrunableBase): PrunableBase => {
    return { ...base, promise: base.promise ?? inUse.get(base.label) ?? null };
  };
  const scene = await readIncrementalScene(context, archive, { entries, listing }, (entry) =>
    promised(prunableOf(entry, null)),
  );
  const quick = planIncremental(scene);
  const { now } = scene;
  const found = await findClusterLitter({ storage, stateDir, cluster, listing, now });
  const rest = { cluster, now, listing, ...found };
  if (isNothing(quick)) return { ...quick, ...rest, walBytes: new Map() };
  const looked = await mapBounded(entries, readsMax, (entry) => inspect(storage, entry));
  const measured = await measureArchive(archive, listing);
  let bases = looked.map(promised);
  for (;;) {
    const plan = planIncremental({ ...scene, bases, times: measured.times, isTimed: true });
    const going = plan.bases.filter(({ action }) => action === 'remove');
    const retained = await retainedOf(
      storage,
      going.map(({ base }) => base.place.folder),
    );
    if (retained.length === 0) return { ...plan, ...rest, walBytes: measured.bytes };
    // What stays keeps what it needs: the plan is made again.
    bases = bases.map((base) => {
      const kept = retained.find(({ folder }) => folder === base.place.folder);
      return kept === undefined ? base : { ...base, promise: kept.reason };
    });
  }
}

/** The clusters that have base backups or WAL, sorted. @param only this one */
export async function incrementalClusters(
  storage: Storage,
  only: string | undefined,
): Promise<string[]> {
  const clusters = (await storage.children(incrementalFolder)).flatMap((component) => {
    const cluster = decodeComponent(component);
    return cluster === null || (only ?? cluster) !== cluster ? [] : [cluster];
  });
  return clusters.sort();
}

/** Whether the plan of a cluster is carried out. */
export function mayPrune({ guards }: ClusterPlan, force: boolean): boolean {
  return force || guards.length === 0;
}

/** A base backup that is to go. */
export interface GoingBase {
  readonly base: PrunableBase;
  readonly reason: string;
}

/** What a plan removes. */
export interface GoingOfCluster {
  /** Youngest first: an increment before what it builds upon. */
  readonly bases: readonly GoingBase[];
  /** Files of the WAL by the names that PostgreSQL gives them, oldest first on each timeline. */
  readonly wal: readonly string[];
  readonly bytes: number;
}

/** What the plan of a cluster removes; nothing where a guard holds it back. */
export function goingOfCluster(plan: ClusterPlan, force: boolean): GoingOfCluster {
  if (!mayPrune(plan, force)) return { bases: [], wal: [], bytes: 0 };
  const bases = plan.bases.filter(({ action }) => action === 'remove').reverse();
  const wal = plan.wal.filter(({ action }) => action === 'remove').flatMap(({ names }) => names);
  const bytes =
    bases.reduce((sum, { base }) => sum + (base.bytes ?? 0), 0) +
    wal.reduce((sum, name) => sum + (plan.walBytes.get(name) ?? 0), 0);
  return { bases, wal, bytes };
}
