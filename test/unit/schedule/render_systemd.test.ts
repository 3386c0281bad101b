import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { planSchedule, type ScheduleSettings } from '../../../src/core/schedule.ts';
import { readTemplate } from '../../../src/operations/template.ts';
import { defaultSchedule } from '../../../src/schedule/default_schedule.ts';
import {
  renderSystemd,
  type UnitHost,
  unitHeader,
  usualUnitHost,
} from '../../../src/schedule/render_systemd.ts';

const checkout = join(import.meta.dirname, '../../..');

/** The units of a machine, by their names. */
function render(host: Partial<UnitHost> = {}, schedule = defaultSchedule()) {
  const files = renderSystemd(schedule, { ...usualUnitHost, ...host }, readTemplate);
  return new Map(files.map(({ name, text }) => [name, text]));
}

/** The values of one setting of a unit, in the order of its lines. */
function values(text: string | undefined, name: string): string[] {
  const lines = (text ?? '').split('\n').filter((line) => line.startsWith(`${name}=`));
  return lines.map((line) => line.slice(name.length + 1));
}

const services = [...render()].filter(([name]) => name.endsWith('.service'));

const settings: ScheduleSettings = {
  daily: '30 1 * * 1-5',
  weekly: 'off',
  monthly: '0 4 13 * 5',
  incremental: 'off',
  monitor: '*/15 * * * *',
  all_databases: true,
  wait_minutes: 360,
  time_zone: 'Europe/Berlin',
};
const facts = { isArchiving: false, isIncrementalSet: false, namesDatabase: false };

describe('the units of the defaults', () => {
  it('are those in systemd/', () => {
    for (const [name, text] of render()) {
      expect(readFileSync(join(checkout, 'systemd', name), 'utf8')).toBe(text);
    }
  });

  it('are a service and a timer for each job, the helper, and who tells of a killed run', () => {
    const jobs = ['daily', 'weekly', 'monthly', 'incremental', 'monitor'];
    expect([...render().keys()].toSorted()).toEqual(
      [
        ...jobs.flatMap((job) => [`holdfast-${job}.service`, `holdfast-${job}.timer`]),
        'holdfast-wal-ship.service',
        'holdfast-alert@.service',
      ].toSorted(),
    );
  });

  it('begin with the line that tells ours from others, and have no placeholder left', () => {
    for (const text of render().values()) {
      expect(text.startsWith(`${unitHeader}\n`)).toBe(true);
      expect(text).not.toMatch(/@[A-Z_]+@/);
      expect(text).not.toMatch(/\n\n\n/);
    }
  });

  it.each(services)('%s runs as the owner, and writes into the repository alone', (_, text) => {
    expect(values(text, 'User')).toEqual(['postgres']);
    expect(values(text, 'ProtectSystem')).toEqual(['strict']);
    expect(values(text, 'ReadWritePaths')).toEqual(['-/var/backups/holdfast']);
    expect(values(text, 'NoNewPrivileges')).toEqual(['yes']);
    expect(values(text, 'CapabilityBoundingSet')).toEqual(['']);
    expect(values(text, 'MemoryMax')).toEqual(['50%']);
    // Shared memory of PostgreSQL, which runs as the same user.
    expect(values(text, 'RemoveIPC')).toEqual([]);
  });

  it('take statuses 1 to 3 of the monitor alone for no failure', () => {
    for (const [name, text] of services) {
      const expected = name === 'holdfast-monitor.service' ? ['1 2 3'] : [];
      expect(values(text, 'SuccessExitStatus')).toEqual(expected);
    }
  });

  it('let the monitor run where the repository is not mounted, and no other job', () => {
    for (const [name, text] of services) {
      const goes = /alert|monitor/.test(name);
      expect(values(text, 'RequiresMountsFor')).toEqual(goes ? [] : ['/var/backups/holdfast']);
    }
  });

  it('catch up with what was missed, and tell of what was killed', () => {
    const units = render();
    for (const job of ['daily', 'weekly', 'monthly', 'incremental', 'monitor']) {
      expect(values(units.get(`holdfast-${job}.timer`), 'Persistent')).toEqual(['true']);
      const failure = values(units.get(`holdfast-${job}.service`), 'OnFailure');
      expect(failure).toEqual([`holdfast-alert@${job}.service`]);
    }
    expect(units.get('holdfast-alert@.service')).toContain(' --job-failed %i\n');
    expect(values(units.get('holdfast-alert@.service'), 'OnFailure')).toEqual([]);
  });
});

