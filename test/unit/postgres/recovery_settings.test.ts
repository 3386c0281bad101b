import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import { parseTarget } from '../../../src/core/recovery_target.ts';
import {
  minimalConfiguration,
  raisedLimits,
  recoverySettings,
} from '../../../src/postgres/recovery_settings.ts';
import { settingLines } from '../../../src/postgres/setting_lines.ts';

const choice = {
  target: parseTarget({ name: "it's \\ $(id)" }),
  isInclusive: false,
  major: 15,
  timeline: null,
  action: 'promote',
  restoreCommand: "'/srv/a b/wal_fetch' %f %p",
  recoveryEndCommand: null,
} as const;

describe('the settings of a recovery', () => {
  it('quote whatever a name or a path holds, and switch archiving off', () => {
    const lines = recoverySettings(choice).split('\n');
    expect(lines).toContain("archive_mode = 'off'");
    expect(lines).toContain("restore_command = '''/srv/a b/wal_fetch'' %f %p'");
    expect(lines).toContain("recovery_target_name = 'it''s \\\\ $(id)'");
    expect(lines).toContain("recovery_target_inclusive = 'off'");
    expect(lines).toContain("recovery_target_timeline = 'current'");
    // One that is set to nothing behind the target would be a second one to the server.
    const targets = lines.filter((line) =>
      /^recovery_target(?:_(?:time|xid|lsn|name))? /.test(line),
    );
    expect(targets.slice(0, -1).every((line) => line.endsWith(" = ''"))).toBe(true);
    expect(targets.at(-1)).toContain('recovery_target_name');
    expect(lines).toContain("promote_trigger_file = ''");
    expect(recoverySettings({ ...choice, major: 16 })).not.toContain('promote_trigger_file');
  });

  it.each([
    [
      { time: '2026-11-21 10:42:00.5+01' },
      "recovery_target_time = '2026-11-21 09:42:00.500000+00'",
    ],
    [{ lsn: '16/b374d848' }, "recovery_target_lsn = '16/B374D848'"],
    [{ xid: '731' }, "recovery_target_xid = '731'"],
    [{ immediate: true }, "recovery_target = 'immediate'"],
  ])('name the target %o', (texts, line) => {
    const settings = recoverySettings({ ...choice, target: parseTarget(texts), timeline: 3 });
    expect(settings.split('\n')).toContain(line);
    expect(settings).toContain("recovery_target_timeline = '3'");
  });

  it('refuse a line break: it would begin another setting', () => {
    for (const value of ["a'\nfsync = 'off", 'a\rb', 'a\0b']) {
      expect(() => settingLines({ restore_command: value })).toThrow(HoldfastError);
    }
  });
});

describe('the minimal configuration', () => {
  const output = [
    'wal_level setting:                    replica',
    'max_connections setting:              250',
    'max_worker_processes setting:         9',
    'max_wal_senders setting:              11',
    'max_prepared_xacts setting:           5',
    'max_locks_per_xact setting:           64',
  ].join('\n');

  it('has the limits of the original', () => {
    const text = minimalConfiguration(output, 'pause');
    expect(text).toContain("max_connections = '250'\n");
    expect(text).toContain("max_prepared_transactions = '5'\nmax_locks_per_transaction = '64'\n");
    expect(text).toContain("hot_standby = 'on'");
    expect(minimalConfiguration(output, 'promote')).toContain("hot_standby = 'off'");
  });

  it('gives another one the limits that it sets lower', () => {
    const settings = new Map([
      ['max_connections', '300'],
      ['max_wal_senders', '4'],
    ]);
    expect(raisedLimits(output, settings)).toEqual({
      max_worker_processes: '9',
      max_wal_senders: '11',
      max_prepared_transactions: '5',
    });
  });

  it('is not made of half of them', () => {
    expect(() => minimalConfiguration(output.replace('max_wal_senders', 'x'), 'pause')).toThrow(
      'max_wal_senders setting',
    );
  });
});
