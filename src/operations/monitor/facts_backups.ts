/** What the stores, status.json and the settings tell of the full backups of each database. */

import { folderAbove } from '../../catalog/repository.ts';
import { readStatus, type Status, unknownCluster } from '../../catalog/status.ts';
import type { WatchedBackup, WatchedDatabase } from '../../core/health_backups.ts';
import { parseLabel } from '../../core/label.ts';
import { type KnownDatabase, notWatchedBecause } from '../../core/watched_databases.ts';
import { configuredTargets, resolveConnection } from '../../postgres/connection.ts';
import { serverOf } from '../backup_targets.ts';
import type { Context } from '../context.ts';
import type { BackupFacts } from '../full/list.ts';
import type { MonitorContext, StoreListing } from './monitor_context.ts';

/** A database that the settings name. */
interface NamedDatabase {
  readonly database: string;
  /** As status.json has it; `null`: the settings do not say where it is. */
  readonly server: string | null;
}

type StatusEntry = Status['databases'][number];

/** A database, and what the runs have said of it. */
interface Gathered {
  readonly cluster: string | null;
  readonly database: string;
  readonly isNamed: boolean;
  readonly backups: readonly WatchedBackup[];
  readonly runs: readonly StatusEntry[];
}

/** A store that could be read. */
export type ReadableListing = Extract<StoreListing, { readonly error: null }>;

/** The databases that the settings name, as status.json and the catalog call them. */
async function namedDatabases({ config }: Context): Promise<NamedDatabase[]> {
  const named: NamedDatabase[] = [];
  for (const target of configuredTargets(config)) {
    try {
      const resolved = await resolveConnection({ config, target });
      named.push({ database: resolved.database, server: serverOf(resolved) });
    } catch {
      // A password file that cannot be read, and the like: the doctor tells; the name is enough.
      const entry = config.settings.databases[target];
      named.push({ database: entry?.dbname ?? target, server: null });
    }
  }
  return named;
}

function watchedBackup(copies: readonly BackupFacts[]): WatchedBackup[] {
  const good = copies.find(({ state }) => state === 'complete');
  const [first] = copies;
  const backup = good ?? first;
  const label = parseLabel(backup?.label ?? '');
  if (backup === undefined || label === null) return [];
  const { details, check } = backup;
  return [
    {
      label: label.text,
      tier: label.tier,
      startedAt: details === null ? label.startedAt : new Date(details.startedAt),
      finishedAt: details === null ? label.startedAt : new Date(details.finishedAt),
      isGood: good !== undefined,
      isSafety: details?.isSafety ?? false,
      isUnread: details?.readBack === 'none' && check === null,
      storedBytes: details?.storedBytes ?? 0,
      dumpBytes: details?.dumpBytes ?? 0,
      dumpKind: details?.dumpKind ?? 'none',
      warnings: details?.warnings ?? [],
    },
  ];
}

/** The databases of the catalog, each backup once in however many stores it lies. */
function catalogued(listings: readonly ReadableListing[]): Omit<Gathered, 'isNamed' | 'runs'>[] {
  const all = listings.flatMap(({ full }) => full.backups);
  const databases = Map.groupBy(all, ({ folder }) => folderAbove(folder));
  return [...databases.values()].flatMap((ofDatabase) => {
    const [first] = ofDatabase;
    if (first === undefined) return [];
    const { cluster, database } = first;
    const copies = Map.groupBy(ofDatabase, ({ label }) => label);
    const backups = [...copies.values()].flatMap(watchedBackup);
    backups.sort((a, b) => (a.label < b.label ? -1 : 1));
    return [{ cluster, database, backups }];
  });
}

/** Whether a database of the catalog is one that the settings name. */
function isNamed(
  { cluster, database }: Pick<Gathered, 'cluster' | 'database'>,
  named: readonly NamedDatabase[],
  runs: readonly StatusEntry[],
): boolean {
  return named.some((name) => {
    if (name.database !== database) return false;
    // Where status.json knows the cluster behind that server, only that one is meant.
    const known = runs.filter(
      (run) =>
        run.database === database && run.server === name.server && run.cluster !== unknownCluster,
    );
    return known.length === 0 || known.some((run) => run.cluster === cluster);
  });
}

function merge(
  listings: readonly ReadableListing[],
  named: readonly NamedDatabase[],
  runs: readonly StatusEntry[],
): Gathered[] {
  const found = catalogued(listings).map((each): Gathered => {
    const ofIt = runs.filter(
      ({ cluster, database }) => cluster === each.cluster && database === each.database,
    );
    return { ...each, isNamed: isNamed(each, named, runs), runs: ofIt };
  });
  const isThere = (database: string, cluster: string | null) =>
    found.some(
      (each) => each.database === database && (cluster === null || each.cluster === cluster),
    );
  // Runs that have never made a backup, and names that nobody has run for.
  for (const run of runs) {
    const cluster = run.cluster === unknownCluster ? null : run.cluster;
    if (isThere(run.database, cluster)) continue;
    const { database, server } = run;
    const isOne = named.some(
      (name) => name.database === database && (name.server ?? server) === server,
    );
    found.push({ cluster, database, isNamed: isOne, backups: [], runs: [run] });
  }
  // A server may go by another name than in the last run: the databases are counted.
  for (const [database, wanted] of Map.groupBy(named, (name) => name.database)) {
    const there = found.filter((each) => each.isNamed && each.database === database);
    if (there.length >= wanted.length) continue;
    found.push({ cluster: null, database, isNamed: true, backups: [], runs: [] });
  }
  return found;
}

function attemptsOf({ backups, runs }: Gathered, now: Date): Date[] {
  const times = [
    ...backups.map(({ startedAt }) => startedAt),
    ...runs.map((run) => new Date(run.last_run.started_at)),
  ];
  return times.filter((at) => at.getTime() <= now.getTime());
}

function failureOf({ runs }: Gathered): WatchedDatabase['failure'] {
  const last = runs.findLast(({ last_run }) => last_run.status === 'failed')?.last_run;
  if (last?.error === undefined) return null;
  return { at: new Date(last.finished_at), code: last.error.code, message: last.error.message };
}

/**
 * What is known of all databases.
 *
 * @param listings of the stores that could be read
 */
export async function knownBackups(
  { context, now }: MonitorContext,
  listings: readonly ReadableListing[],
): Promise<WatchedDatabase[]> {
  // It is told from, never decided by: where it is damaged the catalog alone says what there is.
  const status = await readStatus(context.repository.root).catch(() => null);
  const named = await namedDatabases(context);
  const gathered = merge(listings, named, status?.databases ?? []);
  const known = gathered.map((each): KnownDatabase => {
    return { isNamed: each.isNamed, cluster: each.cluster, attempts: attemptsOf(each, now) };
  });
  const rule = {
    takesAll: context.config.settings.schedule.all_databases,
    namesSome: named.length > 0,
  };
  return gathered.flatMap((each, index): WatchedDatabase[] => {
    const own = known[index];
    if (own === undefined) return [];
    const others = known.filter((_, at) => at !== index);
    const { cluster, database, backups } = each;
    const notWatched = notWatchedBecause(own, others, rule);
    return [{ cluster, database, backups, failure: failureOf(each), notWatched }];
  });
}
