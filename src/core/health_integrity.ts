/** The monitor's check `integrity`: whether what is stored is still what was written. Pure. */

import type { HealthFinding } from './health.ts';
import { databaseSubject, shownFinding, someNames } from './health_words.ts';
import { printable } from './printable.ts';
import { formatBytes, formatCount } from './units.ts';

/** So many damaged backups are told one by one. */
const toldMax = 50;

/** A backup in one store. */
export interface StoredBackup {
  readonly store: string;
  readonly cluster: string;
  /** `null`: a base backup of the whole cluster. */
  readonly database: string | null;
  readonly label: string;
}

/** A backup that is damaged, and why. */
export interface DamagedBackup extends StoredBackup {
  readonly damage: readonly string[];
  /** `null`: nobody knows. */
  readonly since: Date | null;
  /** A check beside it says so; otherwise the monitor has found it itself. */
  readonly isRecorded: boolean;
}

/** What is known of the backups in one store. */
export interface StoreIntegrity {
  readonly store: string;
  /** Files of it can be looked at; those of a bucket are read by verify_backups.ts alone. */
  readonly isFolder: boolean;
  readonly backups: number;
  readonly damaged: readonly DamagedBackup[];
  /** Labels of backups that have changed since they were read, and were not read again. */
  readonly changed: readonly string[];
  /** Labels of backups that take too long for one run. */
  readonly left: readonly string[];
  /** What could not be read now, and may be read in the next run: labels, and why. */
  readonly failures: readonly string[];
  /** How many were read in this run, and how much. */
  readonly readBackups: number;
  readonly readBytes: number;
  /** How long the one that was read the longest ago was not read; `null`: there is none. */
  readonly unreadSeconds: number | null;
  /** Why what was read cannot be remembered; `null`: it can. */
  readonly notRemembered: string | null;
}

function subjectOf({ store, cluster, database, label }: StoredBackup): string {
  const name = database === null ? printable(cluster) : databaseSubject(cluster, database);
  return `${printable(store)}/${name}/${printable(label)}`;
}

function damagedFinding(backup: DamagedBackup): HealthFinding {
  const { store, cluster, database, label, damage, since, isRecorded } = backup;
  const shown = printable(label);
  const [first = 'it is damaged'] = damage;
  const more = damage.length > 1 ? ` and ${damage.length - 1} more` : '';
  return shownFinding({
    check: 'integrity',
    subject: subjectOf(backup),
    cluster,
    database,
    level: 'critical',
    message: `the backup ${shown} in the store ${JSON.stringify(printable(store))} is damaged`,
    expected: 'the bytes that were written, in every file',
    found: `${first}${more}`,
    since,
    mend: isRecorded
      ? 'Take a new backup; this one goes with its retention (scripts/prune_backups.ts), or when ' +
        'you remove its folder.'
      : `Type scripts/verify_backups.ts ${shown}, which records what is wrong, so that no ` +
        'restore takes it; then take a new backup.',
  });
}

function storeFinding(facts: StoreIntegrity): HealthFinding {
  const { store, backups, damaged, changed, left, failures, readBytes, readBackups } = facts;
  const name = JSON.stringify(printable(store));
  const notes = [
    ...(changed.length === 0 ? [] : [`changed and not read again: ${someNames(changed)}`]),
    ...(failures.length === 0 ? [] : [`could not be read: ${someNames(failures)}`]),
    ...(left.length === 0 ? [] : [`too large for one run: ${someNames(left)}`]),
    ...(facts.notRemembered === null ? [] : [`not remembered: ${facts.notRemembered}`]),
    ...(facts.isFolder ? [] : ['read by scripts/verify_backups.ts alone: it is no folder']),
  ];
  const isBad = changed.length > 0 || failures.length > 0 || facts.notRemembered !== null;
  const [label = 'LABEL'] = changed;
  const read = `${formatBytes(readBytes)} of ${formatCount(readBackups, 'backup')} read just now`;
  const all = `${formatCount(backups, 'backup')} in the store ${name}`;
  const message = `${all}: ${damaged.length} damaged, ${changed.length} changed and not read yet`;
  return shownFinding({
    check: 'integrity',
    subject: printable(store),
    level: isBad ? 'warning' : 'ok',
    message,
    expected: 'files that nobody has changed, each read again in its turn',
    found: [read, ...notes].join('; '),
    mend:
      changed.length > 0
        ? `Type scripts/verify_backups.ts ${label}, which reads it whole.`
        : 'Look at the room and the owner of state/monitor in BACKUP_DIR, and at the store.',
    values: {
      backups,
      damaged: damaged.length,
      changed: changed.length,
      left: left.length,
      read_bytes: readBytes,
      ...(facts.unreadSeconds === null ? {} : { longest_unread_seconds: facts.unreadSeconds }),
    },
  });
}

/** Whether what is stored in one store is what was written. */
export function storeIntegrity(facts: StoreIntegrity): HealthFinding[] {
  const { store, damaged } = facts;
  const told = damaged.slice(0, toldMax).map(damagedFinding);
  const rest = damaged.slice(toldMax);
  const [first] = rest;
  if (first === undefined) return [storeFinding(facts), ...told];
  const more = shownFinding({
    check: 'integrity',
    subject: `${printable(store)}, others`,
    level: 'critical',
    message: `${formatCount(rest.length, 'more backup')} in ${printable(store)} are damaged`,
    expected: 'the bytes that were written, in every file',
    found: someNames(rest.map(subjectOf)),
    mend: 'Type scripts/verify_backups.ts --all, and look at the disk of the store.',
  });
  return [storeFinding(facts), ...told, more];
}
