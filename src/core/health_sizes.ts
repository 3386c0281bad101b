/** The monitor's checks `size` and `count`: what the backups of a database are like. Pure. */

import type { HealthFinding } from './health.ts';
import {
  aboutDatabase,
  counts,
  type WatchedBackup,
  type WatchedDatabase,
} from './health_backups.ts';
import { ageText, shownFinding } from './health_words.ts';
import type { Tier } from './label.ts';
import type { RetentionPolicy } from './retention.ts';
import { historyMin, unusualSize } from './size_history.ts';
import { formatBytes, formatCount } from './units.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** Whether the last backup of a database is as large as those before it. */
export function backupSize(database: WatchedDatabase, now: Date): HealthFinding[] {
  const good = database.backups.filter((backup) => counts(backup, now));
  const last = good.at(-1);
  if (last === undefined) return [];
  const earlier = good.slice(0, -1).filter(({ dumpKind }) => dumpKind === last.dumpKind);
  const history = earlier.map(({ dumpBytes }) => dumpBytes);
  const unusual = unusualSize(last.dumpBytes, history);
  const size = formatBytes(last.dumpBytes);
  const warnings = last.warnings.map((text) => `it warned: ${text}`);
  const parts = {
    check: 'size',
    ...aboutDatabase(database),
    expected: 'a dump of about the size of those before it',
    found: [`${last.label} with ${size}`, ...warnings].join('; '),
    values: { stored_bytes: last.storedBytes, dump_bytes: last.dumpBytes },
  } as const;
  if (unusual === null) {
    const isShort = earlier.length < historyMin;
    const why = isShort ? `, with ${formatCount(earlier.length, 'dump')} to compare it with` : '';
    return [shownFinding({ ...parts, level: 'ok', message: `the last dump has ${size}${why}` })];
  }
  const usual = formatBytes(unusual.medianBytes);
  return [
    shownFinding({
      ...parts,
      level: 'warning',
      message: `the last dump is much ${unusual.kind} than those before it: ${size}`,
      expected: `about ${usual}, as usual`,
      since: last.startedAt,
      mend:
        'Look whether the database has lost or gained so much; scripts/list_backups.ts shows the ' +
        'sizes and rows. Keep an older backup from being pruned until you know.',
      values: { ...parts.values, usual_bytes: unusual.medianBytes },
    }),
  ];
}

/** The tiers that a schedule takes, and how far apart their backups are. */
function intervalMs(tier: Tier, maxAgeHours: number): number | null {
  switch (tier) {
    case 'daily':
      // Whoever takes them less often has said so in the age that a backup may have.
      return Math.max(dayMs, (maxAgeHours - 1) * hourMs);
    case 'weekly':
      return 7 * dayMs;
    case 'monthly':
      return 31 * dayMs;
    default:
      return null;
  }
}

interface Shortage {
  readonly tier: Tier;
  readonly there: number;
  readonly promised: number;
}

/** What a tier lacks of what it promises, once its history is long enough for the promise. */
function shortage(
  good: readonly WatchedBackup[],
  tier: Tier,
  policy: RetentionPolicy,
  maxAgeHours: number,
  now: Date,
): Shortage[] {
  const { days, count } = policy[tier];
  const interval = intervalMs(tier, maxAgeHours);
  const ofTier = good.filter((backup) => backup.tier === tier);
  const [oldest] = ofTier;
  if (interval === null || oldest === undefined || ofTier.length >= count) return [];
  const ageMs = now.getTime() - oldest.startedAt.getTime();
  const isLong = ageMs > Math.max(days * dayMs, count * interval);
  return isLong ? [{ tier, there: ofTier.length, promised: count }] : [];
}

/** Whether there are as many backups of a database as the retention promises. */
export function backupCount(
  database: WatchedDatabase,
  policy: RetentionPolicy,
  maxAgeHours: number,
  now: Date,
): HealthFinding[] {
  const good = database.backups.filter((backup) => counts(backup, now));
  const [oldest] = good;
  if (oldest === undefined) return [];
  const short = (['daily', 'weekly', 'monthly'] as const).flatMap((tier) =>
    shortage(good, tier, policy, maxAgeHours, now),
  );
  const promised = short.map(({ tier, promised: wanted }) => `${wanted} ${tier}`);
  const there = short.map(({ tier, there: own }) => `${own} ${tier}`);
  const history = ageText(now.getTime() - oldest.startedAt.getTime());
  const all = `${formatCount(good.length, 'good backup')} of the last ${history}`;
  const values = { backups: database.backups.length, good_backups: good.length };
  const about = { check: 'count', ...aboutDatabase(database), values } as const;
  if (short.length === 0) {
    const expected = 'as many good backups as the retention promises';
    return [shownFinding({ ...about, level: 'ok', message: all, expected, found: all })];
  }
  return [
    shownFinding({
      ...about,
      level: 'warning',
      message: `there are only ${there.join(', ')} good backups`,
      expected: `${promised.join(', ')} good ones, as the retention promises`,
      found: `${there.join(', ')}: ${all}`,
      mend:
        'Runs have failed, or backups were lost: look at scripts/setup_cron.ts status (or ' +
        'scripts/setup_systemd.ts status) and into the files in logs/.',
    }),
  ];
}
