/** The schedule of somebody who has set nothing, for `cron/` and `systemd/` of the checkout. */

import { scheduleTable } from '../config/schedule_settings.ts';
import { planSchedule, type Schedule } from '../core/schedule.ts';

/** Every job at its default time, on a server that archives its WAL. */
export function defaultSchedule(): Schedule {
  const { daily, weekly, monthly, incremental, monitor } = scheduleTable;
  const { all_databases, wait_minutes, time_zone } = scheduleTable;
  const settings = {
    daily: daily.default,
    weekly: weekly.default,
    monthly: monthly.default,
    incremental: incremental.default,
    monitor: monitor.default,
    all_databases: all_databases.default,
    wait_minutes: wait_minutes.default,
    time_zone: time_zone.default,
  };
  const facts = { isArchiving: true, isIncrementalSet: false, namesDatabase: true };
  return planSchedule(settings, facts);
}

/** Where the guides put the checkout and the repository. */
export const usualPlaces = {
  checkout: '/opt/holdfast',
  repository: '/var/backups/holdfast',
  user: 'postgres',
} as const;
