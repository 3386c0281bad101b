/** Gathers how full the file systems of folders are, and by what comes when they will be. */

import { mapBounded } from '../../catalog/map_bounded.ts';
import { walClusters, walFolder } from '../../catalog/wal_archive.ts';
import { incrementalPolicy } from '../../core/base_retention.ts';
import type { HealthFinding } from '../../core/health.ts';
import { checkSpaceOf } from '../../core/health_space.ts';
import type { Tier } from '../../core/label.ts';
import { totalBytes } from '../../core/manifest_sizes.ts';
import { retentionPolicy } from '../../core/retention.ts';
import { daysUntilFull, type SpaceSeries, type StoredBytes } from '../../core/space_forecast.ts';
import { isTimelineFolder, suffixOf } from '../../core/wal_listing.ts';
import { fileSystemAt } from '../../process/file_facts.ts';
import type { Storage } from '../../storage/storage.ts';
import type { ReadableListing } from './facts_backups.ts';
import { type CheckGroup, type MonitorContext, unknownFinding } from './monitor_context.ts';

const dayMs = 86_400_000;
/** How often each tier is taken, where its backups do not tell yet. */
const everyDays: Readonly<Record<Tier, number | null>> = {
  daily: 1,
  weekly: 7,
  monthly: 31,
  manual: null,
};
/** Nobody takes backups any more of what has none of so many days. */
const liveDays = 35;
/** So many days of WAL tell how much comes. */
const walDays = 30;
/** So many segments of an archive are looked at: the others are like them. */
const segmentsSampled = 500;
const statsAtOnce = 16;

/** The facts of a manifest hold its tier as text. */
function isTier(text: string): text is Tier {
  return Object.hasOwn(everyDays, text);
}

/** What came, by the name of what it is a series of. */
class Histories {
  readonly #stored = new Map<string, StoredBytes[]>();

  add(names: readonly string[], stored: StoredBytes): void {
    const key = JSON.stringify(names);
    const known = this.#stored.get(key);
    if (known === undefined) this.#stored.set(key, [stored]);
    else known.push(stored);
  }

  /** Each with its last name; oldest first. */
  *all(): Iterable<{ readonly kind: string; readonly stored: readonly StoredBytes[] }> {
    for (const [key, stored] of this.#stored) {
      const kind = (JSON.parse(key) as string[]).at(-1) ?? '';
      yield { kind, stored: stored.sort((a, b) => a.at.getTime() - b.at.getTime()) };
    }
  }
}

/** The full backups of a store, each database and tier for itself. */
function fullSeries({ full, store }: ReadableListing): SpaceSeries[] {
  const policy = retentionPolicy(store.spec.retention);
  const histories = new Histories();
  for (const { cluster, database, details } of full.backups) {
    if (details === null) continue;
    const stored = { at: new Date(details.startedAt), bytes: details.storedBytes };
    histories.add([cluster, database, details.tier], stored);
  }
  return [...histories.all()].flatMap(({ kind, stored }): SpaceSeries[] => {
    if (!isTier(kind)) return [];
    const { days, count } = policy[kind];
    return [{ stored, keepDays: days, keepCount: count, everyDays: everyDays[kind] }];
  });
}

/**
 * The base backups of a store. Those of the recovery window go when it has left them; those that
 * are older are the weekly and monthly ones, which go on once a week.
 */
function baseSeries({ context, now }: MonitorContext, { bases, store }: ReadableListing) {
  const policy = incrementalPolicy(store.spec.retention);
  const { base_backup_days: days } = context.config.settings;
  const histories = new Histories();
  for (const { cluster, manifest } of bases) {
    if (manifest === null) continue;
    const at = new Date(manifest.started_at);
    const isOld = now.getTime() - at.getTime() > (policy.windowDays + days) * dayMs;
    const kind = isOld ? 'old' : manifest.kind;
    histories.add([cluster, kind], { at, bytes: totalBytes(manifest, 'stored') });
  }
  return [...histories.all()].map(({ kind, stored }): SpaceSeries => {
    const window = { keepDays: policy.windowDays + days, keepCount: 1 };
    if (kind !== 'old') return { stored, ...window, everyDays: kind === 'base' ? days : 1 };
    const { days: keepDays, count: keepCount } = policy.weekly;
    return { stored, keepDays, keepCount, everyDays: 7 };
  });
}

/** The files of segments in one archive, oldest first: a day may bring thousands. */
async function segmentKeys(storage: Storage, cluster: string): Promise<string[]> {
  const keys: string[] = [];
  for (const timeline of await storage.children(walFolder(cluster))) {
    if (!isTimelineFolder(timeline)) continue;
    const folder = `${walFolder(cluster)}/${timeline}`;
    for (const name of await storage.children(folder)) {
      if (suffixOf(name) !== null) keys.push(`${folder}/${name}`);
    }
  }
  return keys;
}

