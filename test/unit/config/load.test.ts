import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Config, type LoadInput, loadConfig } from '../../../src/config/load.ts';
import { HoldfastError } from '../../../src/core/errors.ts';
import { Secret } from '../../../src/core/secret.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-config-'));
});
afterEach(() => rm(folder, { recursive: true }));

interface Given extends Partial<LoadInput> {
  readonly env?: string;
  readonly yaml?: string;
}

async function load({ env, yaml, ...input }: Given = {}): Promise<Config> {
  const write = async (name: string, text: string) => {
    await writeFile(join(folder, name), text);
    await chmod(join(folder, name), 0o600);
  };
  if (env !== undefined) await write('.env', env);
  if (yaml !== undefined) await write('holdfast.yaml', yaml);
  const environment = { HOME: '/home/ada', ...input.environment };
  return loadConfig({ flags: {}, cwd: '/work-dir', projectDir: folder, ...input, environment });
}

async function refusal(given: Given): Promise<HoldfastError> {
  try {
    await load(given);
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('which value counts', () => {
  it('has a default for everything', async () => {
    const { settings, sources, warnings } = await load();
    expect(settings.backup_dir).toBe(join(folder, 'backups'));
    expect(settings).toMatchObject({
      cluster: null,
      compression: 'zstd',
      compression_level: 3,
      min_disk_space_gb: 10,
      restore_jobs: 1,
      log_keep_days: 30,
      log_max_mb: 10,
      databases: {},
    });
    expect(settings.threads).toBeGreaterThanOrEqual(1);
    expect(settings.connection).toMatchObject({ host: null, port: null, connect_timeout: 10 });
    expect(sources.get('compression')).toEqual({ origin: 'default', name: 'compression' });
    expect(warnings).toEqual([]);
  });

  it('takes flags before the environment before .env before holdfast.yaml', async () => {
    const yaml = 'threads: 4\n';
    const env = 'THREADS=3\n';
    const environment = { THREADS: '2' };
    const flags = { threads: '1' };
    expect((await load({ yaml })).settings.threads).toBe(4);
    expect((await load({ yaml, env })).settings.threads).toBe(3);
    expect((await load({ yaml, env, environment })).settings.threads).toBe(2);
    expect((await load({ yaml, env, environment, flags })).settings.threads).toBe(1);
    const { settings } = await load({ yaml, env, environment: { THREADS: '' } });
    expect(settings.threads).toBe(3);
  });

  it("prefers libpq's variables to DB_HOST in the same place, and any to a weaker place", async () => {
    const environment = { DB_HOST: 'web', PGHOST: 'libpq', DB_PORT: '6432' };
    const { settings, sources } = await load({ environment, env: 'PGPORT=1\n' });
    expect(settings.connection).toMatchObject({ host: 'libpq', port: '6432' });
    expect(sources.get('connection.port')).toEqual({ origin: 'environment', name: 'DB_PORT' });
  });

  it('takes relative paths from the file or the current folder', async () => {
    await mkdir(join(folder, 'etc'));
    await writeFile(join(folder, 'etc', 'h.yaml'), 'backup_dir: b\ntemp_dir: ~/t\n');
    const given = { configFile: join(folder, 'etc', 'h.yaml') };
    const { settings } = await load(given);
    expect(settings.backup_dir).toBe(join(folder, 'etc', 'b'));
    expect(settings.temp_dir).toBe('/home/ada/t');
    expect((await load({ ...given, flags: { 'backup-dir': 'b' } })).settings.backup_dir).toBe(
      '/work-dir/b',
    );
    const system = await load({ environment: { PGSSLROOTCERT: 'system' } });
    expect(system.settings.connection.sslrootcert).toBe('system');
  });

  it('reads databases as names, URLs and connections', async () => {
    const list = await load({ yaml: 'databases: [a, "b c"]\n' });
    expect(list.settings.databases).toEqual({ a: {}, 'b c': {} });
    const { settings, sources } = await load({
      yaml: 'databases:\n  t: postgresql://x/t\n  u: { host: h, port: 5433, password: s }\n  v:\n',
    });
    expect(Object.keys(settings.databases)).toEqual(['t', 'u', 'v']);
    expect(settings.databases.t?.url?.reveal()).toBe('postgresql://x/t');
    expect(settings.databases.u).toMatchObject({ host: 'h', port: '5433' });
    expect(sources.get('databases.u.port')).toMatchObject({ line: 3, name: 'databases.u.port' });
  });
});

describe('secrets', () => {
  it('never print, and no PG variable or secret reaches a child by itself', async () => {
    const environment = {
      PGPASSWORD: 'hunter2',
      DATABASE_URL: 'postgresql://u:hunter2@h/d',
      AWS_SECRET_ACCESS_KEY: 'hunter2',
      PATH: '/bin',
      LC_ALL: 'C',
    };
    const config = await load({ environment });
    expect(config.settings.connection.password).toBeInstanceOf(Secret);
    expect(JSON.stringify(config) + inspect(config, { depth: 9 })).not.toContain('hunter2');
    expect(config.environment).toEqual({ HOME: '/home/ada', PATH: '/bin', LC_ALL: 'C' });
  });

  it('in a file that others can read earn a warning', async () => {
    await load({ env: 'PGPASSWORD=x\n' });
    await chmod(join(folder, '.env'), 0o644);
    const config = await loadConfig({ flags: {}, cwd: '/', projectDir: folder, environment: {} });
    expect(config.warnings).toEqual([expect.stringContaining('chmod 600')]);
    await writeFile(join(folder, '.env'), 'THREADS=1\n');
    const plain = await loadConfig({ flags: {}, cwd: '/', projectDir: folder, environment: {} });
    expect(plain.warnings).toEqual([]);
  });

  it('are not shown when they are refused', async () => {
    const error = await refusal({ yaml: 'connection:\n  password: [hunter2]\n' });
    expect(`${error.message} ${error.hint}`).not.toContain('hunter2');
    const wrongType = await refusal({ yaml: 'connection:\n  password: true\n' });
    expect(wrongType.message).toContain('the value is not');
  });
});

describe('what is refused', () => {
  it.each<[string, Given, string, RegExp, RegExp]>([
    [
      'a key',
      { yaml: 'compresion: zstd\n' },
      'CONFIG_UNKNOWN_KEY',
      /line 1: .*"compresion"/,
      /compression\?/,
    ],
    [
      'a nested key',
      { yaml: 'databases:\n  x:\n    prot: 1\n' },
      'CONFIG_UNKNOWN_KEY',
      /line 3: .*"databases\.x\.prot"/,
      /databases\.x\.port\?/,
    ],
    [
      'a name in .env',
      { env: '\nBACKUPDIR=/x\n' },
      'CONFIG_UNKNOWN_KEY',
      /\.env line 2: .*BACKUPDIR/,
      /BACKUP_DIR\?/,
    ],
    [
      'a choice',
      { environment: { COMPRESSION: 'lzma' } },
      'CONFIG_INVALID',
      /environment variable COMPRESSION: "lzma" is not one of zstd, gzip, none/,
      /./,
    ],
    [
      'a flag',
      { flags: { jobs: 'many' } },
      'CONFIG_INVALID',
      /flag --jobs: "many" is not a whole number from 1 to 256/,
      /./,
    ],
    [
      'a port',
      { yaml: 'databases:\n  x: { port: 70000 }\n' },
      'CONFIG_INVALID',
      /holdfast\.yaml line 2 \(databases\.x\.port\): 70000 is not a port/,
      /./,
    ],
    [
      'a line of .env',
      { env: 'A_B=1\nTHREADS=0\n'.slice(6) },
      'CONFIG_INVALID',
      /\.env line 1 \(THREADS\): "0" is not/,
      /./,
    ],
    [
      'a level',
      { flags: { 'compression-level': '12', compression: 'gzip' } },
      'CONFIG_INVALID',
      /flag --compression-level: 12 is not a level of gzip, which takes 1 to 9/,
      /./,
    ],
    [
      'a level of no compression',
      { flags: { compression: 'none', 'compression-level': '5' } },
      'CONFIG_INVALID',
      /flag --compression-level: a level of 5 means nothing without compression/,
      /./,
    ],
    [
      'a level as a flag where the file says none',
      { yaml: 'compression: none\n', flags: { 'compression-level': '5' } },
      'CONFIG_INVALID',
      /flag --compression-level: a level of 5 means nothing/,
      /./,
    ],
    ['bad YAML', { yaml: 'a: [1\nb: 2\n' }, 'CONFIG_UNREADABLE', /holdfast\.yaml line \d/, /./],
    ['a key twice', { yaml: 'threads: 1\nthreads: 2\n' }, 'CONFIG_UNREADABLE', /unique/i, /./],
    ['a list as the file', { yaml: '- a\n' }, 'CONFIG_INVALID', /not a mapping/, /./],
    [
      'an empty flag',
      { flags: { 'backup-dir': '' } },
      'CONFIG_INVALID',
      /flag --backup-dir: "" is not/,
      /./,
    ],
    [
      'a missing file',
      { configFile: 'none.yaml' },
      'CONFIG_UNREADABLE',
      /\/work-dir\/none\.yaml: there is no such file/,
      /./,
    ],
    [
      'a missing .env',
      { envFile: '/none/.env' },
      'CONFIG_UNREADABLE',
      /there is no such file/,
      /./,
    ],
  ])('%s', async (_what, given, code, message, hint) => {
    const error = await refusal(given);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(hint);
  });

  it("but libpq's other variables are known; those that ask for protection earn a warning", async () => {
    const config = await load({ env: 'PGTZ=UTC\n', environment: { PGREQUIREPEER: 'postgres' } });
    expect(config.warnings).toEqual(['PGREQUIREPEER is not supported and has no effect']);
  });
});
