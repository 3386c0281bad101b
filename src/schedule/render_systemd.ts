/** The schedule as units of systemd: a service and a timer for each job. */

import { toOnCalendar } from '../core/cron_fields.ts';
import type { JobName, Schedule, ScheduledJob } from '../core/schedule.ts';
import { usualPlaces } from './default_schedule.ts';
import { quoteExecArgument, quoteExecProgram, quoteListedPath, quoteWholePath } from './quote.ts';

/** The texts of templates/, by their names there. */
export type ReadUnitTemplate = (name: UnitTemplate) => string;
export type UnitTemplate =
  | 'systemd_job.service'
  | 'systemd_job.timer'
  | 'systemd_wal_ship.service'
  | 'systemd_alert.service'
  | 'systemd_sandbox.conf'
  | 'systemd_sandbox_system.conf';

/** A file that the services are handed by systemd, since their user may not read it. */
export interface Credential {
  /** Its name in `$CREDENTIALS_DIRECTORY`. */
  readonly id: string;
  readonly path: string;
}

/** An argument; a credential stands for its path. */
export type UnitArgument = string | Credential;

/** The machine that the units are for. */
export interface UnitHost {
  /** Who runs it: `null` is the manager of a user, whose services are that user's. */
  readonly user: string | null;
  /** The program of Node: an absolute path. */
  readonly node: string;
  /** The folder of the commands. */
  readonly scriptsDir: string;
  /** Behind the arguments of every command: where its settings are. */
  readonly settingsArgs: readonly UnitArgument[];
  readonly backupDir: string;
  /** Where services write, the repository too: absolute paths. */
  readonly writable: readonly string[];
  /** Whether anything that is needed lies in a home folder, or in `/tmp`. */
  readonly needsHomes: boolean;
  readonly needsTmp: boolean;
  /** Whether the resident helper of archiving is wanted. */
  readonly isShipping: boolean;
}

/** A unit's file. */
export interface UnitFile {
  readonly name: string;
  readonly text: string;
}

/** The first line of every file that is ours: nothing without it is touched. */
export const unitHeader = '# Made by setup_systemd.ts of Holdfast, and written anew by it.';

/** The job of the resident helper. */
export const shipJob = 'wal-ship';

/** Needs no quotes, and is easier to read without. */
const plainWord = /^[A-Za-z0-9_/.:,+=@-]+$/;

function unlessPlain(text: string, quote: (text: string) => string): string {
  return plainWord.test(text) ? text : quote(text);
}

/** The services of PostgreSQL, as Debian and as PGDG's packages for other systems call them. */
const servers = ['postgresql', ...['18', '17', '16', '15', '14'].map((v) => `postgresql-${v}`)];

/** How long a start may be delayed by chance: full backups go to stores that others use, too. */
const delays: Readonly<Record<JobName, string>> = {
  daily: '5min',
  weekly: '5min',
  monthly: '5min',
  incremental: '1min',
  monitor: '30s',
};

/** The machine of the guides, for the units in `systemd/` of the checkout. */
export const usualUnitHost: UnitHost = {
  user: usualPlaces.user,
  node: `${usualPlaces.checkout}/node_modules/.bin/node`,
  scriptsDir: `${usualPlaces.checkout}/scripts`,
  settingsArgs: [],
  backupDir: usualPlaces.repository,
  writable: [usualPlaces.repository],
  needsHomes: false,
  needsTmp: false,
  isShipping: true,
};

/** The name of a job's units, without their suffix. */
export function unitName(job: string): string {
  return `holdfast-${job}`;
}

/** The line of a service that names its repository. */
export function repositoryLine(backupDir: string): string {
  return `RequiresMountsFor=${unlessPlain(backupDir, quoteListedPath)}`;
}

/** Puts values in; a line whose value is empty goes. */
function fill(template: string, values: Readonly<Record<string, string>>): string {
  return template
    .split('\n')
    .flatMap((line) => {
      const text = line.replaceAll(/@([A-Z_]+)@/g, (_, name: string) => values[name] ?? '');
      return text === '' && line !== '' ? [] : [text];
    })
    .join('\n');
}

function commandLine(host: UnitHost, script: string, args: readonly string[]): string {
  // After "--" nothing is an option of Node, which would read our --env-file itself.
  const words = ['--', `${host.scriptsDir}/${script}`, ...args, ...host.settingsArgs];
  const quoted = words.map((word) =>
    typeof word === 'string'
      ? unlessPlain(word, quoteExecArgument)
      : // systemd puts it in as a part of one word, whatever is in it.
        `\${CREDENTIALS_DIRECTORY}/${word.id}`,
  );
  return [unlessPlain(host.node, quoteExecProgram), ...quoted].join(' ');
}

