import { describe, expect, it } from 'vitest';
import { fitConfig, settingsForMachine } from '../../../src/postgres/fit_config.ts';

const nobody = { isReadable: () => false, isWritable: () => false };
const everybody = { isReadable: () => true, isWritable: () => true };

describe('the configuration of an original', () => {
  it('loses what names the folders of the original, and what it recovered to', () => {
    const main = [
      "data_directory = '/var/lib/postgresql/15/main'",
      "hba_file = '/etc/postgresql/15/main/pg_hba.conf'",
      "external_pid_file = '/run/x.pid'",
      "recovery_target_xid = '5'",
      'work_mem = 8MB # kept',
    ].join('\n');
    const fitted = fitConfig({ main, included: [], ...nobody });
    expect(fitted.main.split('\n').map((line) => line.startsWith('# restore_pitr.ts: '))).toEqual([
      true,
      true,
      true,
      true,
      false,
    ]);
    expect(fitted.notes).toHaveLength(4);
    expect(fitted.settings).toEqual(new Map([['work_mem', '8MB']]));
  });

  it('includes what was saved, in the order of the server, and nothing else', () => {
    const file = (path: string, text: string) => ({
      path,
      place: `holdfast_config/config_${path.replaceAll(/[./]/g, '_')}`,
      text,
    });
    const included = [
      file('conf.d/b.conf', "include '../more.conf'\nport = 2"),
      file('conf.d/a.conf', 'port = 1'),
      file('../shared/all.conf', "include 'all.conf'\nwork_mem = '1MB'"),
      file('more.conf', 'port = 3'),
      file('lost.conf', 'port = 4'),
    ];
    const main = [
      "include_dir = 'conf.d'",
      "include '/etc/postgresql/shared/all.conf'",
      "include_if_exists 'gone.conf'",
      "include 'inside.conf'",
    ].join('\n');
    const fitted = fitConfig({ main, included, isReadable: (path) => path === 'inside.conf' });
    expect(fitted.main.split('\n')).toEqual([
      "include 'holdfast_config/config_conf_d_a_conf'",
      "include 'holdfast_config/config_conf_d_b_conf'",
      "include 'holdfast_config/config____shared_all_conf'",
      "# restore_pitr.ts: include_if_exists 'gone.conf'",
      "include 'inside.conf'",
    ]);
    expect(fitted.included.get('holdfast_config/config_conf_d_b_conf')).toBe(
      "include 'config_more_conf'\nport = 2",
    );
    expect(fitted.settings.get('port')).toBe('2');
    expect(fitted.notes.join('\n')).toContain('"lost.conf" is included by no file');
  });
});

describe('a machine that lacks what a configuration names', () => {
  const settings = new Map([
    ['ssl', 'on'],
    ['ssl_cert_file', '/etc/ssl/x.pem'],
    ['log_directory', '/var/log/postgresql'],
    ['unix_socket_directories', '/run/postgresql, @abstract'],
  ]);

  it('gets settings that go without it, and says so', () => {
    const changed = settingsForMachine(settings, nobody);
    expect(changed.settings).toEqual({
      ssl: 'off',
      log_directory: 'log',
      unix_socket_directories: '/tmp',
    });
    expect(changed.notes).toHaveLength(3);
  });

  it('keeps what it has', () => {
    expect(settingsForMachine(settings, everybody)).toEqual({ settings: {}, notes: [] });
    expect(settingsForMachine(new Map(), nobody)).toEqual({ settings: {}, notes: [] });
  });
});
