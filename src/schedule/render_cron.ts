/** The schedule as lines of a crontab, between the marks of its repository. */

import { blockMarks } from '../core/crontab.ts';
import { HoldfastError } from '../core/errors.ts';
import type { Schedule, ScheduledJob } from '../core/schedule.ts';
import { usualPlaces } from './default_schedule.ts';
import { quoteForCron } from './quote.ts';

/** The machine that the lines are for. */
export interface CronHost {
  /** The folder of the commands: an absolute path. */
  readonly scriptsDir: string;
  /** The repository: an absolute path. */
  readonly repository: string;
  /** How large the log may grow before a new one is begun, in MB. */
  readonly logMb: number;
  /** Folders that are searched for programs before the system's, as PATH has them; `null`: none. */
  readonly path: string | null;
  /** Behind the arguments of every command: where its settings are. */
  readonly settingsArgs: readonly string[];
  /** The user field of a system's crontab; `null`: a user's own has none. */
  readonly user: string | null;
}

/** The machine of the guides, for the files in `cron/`. @param user see {@link CronHost} */
export function usualCronHost(user: string | null): CronHost {
  const { checkout, repository } = usualPlaces;
  const scriptsDir = `${checkout}/scripts`;
  return { scriptsDir, repository, logMb: 10, path: null, settingsArgs: [], user };
}

/** Debian's cron cuts a longer command without a word (cron.h, MAX_COMMAND). */
const commandBytesMax = 990;

/** The log of what the jobs print. */
function cronLog(repository: string): string {
  return `${repository}/logs/cron.log`;
}

/** A word that no shell looks into stands as it is, so that people can read the line. */
function word(text: string): string {
  return /^[A-Za-z0-9_@+=:,./-]+$/.test(text) ? text : quoteForCron(text);
}

function commandOf({ script, args }: ScheduledJob, host: CronHost): string {
  const { scriptsDir, repository, logMb, path, settingsArgs } = host;
  const words = [
    `${scriptsDir}/run_job.sh`,
    ...(path === null ? [] : ['--path', path]),
    ...['--log', cronLog(repository), '--log-mb', String(logMb)],
    ...[script, ...args, ...settingsArgs],
  ];
  const command = words.map(word).join(' ');
  const bytes = Buffer.byteLength(command);
  if (bytes <= commandBytesMax) return command;
  throw new HoldfastError(
    'CONFIG_INVALID',
    `a line of the crontab would have ${bytes} bytes, and cron reads ${commandBytesMax}`,
    { hint: 'Give the checkout, the repository and the files of settings shorter paths.' },
  );
}

function jobLines(job: ScheduledJob, host: CronHost): string {
  const user = host.user === null ? '' : `${host.user} `;
  return `# ${job.description}\n${job.when} ${user}${commandOf(job, host)}`;
}

/**
 * The block of a crontab.
 *
 * @param template the text of templates/crontab
 * @throws HoldfastError CONFIG_INVALID for what cannot stand in a crontab
 */
export function renderCrontab(schedule: Schedule, host: CronHost, template: string): string {
  const [begin, end] = blockMarks(host.repository);
  const values: Readonly<Record<string, string>> = {
    BEGIN: begin,
    END: end,
    JOBS: schedule.jobs.map((job) => jobLines(job, host)).join('\n'),
  };
  return template.replaceAll(/@([A-Z]+)@/g, (_, name: string) => values[name] ?? '');
}
