import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { planSchedule } from '../../../src/core/schedule.ts';
import { type CronHost, renderCrontab } from '../../../src/schedule/render_cron.ts';

const template = readFileSync(join(import.meta.dirname, '../../../templates/crontab'), 'utf8');
const schedule = planSchedule(
  {
    daily: '0 2 * * *',
    weekly: 'off',
    monthly: 'off',
    incremental: 'off',
    monitor: '*/15 * * * *',
    all_databases: true,
    wait_minutes: 1,
    time_zone: null,
  },
  { isArchiving: false, isIncrementalSet: false, namesDatabase: false },
);
const host: CronHost = {
  scriptsDir: '/opt/holdfast/scripts',
  repository: '/srv/b',
  logMb: 10,
  path: null,
  settingsArgs: [],
  user: null,
};

describe('lines of a crontab', () => {
  it('can be read by people where the paths are plain', () => {
    expect(renderCrontab(schedule, host, template)).toBe(
      [
        '# BEGIN holdfast /srv/b',
        '# Made by setup_cron.ts of Holdfast: change the settings and run it again, not these lines.',
        '# Daily full backup',
        '0 2 * * * /opt/holdfast/scripts/run_job.sh --log /srv/b/logs/cron.log --log-mb 10 ' +
          'backup_full.ts --type daily --all --wait 60 --job daily',
        '# Monitor and alerts',
        '*/15 * * * * /opt/holdfast/scripts/run_job.sh --log /srv/b/logs/cron.log --log-mb 10 ' +
          'monitor_backups.ts alert --job monitor',
        '# END holdfast /srv/b',
        '',
      ].join('\n'),
    );
  });

  it('have a user in the crontab of a system, and nothing in them acts', () => {
    const nasty = {
      ...host,
      scriptsDir: '/opt/$(id) 5%/scripts',
      user: 'postgres',
      path: '/opt/pg 17/bin',
      settingsArgs: ['--env-file', "/etc/it's/.env", '@JOBS@'],
    };
    const [, , , line] = renderCrontab(schedule, nasty, template).split('\n');
    expect(line).toBe(
      "0 2 * * * postgres '/opt/$(id) 5'\\%'/scripts/run_job.sh' --path '/opt/pg 17/bin' " +
        '--log /srv/b/logs/cron.log --log-mb 10 backup_full.ts --type daily --all --wait 60 ' +
        "--job daily --env-file '/etc/it'\\''s/.env' @JOBS@",
    );
  });

  it.each([
    ['a line break in a path', { repository: '/srv/a\nb' }, 'cannot stand in a crontab'],
    ['a line that cron would cut', { repository: `/${'x'.repeat(990)}` }, 'and cron reads 990'],
  ])('refuse %s', (_, wrong, fact) => {
    expect(() => renderCrontab(schedule, { ...host, ...wrong }, template)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(fact),
      }),
    );
  });
});
