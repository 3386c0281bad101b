import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runCommand } from '../../support/command.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-systemd-'));
});
afterEach(() => rm(folder, { recursive: true }));

interface Given {
  readonly argv: readonly string[];
  readonly env?: readonly string[];
  readonly shell?: Readonly<Record<string, string>>;
}

/** Runs the command as the user of this test, for a repository in a folder of its own. */
async function setup({ argv, env = ['PGDATABASE=app'], shell = {} }: Given) {
  const file = join(folder, 'settings.env');
  await writeFile(file, `${env.join('\n')}\n`, { mode: 0o600 });
  const { username } = userInfo();
  const own = ['--env-file', file, '--backup-dir', join(folder, 'backups'), '--run-as', username];
  return runCommand('setup_systemd', [...argv, ...own], { environment: shell });
}

/** The units that `print` shows. */
async function print(given: Omit<Given, 'argv'> = {}): Promise<Record<string, string>> {
  const { status, stdout, stderr } = await setup({ ...given, argv: ['print', '--json'] });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout).units;
}

describe('setup_systemd.ts print', () => {
  it('shows the units for this user and these settings', async () => {
    const units = await print({ env: ['PGDATABASE=app', 'SCHEDULE_MONTHLY=off'] });
    expect(Object.keys(units).toSorted()).toEqual([
      'holdfast-alert@.service',
      'holdfast-daily.service',
      'holdfast-daily.timer',
      'holdfast-monitor.service',
      'holdfast-monitor.timer',
      'holdfast-weekly.service',
      'holdfast-weekly.timer',
    ]);
    const daily = units['holdfast-daily.service'];
    expect(daily).toContain(`\nUser=${userInfo().username}\n`);
    expect(daily).toContain(` --env-file ${join(folder, 'settings.env')}\n`);
    expect(daily).toContain(`\nReadWritePaths=-${join(folder, 'backups')}\n`);
    expect(units['holdfast-monitor.service']).toContain(' --backup-dir ');
  });

  it('prints them one after the other for people, and begins no repository', async () => {
    const { stdout } = await setup({ argv: ['print'] });
    expect(await readdir(folder)).toEqual(['settings.env']);
    expect(stdout).toContain('### holdfast-daily.timer\n# Made by setup_systemd.ts');
  });

  it('lets the services write where the settings say that something is written', async () => {
    const [copies, metrics, scratch] = ['copies', 'metrics', 'scratch'].map((name) =>
      join(folder, name),
    );
    await writeFile(join(folder, 'h.yaml'), `stores:\n  disk:\n    path: ${copies}\n`);
    const env = [
      'PGDATABASE=app',
      `PROMETHEUS_FILE=${metrics}/holdfast.prom`,
      `TMPDIR=${scratch}`,
      'BACKUP_ENCRYPTION=gpg',
      'GPG_RECIPIENTS=ops@example.com',
      `GPG_HOME=${folder}/gnupg`,
    ];
    const given = { argv: ['print', '--json', '--config', join(folder, 'h.yaml')], env };
    const { status, stdout, stderr } = await setup(given);
    expect(status, stderr).toBe(0);
    const unit: string = JSON.parse(stdout).units['holdfast-daily.service'];
    for (const path of [copies, metrics, scratch, `${folder}/gnupg`]) {
      expect(unit).toContain(`\nReadWritePaths=-${path}\n`);
    }
  });

  it('brings the helper of the archiver and the hourly job where archiving is set up', async () => {
    const hooks = join(folder, 'backups/hooks/main');
    expect(await print()).not.toHaveProperty('holdfast-wal-ship.service');
    await mkdir(hooks, { recursive: true });
    await writeFile(join(hooks, 'wal_push'), '');
    const units = await print();
    expect(units).toHaveProperty('holdfast-wal-ship.service');
    expect(units).toHaveProperty('holdfast-incremental.timer');
  });

  it('leaves the limits out that the manager of a user cannot hold', async () => {
    const { stdout } = await setup({ argv: ['print', '--user'] });
    expect(stdout).not.toContain('ProtectSystem=');
    expect(stdout).toContain('systemctl --user edit holdfast-daily.service');
  });
});

describe('setup_systemd.ts refuses', () => {
  it('settings that only this shell has', async () => {
    const shell = { PGUSER: 'backup', PGPASSWORD: 'hush' };
    const { status, stderr } = await setup({ argv: ['print'], shell });
    expect(status).toBe(2);
    expect(stderr).toContain('PGUSER=backup');
    expect(stderr).not.toContain('hush');
  });

  it('a schedule that would not know which database is meant', async () => {
    const { status, stderr } = await setup({ argv: ['print'], env: [] });
    expect(status).toBe(2);
    expect(stderr).toContain('SCHEDULE_ALL_DATABASES=true');
  });

  it.each([[['start']], [['print', 'status']]])('the words %j', async (argv) => {
    const { status, stderr } = await setup({ argv });
    expect(status).toBe(2);
    expect(stderr).toContain('install, status, list, uninstall, print');
  });
});
