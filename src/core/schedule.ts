/** The one schedule table: which jobs the settings ask for, for cron and systemd alike. */

import { type CronFields, parseCronFields } from './cron_fields.ts';
import { HoldfastError } from './errors.ts';

/** The jobs in the order in which they are told; each is also a key of the group `schedule`. */
export const jobNames = ['daily', 'weekly', 'monthly', 'incremental', 'monitor'] as const;
export type JobName = (typeof jobNames)[number];

/** The settings of the group `schedule`. */
export type ScheduleSettings = Readonly<Record<JobName, string>> & {
  readonly all_databases: boolean;
  readonly wait_minutes: number;
  readonly time_zone: string | null;
};

/** What the settings alone do not tell. */
export interface ScheduleFacts {
  /** setup_archiving.ts has rendered the hooks of a cluster. */
  readonly isArchiving: boolean;
  /** Somebody has written `schedule.incremental`; otherwise its value is the default. */
  readonly isIncrementalSet: boolean;
  /** The settings name a database, so that a full backup knows what to back up. */
  readonly namesDatabase: boolean;
}

/** One line of the schedule. */
export interface ScheduledJob {
  readonly name: JobName;
  readonly description: string;
  /** Five fields that every cron program reads alike. */
  readonly when: string;
  readonly fields: CronFields;
  /** The file's name in scripts/. */
  readonly script: string;
  readonly args: readonly string[];
}

/** A job that is not installed, and why. */
export interface LeftOutJob {
  readonly name: JobName;
  /** In words, with what to do. */
  readonly reason: string;
}

/** What the settings ask for. */
export interface Schedule {
  readonly jobs: readonly ScheduledJob[];
  readonly leftOut: readonly LeftOutJob[];
  readonly timeZone: string | null;
}

const descriptions = {
  daily: 'Daily full backup',
  weekly: 'Weekly full backup',
  monthly: 'Monthly full backup',
  incremental: 'Recovery point and base backups',
  monitor: 'Monitor and alerts',
} as const satisfies Record<JobName, string>;

/** The word of a setting that leaves a job out. */
const off = 'off';

function commandOf(name: JobName, settings: ScheduleSettings): readonly [string, string[]] {
  const job = ['--job', name];
  if (name === 'monitor') return ['monitor_backups.ts', ['alert', ...job]];
  if (name === 'incremental') return ['backup_incremental.ts', job];
  const wait = String(settings.wait_minutes * 60);
  const all = settings.all_databases ? ['--all'] : [];
  return ['backup_full.ts', ['--type', name, ...all, '--wait', wait, ...job]];
}

function reasonToLeaveOut(
  name: JobName,
  settings: ScheduleSettings,
  { isArchiving, isIncrementalSet }: ScheduleFacts,
): string | null {
  if (settings[name] === off) return `schedule.${name} is off`;
  if (name !== 'incremental' || isArchiving || isIncrementalSet) return null;
  return 'the WAL is not archived yet: run setup_archiving.ts, then this again';
}

/**
 * The jobs that the settings ask for.
 *
 * @throws HoldfastError CONFIG_INVALID for fields that say no time, and where a full backup would
 *   not know which database is meant
 */
export function planSchedule(settings: ScheduleSettings, facts: ScheduleFacts): Schedule {
  const jobs: ScheduledJob[] = [];
  const leftOut: LeftOutJob[] = [];
  for (const name of jobNames) {
    const reason = reasonToLeaveOut(name, settings, facts);
    if (reason !== null) {
      leftOut.push({ name, reason });
      continue;
    }
    const fields = parseCronFields(settings[name], `schedule.${name}`);
    const [script, args] = commandOf(name, settings);
    jobs.push({ name, description: descriptions[name], when: fields.text, fields, script, args });
  }
  const isFull = jobs.some(({ script }) => script === 'backup_full.ts');
  if (isFull && !facts.namesDatabase && !settings.all_databases) {
    throw new HoldfastError('CONFIG_INVALID', 'no setting says which database to back up', {
      hint: 'Write PGDATABASE=name into .env; or, for every database, SCHEDULE_ALL_DATABASES=true.',
    });
  }
  return { jobs, leftOut, timeZone: settings.time_zone };
}
