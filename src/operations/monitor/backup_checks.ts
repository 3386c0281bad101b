/** The checks of full backups and of copies: one look at what lies in the stores for all. */

import { latestOfKind } from '../../catalog/checks.ts';
import { databaseFolder } from '../../catalog/repository.ts';
import { isUsable } from '../../core/base_chain.ts';
import { toHoldfastError } from '../../core/errors.ts';
import type { HealthFinding } from '../../core/health.ts';
import { backupAge, type WatchedDatabase } from '../../core/health_backups.ts';
import { type CopiedFolder, drillAge, missingCopies } from '../../core/health_copies.ts';
import { backupCount, backupSize } from '../../core/health_sizes.ts';
import { databaseSubject } from '../../core/health_words.ts';
import { parseBaseLabel } from '../../core/label.ts';
import { printable } from '../../core/printable.ts';
import { retentionPolicy } from '../../core/retention.ts';
import { knownBackups, type ReadableListing } from './facts_backups.ts';
import { type CheckGroup, type MonitorContext, unknownFinding } from './monitor_context.ts';

const dayMs = 86_400_000;

/** Full backups of one database, or base backups of one cluster, as they lie in the stores. */
function copiedFolder(
  name: string,
  listings: readonly ReadableListing[],
  labelsOf: (listing: ReadableListing) => readonly { label: string; isWhole: boolean }[],
): CopiedFolder {
  const stores = listings.map((listing) => {
    const copies = labelsOf(listing);
    return {
      name: listing.store.spec.name,
      labels: new Set(copies.map(({ label }) => label)),
      whole: new Set(copies.flatMap(({ label, isWhole }) => (isWhole ? [label] : []))),
    };
  });
  return { name, stores };
}

function fullFolders(
  databases: readonly WatchedDatabase[],
  listings: readonly ReadableListing[],
): CopiedFolder[] {
  return databases.flatMap(({ cluster, database, notWatched }): CopiedFolder[] => {
    // Nobody brings a copy of what no run takes any more.
    if (cluster === null || notWatched !== null) return [];
    const folder = copiedFolder(databaseSubject(cluster, database), listings, ({ full }) =>
      full.backups
        .filter((each) => each.cluster === cluster && each.database === database)
        .map(({ label, state }) => ({ label, isWhole: state === 'complete' })),
    );
    return [folder];
  });
}

/** Clusters that have had a base backup within the window that their WAL covers. */
function baseFolders(
  { context, now }: MonitorContext,
  listings: readonly ReadableListing[],
): CopiedFolder[] {
  const windowMs = context.config.settings.wal_retention_days * dayMs;
  const bases = listings.flatMap((listing) => listing.bases);
  const live = bases.filter(({ label }) => {
    const startedAt = parseBaseLabel(label)?.startedAt;
    return startedAt !== undefined && now.getTime() - startedAt.getTime() < windowMs;
  });
  const clusters = new Set(live.map(({ cluster }) => cluster));
  return [...clusters].map((cluster) =>
    copiedFolder(`the base backups of ${printable(cluster)}`, listings, (listing) =>
      listing.bases
        .filter((base) => base.cluster === cluster)
        .map((base) => ({ label: base.label, isWhole: isUsable(base) })),
    ),
  );
}

async function copyFindings(
  monitor: MonitorContext,
  databases: readonly WatchedDatabase[],
  listings: readonly ReadableListing[],
): Promise<HealthFinding[]> {
  const all = await monitor.listing();
  if (all.length < 2) return [];
  const folders = [...fullFolders(databases, listings), ...baseFolders(monitor, listings)];
  const graceHours = monitor.context.config.settings.monitor.max_backup_age_hours;
  return all.map(({ store: { spec }, error }) => {
    if (error !== null) {
      return unknownFinding({ check: 'copies', subject: printable(spec.name) }, error);
    }
    return missingCopies(spec, folders, graceHours, monitor.now);
  });
}

/** When a backup of a database was last proven by a restore, in whatever store that is recorded. */
async function provenAt(
  { cluster, database, backups }: WatchedDatabase,
  listings: readonly ReadableListing[],
): Promise<Date | null> {
  let latest: Date | null = null;
  if (cluster === null) return latest;
  for (const { view } of listings) {
    for (const { label } of backups) {
      const folder = `${databaseFolder(cluster, database)}/${label}`;
      const proof = await latestOfKind(view.repository.storage, folder, 'proven');
      if (proof !== null && (latest === null || proof.at > latest)) latest = proof.at;
    }
  }
  return latest;
}

async function drillFinding(
  monitor: MonitorContext,
  database: WatchedDatabase,
  listings: readonly ReadableListing[],
): Promise<HealthFinding[]> {
  const { max_drill_age_days: maxAgeDays } = monitor.context.config.settings.monitor;
  if (maxAgeDays === null) return [];
  try {
    const proven = await provenAt(database, listings);
    return [drillAge(database, proven, maxAgeDays, monitor.now)];
  } catch (thrown) {
    const { cluster, database: name } = database;
    const subject = databaseSubject(cluster, name);
    return [unknownFinding({ check: 'drill', subject }, thrown, { cluster, database: name })];
  }
}

async function checkBackups(monitor: MonitorContext): Promise<readonly HealthFinding[]> {
  const { context, now } = monitor;
  const { settings } = context.config;
  const all = await monitor.listing();
  const listings = all.filter((listing) => listing.error === null);
  const [failed] = all.flatMap(({ error }) => error ?? []);
  if (listings.length === 0) throw toHoldfastError(failed);
  const databases = await knownBackups(monitor, listings);
  const policy = retentionPolicy(settings);
  const { max_backup_age_hours: maxAgeHours } = settings.monitor;
  const findings: HealthFinding[] = [];
  for (const database of databases) {
    findings.push(backupAge(database, maxAgeHours, now));
    if (database.notWatched !== null) continue;
    findings.push(...backupSize(database, now));
    findings.push(...backupCount(database, policy, maxAgeHours, now));
    findings.push(...(await drillFinding(monitor, database, listings)));
  }
  return [...findings, ...(await copyFindings(monitor, databases, listings))];
}

/** How the full backups are, and their copies. */
export const backupsGroup: CheckGroup = {
  name: 'backups',
  checks: ['backup_age', 'size', 'count', 'copies', 'drill'],
  needs: 'repository',
  run: checkBackups,
};
