import { describe, expect, it } from 'vitest';
import { planSchedule, type ScheduleSettings } from '../../../src/core/schedule.ts';

const defaults: ScheduleSettings = {
  daily: '0 2 * * *',
  weekly: '0 3 * * 0',
  monthly: '0 4 1 * *',
  incremental: '5 * * * *',
  monitor: '*/15 * * * *',
  all_databases: false,
  wait_minutes: 360,
  time_zone: null,
};
const facts = { isArchiving: true, isIncrementalSet: false, namesDatabase: true };
const commands = (settings: Partial<ScheduleSettings>) =>
  planSchedule({ ...defaults, ...settings }, facts).jobs.map(
    ({ when, script, args }) => `${when} ${script} ${args.join(' ')}`,
  );

describe('the schedule', () => {
  it('has a line for each job of the settings', () => {
    expect(commands({})).toEqual([
      '0 2 * * * backup_full.ts --type daily --wait 21600 --job daily',
      '0 3 * * 0 backup_full.ts --type weekly --wait 21600 --job weekly',
      '0 4 1 * * backup_full.ts --type monthly --wait 21600 --job monthly',
      '5 * * * * backup_incremental.ts --job incremental',
      '*/15 * * * * monitor_backups.ts alert --job monitor',
    ]);
  });

  it('takes every database where that is set, and says names of days as numbers', () => {
    expect(commands({ all_databases: true, wait_minutes: 0, weekly: '0 3 * * sat' })[1]).toBe(
      '0 3 * * 6 backup_full.ts --type weekly --all --wait 0 --job weekly',
    );
  });

  it('leaves out what is off', () => {
    const { jobs, leftOut } = planSchedule({ ...defaults, monthly: 'off' }, facts);
    expect(jobs.map(({ name }) => name)).toEqual(['daily', 'weekly', 'incremental', 'monitor']);
    expect(leftOut).toEqual([{ name: 'monthly', reason: 'schedule.monthly is off' }]);
  });

  it('leaves the incremental job out until the WAL is archived, unless it is asked for', () => {
    const without = { ...facts, isArchiving: false };
    const { jobs, leftOut } = planSchedule(defaults, without);
    expect(jobs.map(({ name }) => name)).not.toContain('incremental');
    expect(leftOut).toEqual([
      {
        name: 'incremental',
        reason: 'the WAL is not archived yet: run setup_archiving.ts, then this again',
      },
    ]);
    const asked = planSchedule(defaults, { ...without, isIncrementalSet: true });
    expect(asked.jobs.map(({ name }) => name)).toContain('incremental');
  });

  it('refuses full backups of nothing', () => {
    const unnamed = { ...facts, namesDatabase: false };
    expect(() => planSchedule(defaults, unnamed)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        hint: expect.stringContaining('PGDATABASE=name'),
      }),
    );
    const off = { daily: 'off', weekly: 'off', monthly: 'off' };
    expect(planSchedule({ ...defaults, ...off }, unnamed).jobs).toHaveLength(2);
    expect(planSchedule({ ...defaults, all_databases: true }, unnamed).jobs).toHaveLength(5);
  });

  it('refuses fields that say no time, and names the setting', () => {
    expect(() => planSchedule({ ...defaults, weekly: '0 25 * * *' }, facts)).toThrow(
      'schedule.weekly is "0 25 * * *": the hour 25 is not within 0 to 23',
    );
  });
});