describe('what the settings ask for', () => {
  const units = render({}, planSchedule(settings, facts));

  it('is all there is', () => {
    expect([...units.keys()].some((name) => /weekly|incremental/.test(name))).toBe(false);
    expect(render({ isShipping: false }).has('holdfast-wal-ship.service')).toBe(false);
  });

  it('is said in the time zone that is set', () => {
    const times = values(units.get('holdfast-daily.timer'), 'OnCalendar');
    expect(times).toEqual(['Mon,Tue,Wed,Thu,Fri *-*-* 01:30:00 Europe/Berlin']);
  });

  it('is said in two times where a day or a weekday is enough', () => {
    expect(values(units.get('holdfast-monthly.timer'), 'OnCalendar')).toHaveLength(2);
  });
});

describe('nasty names', () => {
  const path = `/srv/100% "sure" $(touch /tmp/x) $\{HOME} it's`;

  it('stand quoted by the rules of each setting', () => {
    const unit = render({
      scriptsDir: path,
      backupDir: path,
      writable: [path],
      settingsArgs: ['--backup-dir', path],
    }).get('holdfast-daily.service');
    const quoted = `/srv/100%% \\"sure\\" $(touch /tmp/x) $\{HOME} it's`;
    expect(values(unit, 'RequiresMountsFor')).toEqual([`"${quoted}"`]);
    expect(values(unit, 'ReadWritePaths')).toEqual([`"-${quoted}"`]);
    const argument = quoted.replaceAll('$', '$$$$');
    const [command = ''] = values(unit, 'ExecStart');
    expect(command).toContain(` -- "${argument}/backup_full.ts" --type daily `);
    expect(command.endsWith(` --backup-dir "${argument}"`)).toBe(true);
  });

  it('with a line break are refused', () => {
    expect(() => render({ backupDir: '/srv/a\nExecStartPre=/bin/evil' })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID' }),
    );
  });
});

describe('a file that the user of the services may not read', () => {
  const path = '/etc/hold fast/100%.env';
  const units = render({ settingsArgs: ['--env-file', { id: 'env', path }] });

  it('is handed over by systemd', () => {
    for (const [name, text] of units) {
      if (name.endsWith('.timer')) continue;
      expect(values(text, 'LoadCredential')).toEqual(['env:/etc/hold fast/100%%.env']);
      expect(values(text, 'ExecStart')[0]).toContain(` --env-file $\{CREDENTIALS_DIRECTORY}/env`);
    }
  });
});

describe('what lies elsewhere', () => {
  it('in a home folder, can be read there', () => {
    const unit = render({ needsHomes: true }).get('holdfast-daily.service');
    expect(values(unit, 'ProtectHome')).toEqual(['read-only']);
  });

  it('in /tmp, needs the one that all share', () => {
    const unit = render({ needsTmp: true }).get('holdfast-daily.service');
    expect(values(unit, 'PrivateTmp')).toEqual(['no']);
    expect(values(unit, 'ReadWritePaths')).toEqual([
      '-/var/backups/holdfast',
      '-/tmp',
      '-/var/tmp',
    ]);
  });
});

describe('the manager of a user, which has no privileges', () => {
  const units = render({ user: null });

  it('is asked for nothing that needs them', () => {
    for (const text of units.values()) {
      expect(text).not.toMatch(/^(?:User|Protect\w+|Private\w+|ReadWritePaths|Capability\w+)=/m);
    }
  });

  it('starts the helper at its own start', () => {
    const unit = units.get('holdfast-wal-ship.service');
    expect(values(unit, 'WantedBy')).toEqual(['default.target']);
    expect(values(unit, 'NoNewPrivileges')).toEqual(['yes']);
  });
});
