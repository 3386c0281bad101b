/** What a prune would do: every backup with keep or remove and the reason. Nothing is changed. */

import { type CatalogEntry, createCatalog } from '../../catalog/catalog.ts';
import {
  type DatabaseFilter,
  type DatabaseFolder,
  databaseFolders,
} from '../../catalog/database_folders.ts';
import type { EntryPlace } from '../../catalog/entry.ts';
import { type FoundLitter, findLitter } from '../../catalog/litter.ts';
import { mapBounded } from '../../catalog/map_bounded.ts';
import { fullFolder } from '../../catalog/repository.ts';
import { parseLabel } from '../../core/label.ts';
import type { Manifest } from '../../core/manifest.ts';
import { totalBytes } from '../../core/manifest_sizes.ts';
import {
  planRetention,
  type RetentionBackup,
  type RetentionPlan,
  type RetentionPolicy,
  retentionPolicy,
} from '../../core/retention.ts';
import { sha256Of } from '../../core/sums.ts';
import type { Storage } from '../../storage/storage.ts';
import { inspectFolder, retainedOf } from '../backup_folder.ts';
import type { RepositoryContext } from '../context.ts';
import { surveyBackups } from '../survey_backups.ts';

/** A backup with what retention has to know of it; its manifest is not kept in memory. */
export interface PrunableBackup extends RetentionBackup {
  readonly place: EntryPlace;
  /** What it was when the plan was made: {@link fingerprintOf}. */
  readonly fingerprint: string;
  /** As it lies in the store; `null`: not known. */
  readonly bytes: number | null;
}

/** What becomes of the backups of one database. */
export interface DatabasePlan extends RetentionPlan<PrunableBackup> {
  readonly cluster: string;
  readonly database: string;
}

/** What a prune would do. */
export interface PrunePlan extends FoundLitter {
  readonly policy: RetentionPolicy;
  readonly now: Date;
  readonly databases: readonly DatabasePlan[];
}

const readsMax = 8;
/** The files of a backup whose manifest does not tell them any more. */
const knownFile = /^(?:database\.dump|globals\.sql)(?:\.zst|\.gz)?$/;

/** What changes when anything is learnt about a backup, or its manifest is another one. */
export function fingerprintOf({ manifest, check }: CatalogEntry): string {
  return JSON.stringify([manifest === null ? null : sumOf(manifest), check?.kind, check?.at]);
}

function sumOf(manifest: Manifest): string {
  return sha256Of(Buffer.from(JSON.stringify(manifest)));
}

/** What is known of a backup, and what its folder must hold. */
interface Known {
  readonly backup: PrunableBackup;
  /** Names and sizes by the manifest; `null`: it cannot be used. */
  readonly files: readonly (readonly [name: string, bytes: number])[] | null;
  /** What is wrong with the manifest. */
  readonly problem: string | null;
}

/** What a backup's manifest and its latest check say of it. */
function healthOf({ manifest, check }: CatalogEntry): PrunableBackup['health'] {
  if (manifest === null || check?.kind === 'damaged') return 'damaged';
  return manifest.read_back.depth === 'none' && check === null ? 'unread' : 'good';
}

/** What is known of a backup by its manifest and its checks alone. */
function knownOf(entry: CatalogEntry): Known[] {
  const { manifest, problem, cluster, database, folder } = entry;
  const label = parseLabel(entry.label);
  // What has another name than a label is no backup of ours: it is told as foreign.
  if (label === null) return [];
  const { tier, startedAt, text } = label;
  const backup: PrunableBackup = {
    place: { cluster, database, folder, label: text },
    label: text,
    tier,
    startedAt,
    health: healthOf(entry),
    bytes: manifest === null ? null : totalBytes(manifest, 'stored'),
    fingerprint: fingerprintOf(entry),
  };
  const files = manifest?.files.map(({ name, stored }) => [name, stored.bytes] as const) ?? null;
  return [{ backup, files, problem: problem?.message ?? null }];
}

interface Inspected {
  readonly backup: PrunableBackup;
  /** Why it must stay, whatever its age; `null`: nothing of the kind. */
  readonly promise: string | null;
}

/** Looks at the files themselves: a backup that lacks one holds no other one's place. */
async function inspect(storage: Storage, { backup, files, problem }: Known): Promise<Inspected> {
  const isKnown = (name: string) => knownFile.test(name);
  const expected = { files, problem, isKnown };
  const { bytes, isWhole, promise } = await inspectFolder(storage, backup.place.folder, expected);
  const health = isWhole ? backup.health : 'damaged';
  return { backup: { ...backup, bytes, health }, promise };
}

/** The plan of one database. Its files are looked at where anything of it would go. */
async function planDatabase(
  storage: Storage,
  { cluster, database }: DatabaseFolder,
  policy: RetentionPolicy,
  now: Date,
): Promise<DatabasePlan> {
  const entries = await createCatalog(storage).listBackups({ cluster, database });
  const known = entries.flatMap(knownOf);
  const backups = known.map(({ backup }) => backup);
  const byManifests = planRetention(backups, policy, now);
  if (byManifests.decisions.every(({ action }) => action === 'keep')) {
    return { cluster, database, ...byManifests };
  }
  const inspected = await mapBounded(known, readsMax, (each) => inspect(storage, each));
  const promises = new Map(
    inspected.flatMap(({ backup, promise }) => (promise === null ? [] : [[backup.label, promise]])),
  );
  const looked = inspected.map(({ backup }) => backup);
  for (;;) {
    const plan = planRetention(looked, policy, now, promises);
    const going = plan.decisions.filter(({ action }) => action === 'remove');
    const folders = new Map(going.map(({ backup }) => [backup.place.folder, backup.label]));
    const retained = await retainedOf(storage, [...folders.keys()]);
    if (retained.length === 0) return { cluster, database, ...plan };
    // What stays takes part in what the others are kept for: the plan is made again.
    for (const { folder, reason } of retained) promises.set(folders.get(folder) ?? '', reason);
  }
}

/**
 * Says what a prune would do. Every manifest is read from the store itself.
 *
 * @param filter which databases; without any restriction all
 * @throws HoldfastError STORE_UNREACHABLE, STORE_REFUSED
 */
export async function planPrune(
  context: RepositoryContext,
  filter: DatabaseFilter,
): Promise<PrunePlan> {
  const { stateDir } = context.repository;
  const { storage } = await surveyBackups(context.repository.storage, filter);
  const now = context.clock();
  const policy = retentionPolicy(context.config.settings);
  const { litter, foreign } = await findLitter({ storage, stateDir, filter, now });
  const databases: DatabasePlan[] = [];
  for (const folder of await databaseFolders(storage, fullFolder, filter)) {
    const plan = await planDatabase(storage, folder, policy, now);
    if (plan.decisions.length > 0) databases.push(plan);
  }
  return { policy, now, databases, litter, foreign };
}

/** A backup that is to go. */
export interface Going {
  readonly backup: PrunableBackup;
  readonly reason: string;
}

/** Whether the plan of a database is carried out. */
export function mayGo({ guards }: DatabasePlan, force: boolean): boolean {
  return force || guards.length === 0;
}

/** What a plan removes, oldest first in each database. */
export function goingOf(plan: PrunePlan, force: boolean): readonly Going[] {
  return plan.databases
    .filter((database) => mayGo(database, force))
    .flatMap(({ decisions }) => decisions.filter(({ action }) => action === 'remove'));
}
