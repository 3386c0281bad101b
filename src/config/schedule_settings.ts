/** The one schedule table: when which job runs, for cron and systemd alike. */

import type { Setting } from './setting.ts';

const when = {
  type: 'string',
  pattern: '^(?:off|[0-9*,/A-Za-z-]+(?: [0-9*,/A-Za-z-]+){4})$',
} as const;
const allowed = 'the five fields of a crontab (minute hour day month weekday), or off';

/** Every setting of the schedule, in the order in which they are told. */
export const scheduleTable = {
  daily: {
    schema: when,
    env: ['SCHEDULE_DAILY'],
    default: '0 2 * * *',
    description: 'When the daily full backup runs: the five fields of a crontab, or `off`.',
    allowed,
    example: '30 1 * * *',
  },
  weekly: {
    schema: when,
    env: ['SCHEDULE_WEEKLY'],
    default: '0 3 * * 0',
    description: 'When the weekly full backup runs.',
    allowed,
    example: '0 3 * * 6',
  },
  monthly: {
    schema: when,
    env: ['SCHEDULE_MONTHLY'],
    default: '0 4 1 * *',
    description: 'When the monthly full backup runs.',
    allowed,
    example: '0 4 15 * *',
  },
  incremental: {
    schema: when,
    env: ['SCHEDULE_INCREMENTAL'],
    default: '5 * * * *',
    description:
      'When backup_incremental.ts runs. By default it is left out until setup_archiving.ts has ' +
      'set up the archiving of the WAL.',
    allowed,
    example: '*/30 * * * *',
  },
  monitor: {
    schema: when,
    env: ['SCHEDULE_MONITOR'],
    default: '*/15 * * * *',
    description: 'When the monitor looks at everything, and alerts.',
    allowed,
    example: '*/5 * * * *',
  },
  all_databases: {
    schema: { type: 'boolean' },
    env: ['SCHEDULE_ALL_DATABASES'],
    default: false,
    description:
      'Whether the scheduled full backups take every database of the server, in place of those ' +
      'that the settings name.',
    example: true,
  },
  wait_minutes: {
    schema: { type: 'integer', minimum: 0, maximum: 1440 },
    env: ['SCHEDULE_WAIT_MINUTES'],
    default: 360,
    description:
      'How many minutes a scheduled full backup waits for one of the same database that still ' +
      'runs, so that a long daily one never costs the weekly one.',
    example: 60,
  },
  time_zone: {
    schema: { type: 'string', pattern: '^[A-Za-z][A-Za-z0-9_+/-]{1,63}$' },
    env: ['SCHEDULE_TIME_ZONE'],
    default: null,
    defaultText: "the server's",
    description: 'The time zone of the schedule, for systemd. Cron knows only its own.',
    allowed: 'a time zone, such as Europe/Berlin',
    example: 'Europe/Berlin',
  },
} as const satisfies Readonly<Record<string, Setting>>;
