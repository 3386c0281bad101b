/**
 * Which backups a store is brought: those that another store has and that its own retention would
 * keep. What retention has removed is so never brought back.
 */

import { type BaseLabel, parseBaseLabel, parseLabel } from './label.ts';
import { planRetention, type RetentionSettings, retentionPolicy } from './retention.ts';

/** What lies in the folder of a database, or of the base backups of a cluster, in one store. */
export interface StoreListing {
  /** The store's name. */
  readonly name: string;
  readonly labels: ReadonlySet<string>;
}

/** For how long a store keeps what, by the names of the settings. */
export interface KeepSettings extends RetentionSettings {
  readonly wal_retention_days: number;
}

const dayMs = 86_400_000;

/** With all backups that there are in it the store would keep the fewest of each. */
function keptFull(labels: readonly string[], settings: KeepSettings, now: Date): string[] {
  const backups = labels.flatMap((text) => {
    const label = parseLabel(text);
    if (label === null) return [];
    const { tier, startedAt } = label;
    return [{ label: text, tier, startedAt, health: 'good' as const }];
  });
  return planRetention(backups, retentionPolicy(settings), now).decisions.flatMap(
    ({ action, backup }) => (action === 'keep' ? [backup.label] : []),
  );
}

/** The base backups in the window that its WAL covers, and the one that the window begins with. */
function keptBases(labels: readonly string[], settings: KeepSettings, now: Date): string[] {
  const bases = labels
    .map(parseBaseLabel)
    .filter((label): label is BaseLabel => label !== null)
    .sort((a, b) => (a.text < b.text ? -1 : 1));
  const beginMs = now.getTime() - settings.wal_retention_days * dayMs;
  const isOlder = ({ startedAt }: BaseLabel) => startedAt.getTime() < beginMs;
  const older = bases.filter(isOlder);
  const inside = bases.filter((label) => !isOlder(label));
  return [...older.slice(-1), ...inside].map(({ text }) => text);
}

/**
 * The labels that a store lacks, oldest first.
 *
 * @param settings of the store that lacks them
 */
export function lackingCopies(
  store: StoreListing,
  others: readonly StoreListing[],
  settings: KeepSettings,
  now: Date,
): string[] {
  const all = [...new Set([store, ...others].flatMap(({ labels }) => [...labels]))];
  const kept = [...keptFull(all, settings, now), ...keptBases(all, settings, now)];
  return kept.filter((label) => !store.labels.has(label)).sort();
}
