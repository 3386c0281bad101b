/** scripts/backup_full.ts on a real server: what it leaves in the repository, and what it says. */

import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../src/core/errors.ts';
import { parseManifest } from '../../src/core/manifest_codec.ts';
import { startTestCluster, type TestCluster, testEnvironment } from '../support/cluster.ts';
import { jsonOf, openWorkbench, quoted, type Workbench } from '../support/workbench.ts';

const execute = promisify(execFile);
const password = 'pass:w"ord $(id) é';
const odd = 'odd "name"\n$(id)/..';

let cluster: TestCluster;
let bench: Workbench;
/** libpq's variables for TCP, where the server wants a password. */
let tcp: Record<string, string>;

beforeAll(async () => {
  cluster = await startTestCluster({ tcp: true });
  bench = await openWorkbench(cluster);
  tcp = { PGHOST: '127.0.0.1', PGUSER: 'backup' };
  await cluster.sql([
    'CREATE DATABASE mastertrade',
    `CREATE DATABASE ${quoted(odd)}`,
    'CREATE DATABASE "mastertrade__before_20260101T000000Z"',
    `CREATE ROLE backup LOGIN PASSWORD '${password}'`,
  ]);
  await cluster.sql(
    [
      'CREATE TABLE trades (id serial PRIMARY KEY, what text)',
      'INSERT INTO trades (what) SELECT md5(n::text) FROM generate_series(1, 5000) AS n',
      'CREATE TABLE locked (id int)',
      'GRANT SELECT ON ALL TABLES IN SCHEMA public TO backup',
      'GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO backup',
    ],
    'mastertrade',
  );
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

interface BackupJson {
  databases: { database: string; folder: string }[];
}

async function logText(): Promise<string> {
  const folder = join(bench.repository, 'logs');
  const texts = (await readdir(folder)).map((name) => readFile(join(folder, name), 'utf8'));
  return (await Promise.all(texts)).join('');
}

describe('a backup', () => {
  it('is a folder of files that sha256sum verifies, with the manifest of what is in it', async () => {
    const { label, folder, manifest, outcome } = await bench.backUp('mastertrade');
    expect(label).toMatch(/^\d{8}T\d{6}Z-daily-[a-z0-9]{4}$/);
    const [server] = await cluster.sql(
      'SELECT system_identifier::text AS id FROM pg_control_system()',
    );
    const identifier = server?.id;
    const key = `full/${identifier}/mastertrade/${label}`;
    expect(folder).toBe(join(bench.repository, key));

    const check = await execute('sha256sum', ['--check', 'SHA256SUMS'], { cwd: folder });
    expect(check.stdout.trim().split('\n').toSorted()).toEqual(
      ['database.dump.zst', 'globals.sql.zst', 'manifest.json', 'restore.sh'].map(
        (name) => `${name}: OK`,
      ),
    );
    expect((await stat(folder)).mode & 0o077).toBe(0);

    const bytes = await readFile(join(folder, 'manifest.json'));
    expect(parseManifest(bytes)).toMatchObject({
      format: 1,
      label,
      kind: 'full',
      tier: 'daily',
      database: 'mastertrade',
      cluster: identifier,
      server: { system_identifier: identifier, in_recovery: false },
      tables: expect.arrayContaining([expect.objectContaining({ name: 'trades', rows: 5000 })]),
      warnings: [],
      read_back: { depth: 'stored' },
    });
    expect(bytes.toString()).not.toContain(bench.folder);

    expect(jsonOf(outcome)).toEqual({
      exit_status: 0,
      databases: [
        expect.objectContaining({
          status: 'ok',
          database: 'mastertrade',
          folder: key,
          tables: 2,
          rows: 5000,
          read_back: 'stored',
          stored_bytes: manifest.files.reduce((sum, { stored }) => sum + stored.bytes, 0),
        }),
      ],
    });
    const status = JSON.parse(await readFile(join(bench.repository, 'status.json'), 'utf8'));
    expect(status.databases).toEqual([
      expect.objectContaining({
        database: 'mastertrade',
        last_run: expect.objectContaining({ status: 'ok', exit_status: 0, label }),
        last_success: expect.objectContaining({ label }),
      }),
    ]);
  });

  it('lies where its cluster, its database and its tier say', async () => {
    const flags = ['--type', 'monthly', '--verify'];
    const { label, folder, manifest } = await bench.backUp(odd, flags, { CLUSTER: 'main/é' });
    const encoded = 'odd%20%22name%22%0A%24%28id%29%2F..';
    expect(folder).toBe(join(bench.repository, `full/main%2F%C3%A9/${encoded}/${label}`));
    expect(manifest).toMatchObject({ tier: 'monthly', database: odd, cluster: 'main/é' });
    expect(manifest.read_back.depth).toBe('plain');
  });

  it('sorts after the one before it, also when that is not a second old', async () => {
    const labels: string[] = [];
    for (const tier of ['weekly', 'monthly', 'manual', 'daily']) {
      labels.push((await bench.backUp('mastertrade', ['--type', tier])).label);
    }
    expect(labels.toSorted()).toEqual(labels);
    const latest = await bench.run('restore_backup', [
      '--latest',
      'mastertrade',
      '--verify-only',
      '--json',
    ]);
    expect(jsonOf(latest)).toMatchObject({ backup: labels.at(-1) });
  });

  it('needs no zstd program: Node brings its own', async () => {
    const { folder } = await bench.backUp('mastertrade', [], { PATH: '/nonexistent' });
    const dump = zstdDecompressSync(await readFile(join(folder, 'database.dump.zst')));
    expect(dump.subarray(0, 5).toString()).toBe('PGDMP');
  });

  it('restores with the script beside it and no Holdfast', async () => {
    const { folder } = await bench.backUp('mastertrade');
    const options = { env: { ...testEnvironment, ...cluster.environment() }, cwd: '/' };
    await execute('sh', [join(folder, 'restore.sh'), 'by hand'], options);
    const rows = await cluster.sql('SELECT count(*)::int AS rows FROM trades', 'by hand');
    expect(rows).toEqual([{ rows: 5000 }]);
    await cluster.sql('DROP DATABASE "by hand"');
  });

  it('says that space is short, and is taken all the same', async () => {
    const { manifest } = await bench.backUp('mastertrade', [], { MIN_DISK_SPACE_GB: '900000' });
    expect(manifest.warnings).toEqual([
      { code: 'little-space', message: expect.stringContaining('MIN_DISK_SPACE_GB') },
    ]);
  });

  it('--test takes none, and leaves nothing behind', async () => {
    const before = await bench.run('list_backups', ['--json']);
    const outcome = await bench.run('backup_full', ['mastertrade', '--test', '--json']);
    expect(outcome.status).toBe(0);
    expect(outcome.stderr).toContain('mastertrade: a backup can be taken');
    expect(jsonOf<BackupJson>(outcome).databases).toEqual([
      expect.objectContaining({ status: 'ok', pg_dump: expect.stringContaining('pg_dump') }),
    ]);
    const after = await bench.run('list_backups', ['--json']);
    expect(jsonOf(after)).toEqual(jsonOf(before));
    const left = await readdir(join(bench.repository, 'state'));
    expect(left.filter((name) => name.includes('probe'))).toEqual([]);
  });
});

describe('which databases', () => {
  const databasesOf = (json: BackupJson) => json.databases.map(({ database }) => database);

  it('--all takes every one but what restores have left', async () => {
    const outcome = await bench.run('backup_full', ['--all', '--json']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(databasesOf(jsonOf(outcome)).toSorted()).toEqual(['mastertrade', odd, 'postgres']);
  });

  it('one that is not there does not keep the others from their turn', async () => {
    const argv = ['mastertrade', 'mastertrad', 'postgres', '--json'];
    const outcome = await bench.run('backup_full', argv);
    expect(outcome.status).toBe(8);
    expect(jsonOf<BackupJson>(outcome).databases).toMatchObject([
      { status: 'ok' },
      { status: 'failed', database: 'mastertrad', error: { code: 'DATABASE_NOT_FOUND' } },
      { status: 'ok' },
    ]);
    expect(outcome.stderr).toContain('2 of 3 databases are backed up');
    const status = JSON.parse(await readFile(join(bench.repository, 'status.json'), 'utf8'));
    const names = status.databases.map((each: BackupJson) => Reflect.get(each, 'database'));
    expect(names, 'a typing mistake is not kept').not.toContain('mastertrad');
  });

  it('without a name: those of holdfast.yaml, by keys of their own', async () => {
    const file = join(bench.folder, 'holdfast.yaml');
    const { PGHOST, PGPORT, PGUSER } = cluster.environment();
    const connection = `{ host: "${PGHOST}", port: ${PGPORT}, user: ${PGUSER} }`;
    const lines = [
      'compression: gzip',
      `connection: ${connection}`,
      'databases:',
      '  trading: { dbname: mastertrade }',
      `  web: { url: "${cluster.connectionUrl('postgres')}" }`,
    ];
    await writeFile(file, lines.join('\n'));
    const environment = { PGHOST: '', PGPORT: '', PGUSER: '' };
    const all = await bench.run('backup_full', ['--config', file, '--json'], { environment });
    expect(all.status, all.stderr).toBe(0);
    expect(databasesOf(jsonOf(all))).toEqual(['mastertrade', 'postgres']);
    const argv = ['--config', file, '--json', 'trading'];
    const one = await bench.run('backup_full', argv, { environment });
    expect(databasesOf(jsonOf(one))).toEqual(['mastertrade']);
    const files = await readdir(
      join(bench.repository, jsonOf<BackupJson>(one).databases[0]?.folder ?? ''),
    );
    expect(files).toContain('database.dump.gz');
  });

  it('without a name and a configuration: PGDATABASE', async () => {
    const environment = { PGDATABASE: odd };
    const outcome = await bench.run('backup_full', ['--json'], { environment });
    expect(databasesOf(jsonOf(outcome))).toEqual([odd]);
  });

  it.each(['postgresql', 'postgres', 'postgresql+psycopg2', 'postgresql+asyncpg'])(
    'a URL that begins with %s',
    async (scheme) => {
      const url = cluster.tcpUrl(odd).replace(/^postgresql/, scheme);
      const environment = { PGHOST: '/nowhere', PGPORT: '1' };
      const outcome = await bench.run('backup_full', [url, '--json'], { environment });
      expect(outcome.status, outcome.stderr).toBe(0);
      expect(databasesOf(jsonOf(outcome))).toEqual([odd]);
      const secret = cluster.password?.reveal() ?? '?';
      expect(`${outcome.stderr}${outcome.stdout}${await logText()}`).not.toContain(secret);
    },
  );
});

describe('a role that may only read', () => {
  it('takes its password from the password file, and leaves out those of the roles', async () => {
    const passfile = join(bench.folder, 'pgpass');
    const line = `127.0.0.1:${cluster.port}:*:backup:${password.replaceAll(/[\\:]/g, '\\$&')}\n`;
    await writeFile(passfile, line, { mode: 0o600 });
    const more = { ...tcp, PGPASSFILE: passfile };
    const { folder, manifest, outcome } = await bench.backUp('mastertrade', [], more);
    expect(manifest.warnings).toEqual([
      { code: 'no-role-passwords', message: expect.stringContaining('role "backup"') },
    ]);
    expect(outcome.stderr).toContain('warning: the roles were saved without their passwords');
    const globals = zstdDecompressSync(await readFile(join(folder, 'globals.sql.zst'))).toString();
    expect(globals).toContain('CREATE ROLE backup;');
    expect(globals).not.toContain('PASSWORD');
  });
});

describe('the log', () => {
  it('is JSON lines, those of each run under one id, from its beginning to its end', async () => {
    await bench.backUp('mastertrade', ['--quiet']);
    const lines = (await logText())
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    const last = lines.at(-1);
    expect(last).toMatchObject({ command: 'backup_full.ts', msg: 'ends', exit_status: 0 });
    const run = lines.filter((line) => line.run === last.run);
    expect(run[0]).toMatchObject({
      msg: 'begins',
      arguments: ['mastertrade', '--json', '--quiet'],
    });
    expect(run.some(({ msg }) => /^backed up mastertrade: /.test(msg))).toBe(true);
    const { mode } = await stat(join(bench.repository, 'logs'));
    expect(mode & 0o077).toBe(0);
  });
});

describe('while one runs', () => {
  const environment = () => ({ ...tcp, PGPASSWORD: password, AWS_SECRET_ACCESS_KEY: 'aws-secret' });

  /** Begins a backup that waits for a table, until the lock is given back. */
  async function begin(signal = new AbortController().signal) {
    const client = await cluster.connect('mastertrade');
    await client.query('BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE');
    const options = { environment: environment(), signal };
    const running = bench.run('backup_full', ['mastertrade', '--json'], options);
    await sessions("usename = 'backup' AND wait_event_type = 'Lock'", 1);
    return {
      async release() {
        await client.end();
        return running;
      },
    };
  }

  /** Waits until so many sessions in the database are as the condition says. */
  async function sessions(condition: string, count: number): Promise<void> {
    const sql = `SELECT FROM pg_stat_activity WHERE datname = 'mastertrade' AND ${condition}`;
    while ((await cluster.sql(sql)).length !== count) await sleep(50);
  }

  it('another one is told who holds it since when, and waits if it is told to', async () => {
    const { release } = await begin();
    const second = await bench.run('backup_full', ['mastertrade', '--json']);
    expect(second.status).toBe(6);
    expect(second.stderr).toMatch(
      new RegExp(
        'error: database "mastertrade" is locked by full on \\S+ ' +
          `\\(process ${process.pid}, from 127.0.0.1\\), since \\d{4}-\\d\\d-\\d\\dT[\\d:]{8}Z`,
      ),
    );
    const impatient = await bench.run('backup_full', ['mastertrade', '--wait', '0.2']);
    expect(impatient.status).toBe(6);
    const other = await bench.run('backup_full', ['postgres']);
    expect(other.status).toBe(0);
    const patient = bench.run('backup_full', ['mastertrade', '--wait', '60']);
    await sessions("application_name LIKE 'holdfast full %'", 2);
    await sleep(500);
    const first = await release();
    expect(first.status, first.stderr).toBe(0);
    const waited = await patient;
    expect(waited.stderr).toMatch(/waiting for full on /);
    expect(waited.status, waited.stderr).toBe(0);
  });

  it('the password is on no command line, and other secrets reach no child', async () => {
    const { release } = await begin();
    const seen: string[] = [];
    for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
      const read = (file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '');
      const argv = await read('cmdline');
      expect(argv).not.toContain(password);
      const program = /(?:^|\/)(pg_dump|zstd)\0/.exec(argv)?.[1];
      if (program === undefined || !(await isOurs(pid))) continue;
      const variables = await read('environ');
      seen.push(program);
      expect(variables).not.toContain('aws-secret');
      if (program === 'zstd') expect(variables).not.toContain(password);
    }
    expect(seen).toContain('pg_dump');
    const { status, stdout, stderr } = await release();
    expect(status).toBe(0);
    for (const text of [stdout, stderr, await logText()]) expect(text).not.toContain('pass:w');
  });

  async function isOurs(pid: string): Promise<boolean> {
    const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
    return text.includes(`\nPPid:\t${process.pid}\n`);
  }

  it('an interrupted one leaves no backup and no child', async () => {
    const controller = new AbortController();
    const before = jsonOf<{ backups: object[] }>(await bench.run('list_backups', ['--json']));
    const { release } = await begin(controller.signal);
    controller.abort(new HoldfastError('INTERRUPTED', 'interrupted by SIGTERM'));
    await sessions("usename = 'backup'", 0);
    const { status, stderr } = await release();
    expect(stderr).toContain('error: interrupted by SIGTERM');
    expect(status).toBe(130);
    const after = await bench.run('list_backups', ['--json']);
    expect(jsonOf(after)).toMatchObject({ backups: before.backups, unfinished: [] });
  });
});

describe('the script itself', () => {
  const script = new URL('../../scripts/backup_full.ts', import.meta.url).pathname;

  it('runs from any folder, through a symlink, in an empty environment', async () => {
    const link = join(bench.folder, 'a link');
    await symlink(script, link);
    const cwd = join(bench.folder, 'some where');
    await mkdir(cwd);
    const { PGHOST = '', PGUSER = '' } = cluster.environment();
    const flags = ['--host', PGHOST, '--port', String(cluster.port), '--username', PGUSER];
    const argv = ['-i', link, 'mastertrade', '--json', '--backup-dir', '../repository', ...flags];
    const { stdout } = await execute('/usr/bin/env', argv, { cwd });
    const json: BackupJson = JSON.parse(stdout);
    expect(json.databases).toMatchObject([{ status: 'ok', database: 'mastertrade' }]);
    await stat(join(bench.repository, json.databases[0]?.folder ?? '', 'manifest.json'));
  });
});
