/**
 * The monitor's checks `copies` and `drill`: what every store should hold, and whether a backup of
 * a database was ever restored to prove it. Pure.
 */

import type { HealthFinding } from './health.ts';
import { aboutDatabase, type WatchedDatabase } from './health_backups.ts';
import { ageText, shownFinding, someNames } from './health_words.ts';
import { parseBaseLabel, parseLabel } from './label.ts';
import { type KeepSettings, lackingCopies } from './lacking_copies.ts';
import { printable } from './printable.ts';
import { formatCount } from './units.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** What lies in the stores of one database, or of the base backups of one cluster. */
export interface CopiedFolder {
  /** `main/shop`, or `the base backups of main`. */
  readonly name: string;
  readonly stores: readonly FolderInStore[];
}

/** What lies in it in one store. */
export interface FolderInStore {
  /** The store's name. */
  readonly name: string;
  readonly labels: ReadonlySet<string>;
  /** Those that nothing is known against, so that they can be copied. */
  readonly whole: ReadonlySet<string>;
}

/** A store that copies go to. */
export interface CopyStore {
  readonly name: string;
  readonly isRequired: boolean;
  readonly retention: KeepSettings;
}

function startOf(label: string): number {
  return (parseLabel(label) ?? parseBaseLabel(label))?.startedAt.getTime() ?? 0;
}

/** What a store lacks of one folder. */
interface Lack {
  readonly name: string;
  readonly labels: readonly string[];
  /** It has not even the newest one that had time to come. */
  readonly isNewestLacking: boolean;
}

/** The labels that a store lacks, and that the runs since then had time to bring. */
function lackOf(store: CopyStore, folder: CopiedFolder, graceMs: number, now: Date): Lack[] {
  const own = folder.stores.find(({ name }) => name === store.name);
  if (own === undefined) return [];
  const others = folder.stores.flatMap(({ name, whole }) =>
    name === store.name ? [] : [{ name, labels: whole }],
  );
  const isDue = (label: string, graces: number) =>
    now.getTime() - startOf(label) > graces * graceMs;
  const lacking = lackingCopies(own, others, store.retention, now);
  const due = lacking.filter((label) => isDue(label, 1));
  if (due.length === 0) return [];
  const newest = due.at(-1) ?? '';
  const hasYounger = [...own.labels].some((label) => label > newest);
  const isNewestLacking = !hasYounger && isDue(newest, 2);
  return [{ name: folder.name, labels: due, isNewestLacking }];
}

/**
 * Whether a store has what its retention would keep of what lies in the others.
 *
 * @param graceHours a younger one is being written, or the next run brings it
 */
export function missingCopies(
  store: CopyStore,
  folders: readonly CopiedFolder[],
  graceHours: number,
  now: Date,
): HealthFinding {
  const graceMs = graceHours * hourMs;
  const lacks = folders.flatMap((folder) => lackOf(store, folder, graceMs, now));
  const labels = lacks.flatMap((lack) => lack.labels).sort();
  const [oldest] = labels;
  const isBehind = lacks.some(({ isNewestLacking }) => isNewestLacking);
  const name = JSON.stringify(printable(store.name));
  const about = {
    check: 'copies',
    subject: printable(store.name),
    expected: 'every backup of the other stores that its retention would keep',
    values: { missing: labels.length },
  } as const;
  if (oldest === undefined) {
    const message = `the store ${name} has every backup that it should have`;
    return shownFinding({ ...about, level: 'ok', message, found: 'all of them' });
  }
  const of = lacks.map((lack) => `${lack.labels.length} of ${lack.name}`);
  return shownFinding({
    ...about,
    level: store.isRequired && isBehind ? 'critical' : 'warning',
    message: `the store ${name} lacks ${formatCount(labels.length, 'backup')}`,
    found: `it lacks ${someNames(of)}; the oldest is ${oldest}`,
    since: new Date(startOf(oldest) + graceMs),
    mend:
      'The next backup brings what is lacking: scripts/doctor.ts tells whether the store takes ' +
      'anything, and logs/ what the last runs said of it.',
  });
}

/** How long ago a backup of a database was last proven by a restore. */
export function drillAge(
  database: WatchedDatabase,
  provenAt: Date | null,
  maxAgeDays: number,
  now: Date,
): HealthFinding {
  const parts = {
    check: 'drill',
    ...aboutDatabase(database),
    expected: `a proof by a restore every ${formatCount(maxAgeDays, 'day')}`,
    mend: 'Restore a backup of it under another name and look at it, as a drill does.',
  } as const;
  if (provenAt === null) {
    const message = 'no backup of it was ever proven by a restore';
    return shownFinding({ ...parts, level: 'warning', message, found: 'none' });
  }
  const ageMs = Math.max(0, now.getTime() - provenAt.getTime());
  return shownFinding({
    ...parts,
    level: ageMs > maxAgeDays * dayMs ? 'warning' : 'ok',
    message: `the last proof by a restore is ${ageText(ageMs)} old`,
    found: `the proof of ${provenAt.toISOString()}`,
    since: new Date(provenAt.getTime() + maxAgeDays * dayMs),
    values: { age_seconds: ageMs / 1000 },
  });
}
