import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseEnvFile } from '../../../../src/config/env_file.ts';
import { loadConfig } from '../../../../src/config/load.ts';
import { Secret } from '../../../../src/core/secret.ts';
import {
  envFileLine,
  requireLastingSettings,
  settingsArguments,
} from '../../../../src/operations/schedule/lasting_settings.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-lasting-'));
});
afterEach(() => rm(folder, { recursive: true }));

interface Given {
  readonly shell?: Record<string, string>;
  readonly env?: string;
  readonly home?: string;
  readonly backupDir?: string;
}

/** Installs with this shell and this `.env`; the schedule runs with the home folder `/home/job`. */
async function install({ shell = {}, env = '', home = '/home/job', backupDir }: Given) {
  await writeFile(join(folder, '.env'), env);
  const config = await loadConfig({
    flags: { 'backup-dir': backupDir },
    cwd: '/',
    projectDir: folder,
    environment: { HOME: home, PATH: '/usr/bin', ...shell },
  });
  const places = { envFile: null, configFile: null, backupDir: backupDir ?? null };
  return requireLastingSettings(config, places, '/home/job');
}

describe('settings that a schedule would not have', () => {
  it('are refused with the lines to write, and no secret is told', async () => {
    const shell = {
      DB_HOST: 'db.example.com',
      PGPORT: '5433',
      PGPASSWORD: 's3cret-word',
      BACKUP_DIR: '/srv/back ups',
      MAX_BACKUP_AGE_HOURS: '30',
    };
    const refused = await install({ shell }).then(
      () => null,
      (error) => error,
    );
    expect(refused).toMatchObject({
      code: 'CONFIG_INVALID',
      message:
        'BACKUP_DIR and 4 more are set in this shell alone, and a schedule would run without',
    });
    expect(refused.hint.split('\n')).toEqual([
      `Write into ${folder}/.env:`,
      "  BACKUP_DIR='/srv/back ups'",
      '  DB_HOST=db.example.com',
      '  PGPORT=5433',
      '  PGPASSWORD=…',
      '  MAX_BACKUP_AGE_HOURS=30',
    ]);
    expect(JSON.stringify([refused.message, refused.hint, refused.details])).not.toContain(
      's3cret',
    );
  });

  it('are none where a file or a flag says the same', async () => {
    const shell = { PGHOST: 'db', PGPASSWORD: 'x', BACKUP_DIR: '/srv/b', TMPDIR: '/tmp/mine' };
    const env = 'PGHOST=db\nPGPASSWORD=x\n';
    await install({ shell, env, backupDir: '/srv/b' });
    await expect(install({ shell: { ...shell, PGPASSWORD: 'y' }, env })).rejects.toThrow(
      'BACKUP_DIR, PGPASSWORD are set in this shell alone',
    );
  });

  it('are none of a bucket where there is none', async () => {
    const shell = { AWS_CA_BUNDLE: '/etc/ssl/ca.crt' };
    await install({ shell });
    await expect(install({ shell, env: 'BACKUP_BUCKET=backups\n' })).rejects.toThrow(
      'AWS_CA_BUNDLE is set in this shell alone',
    );
  });

  it('are none where the shell repeats the default', async () => {
    await install({ shell: { MIN_DISK_SPACE_GB: '10', COMPRESSION: 'zstd' } });
  });

  it('are paths in a file that begin in another home folder', async () => {
    const env = 'BACKUP_DIR=~/backups\n';
    await install({ env });
    await expect(install({ env, home: '/root' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringMatching(
        /^BACKUP_DIR is \/root\/backups here, and would be \/home\/job\/backups /,
      ),
    });
  });
});

describe('a line of .env', () => {
  it('is read back as it was meant', () => {
    const text = fc.oneof(
      fc.string({ unit: 'grapheme', minLength: 1 }),
      fc.string({ unit: fc.constantFrom('a', ' ', "'", '"', '#', '$', '(', '\\', 'n', '%') }),
    );
    fc.assert(
      fc.property(text, (value) => {
        const line = envFileLine('NAME', value);
        if (line === 'NAME=…' && value !== '…') return;
        expect(parseEnvFile(`${line}\n`, '.env')).toEqual([{ name: 'NAME', value, line: 1 }]);
      }),
    );
    expect(envFileLine('A', "it's 5% #1")).toBe('A="it\'s 5% #1"');
    expect(envFileLine('A', 'two\nlines')).toBe('A=…');
    expect(envFileLine('A', new Secret('x'))).toBe('A=…');
    expect(envFileLine('A', 10)).toBe('A=10');
  });
});

it('carries on where the settings were found', () => {
  const none = { envFile: null, configFile: null, backupDir: null };
  expect(settingsArguments(none)).toEqual([]);
  expect(settingsArguments({ ...none, envFile: '/a b/.env', backupDir: '/r' })).toEqual([
    '--env-file',
    '/a b/.env',
    '--backup-dir',
    '/r',
  ]);
});