/** What a service may do, and where it writes. */
function sandbox(host: UnitHost, read: ReadUnitTemplate): string {
  const { user, settingsArgs, writable, needsHomes, needsTmp } = host;
  const credentials = settingsArgs
    .filter((argument) => typeof argument !== 'string')
    .map(({ id, path }) => `LoadCredential=${id}:${quoteWholePath(path)}`);
  // A service of a user's manager has no privilege to arrange its mounts with.
  const places = [...writable, ...(needsTmp ? ['/tmp', '/var/tmp'] : [])];
  const mounts = places.map((path) => `ReadWritePaths=${unlessPlain(`-${path}`, quoteListedPath)}`);
  const identity =
    user === null
      ? ''
      : fill(read('systemd_sandbox_system.conf').trimEnd(), {
          USER: user,
          PROTECT_HOME: needsHomes ? 'read-only' : 'yes',
          PRIVATE_TMP: needsTmp ? 'no' : 'yes',
        });
  const values = {
    IDENTITY: identity,
    MOUNTS: [...(user === null ? [] : mounts), ...credentials].join('\n'),
  };
  return fill(read('systemd_sandbox.conf').trimEnd(), values);
}

/** What every unit's file holds. */
function commonValues(host: UnitHost, read: ReadUnitTemplate): Record<string, string> {
  const { user, backupDir } = host;
  const after = ['network-online.target', ...servers.map((name) => `${name}.service`)];
  return {
    HEADER: unitHeader,
    MANAGER: user === null ? '--user ' : '',
    ORDER: user === null ? '' : `Wants=network-online.target\nAfter=${after.join(' ')}`,
    MOUNTED: repositoryLine(backupDir),
    TARGET: user === null ? 'default.target' : 'multi-user.target',
    SANDBOX: sandbox(host, read),
  };
}

/** The monitor tells by its status what it has found; that is no failure of the service. */
function jobValues(job: ScheduledJob, host: UnitHost): Record<string, string> {
  const isMonitor = job.name === 'monitor';
  return {
    UNIT: unitName(job.name),
    JOB: job.name,
    DESCRIPTION: job.description,
    COMMAND: commandLine(host, job.script, job.args),
    // It is the one to tell that the repository is not mounted.
    ...(isMonitor ? { MOUNTED: '' } : {}),
    STATUSES: isMonitor ? 'SuccessExitStatus=1 2 3' : '',
    SECONDS_MAX: isMonitor ? '30min' : 'infinity',
    WHEN: job.when,
    DELAY: delays[job.name],
  };
}

/**
 * Every file, in the order of the jobs: the services, their timers, and what `OnFailure=` starts.
 *
 * @param read gives the text of a template
 * @throws HoldfastError CONFIG_INVALID for a path that systemd cannot be told
 */
export function renderSystemd(
  schedule: Schedule,
  host: UnitHost,
  read: ReadUnitTemplate,
): UnitFile[] {
  const common = commonValues(host, read);
  const files: UnitFile[] = [];
  const add = (template: UnitTemplate, name: string, values: Readonly<Record<string, string>>) => {
    files.push({ name, text: fill(read(template), { ...common, ...values }) });
  };
  for (const job of schedule.jobs) {
    const calendar = toOnCalendar(job.fields, schedule.timeZone);
    const values: Readonly<Record<string, string>> = {
      ...jobValues(job, host),
      ON_CALENDAR: calendar.map((time) => `OnCalendar=${time}`).join('\n'),
    };
    add('systemd_job.service', `${unitName(job.name)}.service`, values);
    add('systemd_job.timer', `${unitName(job.name)}.timer`, values);
  }
  if (host.isShipping) {
    add('systemd_wal_ship.service', `${unitName(shipJob)}.service`, {
      UNIT: unitName(shipJob),
      JOB: shipJob,
      DESCRIPTION: 'Helper of the archiver of the WAL',
      COMMAND: commandLine(host, 'wal_ship.ts', ['--job', shipJob]),
    });
  }
  add('systemd_alert.service', 'holdfast-alert@.service', {
    UNIT: 'holdfast-alert',
    DESCRIPTION: 'Tells of a job that was killed',
    COMMAND: `${commandLine(host, 'monitor_backups.ts', ['alert'])} --job-failed %i`,
  });
  return files;
}