/** The WAL of one archive by days, the last one until now; of many segments a sample tells. */
async function walByDays(storage: Storage, cluster: string, now: Date): Promise<StoredBytes[]> {
  const keys = await segmentKeys(storage, cluster);
  const step = Math.max(1, Math.ceil(keys.length / segmentsSampled));
  const sample = keys.filter((_, index) => index % step === 0);
  const found = await mapBounded(sample, statsAtOnce, (key) => storage.stat(key));
  const byDay = new Map<number, number>();
  for (const object of found) {
    if (object === null) continue;
    const day = Math.floor((now.getTime() - object.modifiedAt.getTime()) / dayMs);
    if (day >= 0 && day < walDays) byDay.set(day, (byDay.get(day) ?? 0) + object.bytes * step);
  }
  return [...byDay]
    .sort(([a], [b]) => b - a)
    .map(([day, bytes]) => ({ at: new Date(now.getTime() - day * dayMs), bytes }));
}

/** The WAL of a store: it goes when the window and the base backup before it have passed. */
async function walSeries(
  { context, now }: MonitorContext,
  { view, store }: ReadableListing,
): Promise<SpaceSeries[]> {
  const { storage } = view.repository;
  const policy = incrementalPolicy(store.spec.retention);
  const keepDays = policy.windowDays + context.config.settings.base_backup_days;
  const series: SpaceSeries[] = [];
  for (const cluster of await walClusters(storage)) {
    const stored = await walByDays(storage, cluster, now);
    series.push({ stored, keepDays, keepCount: 1, everyDays: 1 });
  }
  return series;
}

/** The sizes of the last backups of what is backed up still. */
function nextSizes({ now }: MonitorContext, { full, bases }: ReadableListing): number[] {
  const last = new Map<string, StoredBytes>();
  for (const { cluster, database, details } of full.backups) {
    if (details === null) continue;
    const stored = { at: new Date(details.startedAt), bytes: details.storedBytes };
    last.set(JSON.stringify([cluster, database]), stored);
  }
  for (const { cluster, manifest } of bases) {
    if (manifest === null) continue;
    const stored = { at: new Date(manifest.started_at), bytes: totalBytes(manifest, 'stored') };
    last.set(JSON.stringify([cluster]), stored);
  }
  const isLive = ({ at }: StoredBytes) => now.getTime() - at.getTime() <= liveDays * dayMs;
  return [...last.values()].filter(isLive).map(({ bytes }) => bytes);
}

async function checkFolder(
  monitor: MonitorContext,
  path: string,
  listing: ReadableListing | null,
): Promise<HealthFinding[]> {
  const about = { check: 'space', subject: path, cluster: null, database: null } as const;
  const { settings } = monitor.context.config;
  const { max_disk_used_percent: maxPercent, min_days_until_full: minDays } = settings.monitor;
  const disk = await fileSystemAt(path);
  if (disk === null) {
    return [unknownFinding(about, new Error(`nothing can be asked of the disk of ${path}`))];
  }
  const series =
    listing === null
      ? []
      : [
          ...fullSeries(listing),
          ...baseSeries(monitor, listing),
          ...(await walSeries(monitor, listing)),
        ];
  const facts = {
    disk,
    nextBytes: listing === null ? [] : nextSizes(monitor, listing),
    daysUntilFull: daysUntilFull(series, disk.freeBytes, monitor.now),
  };
  const keepFreeBytes = settings.min_disk_space_gb * 1e9;
  return [checkSpaceOf(about, facts, { maxPercent, keepFreeBytes, minDays })];
}

/** Temporary files want what is told of no other folder: that their disk is not full. */
async function checkTemporary({ context }: MonitorContext): Promise<HealthFinding[]> {
  const { temp_dir: path, backup_dir: root, monitor } = context.config.settings;
  const [disk, other] = await Promise.all([fileSystemAt(path), fileSystemAt(root)]);
  if (disk === null || disk.device === other?.device) return [];
  const about = { check: 'space', subject: path, cluster: null, database: null } as const;
  const { max_disk_used_percent: maxPercent } = monitor;
  const facts = { disk, nextBytes: [], daysUntilFull: null };
  return [checkSpaceOf(about, facts, { maxPercent, keepFreeBytes: 0, minDays: 0 })];
}

async function checkSpace(monitor: MonitorContext): Promise<readonly HealthFinding[]> {
  const { backup_dir: root } = monitor.context.config.settings;
  const folders = new Map<string, ReadableListing | null>([[root, null]]);
  for (const listing of await monitor.listing()) {
    const { spec } = listing.store;
    if (spec.kind === 'folder') folders.set(spec.path, listing.error === null ? listing : null);
  }
  const findings: HealthFinding[] = [];
  for (const [path, listing] of folders) {
    findings.push(...(await checkFolder(monitor, path, listing)));
  }
  return [...findings, ...(await checkTemporary(monitor))];
}

/** Whether there is room, and for how long. */
export const spaceGroup: CheckGroup = {
  name: 'space',
  checks: ['space'],
  needs: 'repository',
  run: checkSpace,
};
