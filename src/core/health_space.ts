/** The monitor's checks of file systems: how full they are, and when they will be. Pure. */

import { type HealthFinding, type HealthLevel, levelAbove, worstLevel } from './health.ts';
import { type HealthAbout, healthFinding } from './health_finding.ts';
import { formatBytes, formatCount } from './units.ts';

/** A file system, in bytes. */
export interface DiskFacts {
  /** What this user can still write. */
  readonly freeBytes: number;
  readonly usedBytes: number;
  readonly totalBytes: number;
}

/** Half of the way from one number to another. */
const halfWay = (from: number, to: number) => (from + to) / 2;

/** How full a file system is, as df tells it: what is kept for root is neither used nor free. */
export function usedPercent({ usedBytes, freeBytes }: DiskFacts): number {
  const all = usedBytes + freeBytes;
  return all <= 0 ? 100 : (usedBytes / all) * 100;
}

/** A warning beyond a part of the file system; critical half way from there to full. */
export function checkUsed(
  disk: DiskFacts,
  maxPercent: number,
): { readonly level: HealthLevel; readonly percent: number } {
  const percent = usedPercent(disk);
  return { level: levelAbove(percent, maxPercent, halfWay(maxPercent, 100)), percent };
}

/** A file system that backups or temporary files are written to. */
export interface SpaceFacts {
  readonly disk: DiskFacts;
  /** The stored size of the last backup of each database, or whatever else comes next. */
  readonly nextBytes: readonly number[];
  /** By the trend and the retention; `null`: never. */
  readonly daysUntilFull: number | null;
}

/** The settings that say what is enough. */
export interface SpaceLimits {
  /** The setting max_disk_used_percent. */
  readonly maxPercent: number;
  /** The setting min_disk_space_gb in bytes: less is a warning, half of it critical. */
  readonly keepFreeBytes: number;
  /** The setting min_days_until_full: less is a warning, a quarter of it critical. */
  readonly minDays: number;
}

function levelBelow(value: number, warning: number, critical: number): HealthLevel {
  return levelAbove(-value, -warning, -critical);
}

/** What is wrong, the worst told first. */
function spaceTroubles(
  { disk, nextBytes, daysUntilFull: days }: SpaceFacts,
  { maxPercent, keepFreeBytes, minDays }: SpaceLimits,
): { readonly level: HealthLevel; readonly fact: string }[] {
  const { level, percent } = checkUsed(disk, maxPercent);
  const free = disk.freeBytes;
  const largest = Math.max(0, ...nextBytes);
  const all = nextBytes.reduce((sum, bytes) => sum + bytes, 0);
  const next =
    largest > free
      ? `the next backup needs about ${formatBytes(largest)}`
      : `the next ${formatCount(nextBytes.length, 'backup')} need about ${formatBytes(all)}`;
  const fullIn = days === null ? '' : `it is full in ${formatCount(days, 'day')}`;
  return [
    { level: largest > free ? 'critical' : all > free ? 'warning' : 'ok', fact: next } as const,
    { level, fact: `${percent.toFixed(1)} % are used` },
    {
      level: levelBelow(free, keepFreeBytes, halfWay(0, keepFreeBytes)),
      fact: `${formatBytes(keepFreeBytes)} should stay free`,
    },
    { level: days === null ? 'ok' : levelBelow(days, minDays, minDays / 4), fact: fullIn } as const,
  ].filter((trouble) => trouble.level !== 'ok');
}

/** Whether a file system has room, and for how long. */
export function checkSpaceOf(
  about: HealthAbout,
  facts: SpaceFacts,
  limits: SpaceLimits,
): HealthFinding {
  const { disk, daysUntilFull: days } = facts;
  const troubles = spaceTroubles(facts, limits);
  const level = worstLevel(troubles.map((trouble) => trouble.level));
  const free = `${formatBytes(disk.freeBytes)} of ${formatBytes(disk.totalBytes)} are free`;
  const told = troubles.map(({ fact }) => fact).join(', ');
  const lasts =
    days === null ? 'it never fills by the trend' : `full in ${formatCount(days, 'day')}`;
  return healthFinding(about, {
    level,
    message: told === '' ? free : `${free}: ${told}`,
    expected:
      `at most ${limits.maxPercent} % used, ${formatBytes(limits.keepFreeBytes)} free, room for ` +
      `the next backups, full in ${limits.minDays} days at the earliest`,
    found: `${usedPercent(disk).toFixed(1)} % used, ${free}, ${lasts}`,
    mend:
      'scripts/prune_backups.ts --dry-run tells what retention would remove; else free space ' +
      'there, keep less (RETENTION_…), or set BACKUP_DIR to a larger file system.',
    values: {
      free_bytes: disk.freeBytes,
      total_bytes: disk.totalBytes,
      used_percent: usedPercent(disk),
      ...(days === null ? {} : { full_in_seconds: days * 86_400 }),
    },
  });
}
