/** What bad input gets: an exit status, the fact that matters, and what to do; nothing touched. */

import { access, chmod, cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import type { CommandName, Outcome, RunOptions } from '../support/command.ts';
import {
  flipped,
  jsonOf,
  openWorkbench,
  programOutput,
  quoted,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
let backup: TakenBackup;

beforeAll(async () => {
  cluster = await startTestCluster({ tcp: true });
  bench = await openWorkbench(cluster);
  await cluster.sql([
    'CREATE DATABASE mastertrade',
    'CREATE DATABASE webshop',
    "CREATE ROLE reader LOGIN PASSWORD 'reads'",
  ]);
  await cluster.sql('CREATE TABLE trades AS SELECT generate_series(1, 1000) AS id', 'mastertrade');
  backup = await bench.backUp('mastertrade');
  await bench.backUp('webshop', ['--type', 'weekly']);
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

/** All that a command could have changed: what the server has, and which backups there are. */
async function worldNow(): Promise<unknown> {
  const databases = await cluster.sql('SELECT oid, datname FROM pg_database ORDER BY oid');
  const roles = await cluster.sql('SELECT rolname FROM pg_roles ORDER BY 1');
  const full = await readdir(join(bench.repository, 'full'), { recursive: true });
  return { databases, roles, full: full.toSorted() };
}

/** The command ends so, says so, and leaves everything as it was. */
async function expectRefused(
  [name, ...argv]: readonly [CommandName, ...string[]],
  status: number,
  words: RegExp,
  options?: RunOptions,
): Promise<Outcome> {
  const before = await worldNow();
  const outcome = await bench.run(name, argv, options);
  expect(outcome.stderr).toMatch(words);
  expect(outcome.status).toBe(status);
  expect(await worldNow()).toEqual(before);
  return outcome;
}

describe('status 2: an argument or a setting', () => {
  it.each([
    [['backup_full', 'mastertrade', '--verfiy'], /unknown flag --verfiy; did you mean --verify\?/],
    [
      ['backup_full', 'mastertrade', '--type', 'hourly'],
      /invalid values.*"hourly".*"daily", "weekly", "monthly", "manual"/,
    ],
    [
      ['backup_full', 'mastertrade', '--compression', 'lz4'],
      /--compression.*"lz4".*zstd, gzip, none/,
    ],
    [
      ['backup_full', 'mastertrade', '--compression-level', '20'],
      /--compression-level.*20.*1 to 19/,
    ],
    [['backup_full', 'mastertrade', '--wait', '-1'], /--wait takes seconds, 0 to/],
    [['backup_full', '--all', 'mastertrade'], /--all and "mastertrade" exclude each other/],
    [['backup_full'], /no database is named\nhint: .*PGDATABASE/],
    [['restore_backup', '--latest', 'mastertrade', '--jobs', '0'], /--jobs.*0/],
    [
      ['restore_backup', '--latest', 'mastertrade', '--compare', 'some'],
      /"some".*"counts", "content", "none"/,
    ],
    [['restore_backup'], /nothing says what to restore\nhint: .*--latest/],
    [['restore_backup', '--latest', 'mastertrade', 'webshop'], /"webshop" is one too many/],
    [['restore_backup', '--latest'], /not enough arguments following: latest/],
    [['restore_backup', '--list', 'mastertrade', 'webshop'], /one database, not also "webshop"/],
    [['verify_backups'], /--latest or --all/],
    [
      ['verify_backups', '20269999T020000Z-daily-k3f9'],
      /is not a backup's label\nhint: A label looks like/,
    ],
    [['list_backups', '--type', 'yearly'], /"yearly".*"daily"/],
  ] as const)('%j', async (argv, words) => {
    await expectRefused([...argv] as [CommandName, ...string[]], 2, words);
  });

  it('a setting that does not exist, with the nearest one', async () => {
    const yaml = join(bench.folder, 'holdfast.yaml');
    await writeFile(yaml, 'compresion: gzip\n');
    const words = /holdfast\.yaml line 1: .*"compresion"\nhint: Did you mean compression\?/;
    await expectRefused(['backup_full', 'mastertrade', '--config', yaml], 2, words);
    const env = join(bench.folder, '.env');
    await writeFile(env, 'PGHSOT=db\n');
    const file = /\.env line 1: there is no setting PGHSOT\nhint: Did you mean PGHOST\?/;
    await expectRefused(['backup_full', 'mastertrade', '--env-file', env], 2, file);
    const missing = ['backup_full', 'mastertrade', '--config', '/nowhere.yaml'] as const;
    await expectRefused([...missing], 2, /cannot read \/nowhere\.yaml: there is no such file/);
  });

  it('a variable with a value that is not allowed', async () => {
    const environment = { COMPRESSION: 'brotli' };
    await expectRefused(
      ['backup_full', 'mastertrade'],
      2,
      /COMPRESSION.*"brotli".*zstd, gzip, none/,
      { environment },
    );
  });
});

describe('status 8: the database', () => {
  it('that does not exist, with those that do', async () => {
    const words =
      /database "mastertrad" does not exist\nhint: The server has: "mastertrade", "postgres", "webshop"/;
    await expectRefused(['backup_full', 'mastertrad'], 8, words);
  });

  it('with a wrong password, or none', async () => {
    const tcp = { PGHOST: '127.0.0.1', PGUSER: 'reader' };
    const wrong = { environment: { ...tcp, PGPASSWORD: 'guessed' } };
    const words =
      /password authentication failed for user "reader"\nhint: The password came from PGPASSWORD/;
    const outcome = await expectRefused(['backup_full', 'mastertrade'], 8, words, wrong);
    expect(outcome.stderr).not.toContain('guessed');
    const none = /wants a password and none was found\nhint: .*PGPASSWORD.*pgpass/;
    await expectRefused(['backup_full', 'mastertrade'], 8, none, { environment: tcp });
    await expectRefused(['restore_backup', '--latest', 'mastertrade', '--force'], 8, words, wrong);
  });

  it.each([
    ['127.0.0.1', '1', /127\.0\.0\.1:1.*ECONNREFUSED.*\nhint: .*PGHOST and PGPORT/],
    ['/nowhere', '5432', /socket \/nowhere\/\.s\.PGSQL\.5432.*\nhint: .*PGHOST and PGPORT/],
    ['no.such.host.invalid', '5432', /no\.such\.host\.invalid:5432.*\nhint: .*name/],
  ])('on a server that is not there (%s:%s)', async (PGHOST, PGPORT, words) => {
    const environment = { PGHOST, PGPORT };
    await expectRefused(['backup_full', 'mastertrade'], 8, words, { environment });
  });

  it('that the role may not read, with the GRANT', async () => {
    const environment = { PGUSER: 'reader' };
    const words =
      /role "reader" may not read everything.*table "public"\."trades"\nhint: As a superuser: GRANT SELECT ON TABLE "public"\."trades" TO "reader";/;
    await expectRefused(['backup_full', 'mastertrade', '--test'], 8, words, { environment });
    const outcome = await expectRefused(['backup_full', 'mastertrade', '--json'], 8, words, {
      environment,
    });
    expect(jsonOf(outcome)).toMatchObject({
      databases: [{ error: { code: 'DATABASE_PRIVILEGE', exit_status: 8 } }],
    });
  });

  it('that the role may not create when it restores', async () => {
    const environment = { PGUSER: 'reader' };
    const target = '--target-database=new';
    const argv = ['restore_backup', '--latest', 'mastertrade', target, '--force'] as const;
    const words =
      /permission denied to create database\nhint: As a superuser: ALTER ROLE "reader" CREATEDB;/;
    await expectRefused(argv, 8, words, { environment });
  });

  it('of a server that is newer than every pg_dump', async () => {
    const bin = join(bench.folder, 'old programs');
    await mkdir(bin);
    for (const program of ['pg_dump', 'pg_dumpall', 'pg_restore']) {
      const text = `#!/bin/sh\necho '${program} (PostgreSQL) 9.6.24'\n`;
      await writeFile(join(bin, program), text, { mode: 0o755 });
    }
    const environment = { PG_BIN_DIR: bin };
    const { major } = cluster;
    const words = new RegExp(
      `${major} or newer is needed.*9\\.6\\.24.*\\nhint: .*pg_bin_dir.*postgresql-client-${major}`,
    );
    await expectRefused(['backup_full', 'mastertrade'], 8, words, { environment });
    const restore = ['restore_backup', '--latest', 'mastertrade', '--force'] as const;
    await expectRefused([...restore], 8, words, { environment });
  });
});

describe('status 4: a file', () => {
  const restore = (path: string) => ['restore_backup', path, 'mastertrade', '--force'] as const;

  /** A copy of the backup with one file changed. */
  async function spoiled(name: string, change: (bytes: Buffer) => Buffer | null): Promise<string> {
    const folder = join(bench.folder, 'spoiled');
    await rm(folder, { recursive: true, force: true });
    await cp(backup.folder, folder, { recursive: true });
    const changed = change(await readFile(join(folder, name)));
    if (changed === null) await rm(join(folder, name));
    else await writeFile(join(folder, name), changed);
    return folder;
  }

  it.each(['database.dump.zst', 'globals.sql.zst', 'restore.sh', 'SHA256SUMS'])(
    'of a backup that is cut, flipped, empty or missing: %s',
    async (name) => {
      const words = new RegExp(`error: .*${name.replaceAll('.', '\\.')}`);
      for (const change of [
        (b: Buffer) => b.subarray(0, -1),
        flipped,
        () => Buffer.alloc(0),
        () => null,
      ]) {
        await expectRefused(restore(await spoiled(name, change)), 4, words);
      }
    },
  );

  it('a manifest that is no manifest, of a newer format, or points out of its folder', async () => {
    const edit = (text: (old: string) => string) =>
      spoiled('manifest.json', (bytes) => Buffer.from(text(bytes.toString())));
    await expectRefused(restore(await edit(() => '{"format": ')), 4, /error: .*manifest/);
    const newer = await edit((old) => old.replace('"format": 1', '"format": 2'));
    await expectRefused(restore(newer), 4, /error: .*format 2/);
    const outside = await edit((old) => old.replaceAll('"database.dump.zst"', '"../../secret"'));
    await expectRefused(restore(outside), 4, /error: the manifest .*name/);
    const filter = await edit((old) => old.replaceAll('"zstd"', '"sh -c id"'));
    await expectRefused(restore(filter), 4, /error: the manifest .*filters/);
  });

  it('that is no dump: empty, of text, a directory of something else, cut', async () => {
    const write = async (name: string, bytes: Buffer | string) => {
      await writeFile(join(bench.folder, name), bytes);
      return join(bench.folder, name);
    };
    await expectRefused(
      restore(await write('empty', '')),
      4,
      /empty is empty\nhint: .*custom format/,
    );
    const text = await write('text.dump', 'SELECT 1;\n');
    await expectRefused(restore(text), 4, /text\.dump makes nothing: no table, no row\nhint: /);
    const args = ['--format=custom', '--compress=0', 'mastertrade'];
    const dump = await programOutput(cluster, 'pg_dump', args);
    const cut = await write('cut.dump', dump.subarray(0, -100));
    await expectRefused(restore(cut), 4, /cut\.dump: .*\nhint: The file is cut or damaged/);
    await expectRefused(
      restore(join(bench.folder, 'old programs')),
      5,
      /is no backup: it has no manifest/,
    );
  });

  it('of a backup in the repository, which verify finds and --latest then passes over', async () => {
    const other = await bench.backUp('mastertrade');
    const path = join(other.folder, 'database.dump.zst');
    const good = await readFile(path);
    await chmod(path, 0o600);
    await writeFile(path, flipped(good));
    const verify = await bench.run('verify_backups', [other.label]);
    expect([verify.status, verify.stderr]).toEqual([
      4,
      expect.stringMatching(/is DAMAGED[\s\S]*database\.dump\.zst: stored: /),
    ]);
    const latest = await bench.run('restore_backup', [
      '--latest',
      'mastertrade',
      '--verify-only',
      '--json',
    ]);
    expect(latest.stderr).toContain(`${other.label} is younger, but damaged: it is passed over`);
    expect(jsonOf(latest)).toMatchObject({ backup: backup.label });
    await rm(other.folder, { recursive: true });
  });
});

describe('status 5: not there', () => {
  it.each([
    [
      ['restore_backup', '--latest', 'mastertrad', '--force'],
      /no backup of "mastertrad"\nhint: .*"mastertrade", "webshop"/,
    ],
    [
      ['restore_backup', '--latest', 'mastertrade', '--type', 'weekly', '--force'],
      /no weekly backup of "mastertrade"\nhint: .*"webshop"/,
    ],
    [['list_backups', 'mastertrad'], /no backup of "mastertrad"/],
    [['verify_backups', '--latest', 'mastertrad'], /no backup of "mastertrad"/],
    [
      ['restore_backup', '20260101T000000Z-daily-zzzz', '--force'],
      /no backup 20260101T000000Z-daily-zzzz\nhint: scripts\/list_backups/,
    ],
    [
      ['restore_backup', 'no such file', 'x', '--force'],
      /"no such file" is neither a label nor a file/,
    ],
  ] as const)('%j', async (argv, words) => {
    await expectRefused([...argv] as [CommandName, ...string[]], 5, words);
  });

  it('a label that is meant for another database, with what to write', async () => {
    const argv = ['restore_backup', backup.label, 'webshop', '--force'] as const;
    const words =
      /is a backup of "mastertrade", not of "webshop"\nhint: .*-[a-z0-9]{4} --target-database='webshop'/;
    await expectRefused([...argv], 5, words);
  });

  it('a repository', async () => {
    const environment = { BACKUP_DIR: join(bench.folder, 'nothing') };
    for (const argv of [['list_backups'], ['restore_backup', '--latest', 'x']] as const) {
      const words = /there is no repository in .*nothing\nhint: Mount its disk.* set BACKUP_DIR/;
      await expectRefused([...argv], 5, words, { environment });
    }
    await expect(access(environment.BACKUP_DIR)).rejects.toThrow('ENOENT');
  });
});

describe('a path that leads out of the repository', () => {
  const outside = ['..', '../..', '/etc', 'a/../../b', '%2e%2e'];

  it.each(outside)('--cluster %s finds nothing there', async (cluster_) => {
    const flags = ['--cluster', cluster_];
    await expectRefused(
      ['restore_backup', '--latest', 'mastertrade', ...flags, '--force'],
      5,
      /no backup of/,
    );
    await expectRefused(['restore_backup', backup.label, ...flags, '--force'], 5, /no backup/);
    await expectRefused(
      ['verify_backups', '--latest', '../mastertrade', ...flags],
      5,
      /no backup of/,
    );
  });

  it.each(['../../etc/passwd', `../${'x'.repeat(10)}`, '20260101T000000Z-daily-../..'])(
    'the label %s is none',
    async (label) => {
      await expectRefused(['verify_backups', label], 2, /is not a backup's label/);
    },
  );

  it.each(outside)('CLUSTER=%s stays a folder of the repository', async (CLUSTER) => {
    const { folder } = await bench.backUp('webshop', [], { CLUSTER });
    expect(folder.startsWith(`${bench.repository}/full/`)).toBe(true);
    expect(folder.split('/')).not.toContain('..');
  });
});

describe('a hostile name', () => {
  it('is never executed, and is backed up and restored like any other', async () => {
    const marker = join(bench.folder, 'executed');
    const name = `$(touch ${marker.slice(0, 40)})\`id\`'; DROP DATABASE webshop; --`.slice(0, 63);
    await cluster.sql(`CREATE DATABASE ${quoted(name)}`);
    await bench.backUp(name);
    const outcome = await bench.run('restore_backup', ['--latest', name, '--force']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect((await bench.run('verify_backups', ['--latest', name])).status).toBe(0);
    await expectRefused(['backup_full', `${name}x`.slice(-60)], 8, /does not exist/);
    await expect(access(marker.slice(0, 40))).rejects.toThrow('ENOENT');
    expect(await cluster.sql("SELECT FROM pg_database WHERE datname = 'webshop'")).toHaveLength(1);
  });
});

describe('status 7: a repository', () => {
  it('that is something else', async () => {
    const folder = join(bench.folder, 'photos');
    await mkdir(folder);
    await writeFile(join(folder, 'cat.jpg'), '');
    const words =
      /photos is not empty and is no repository \(it holds "cat\.jpg"\)\nhint: Set BACKUP_DIR/;
    await expectRefused(['backup_full', 'mastertrade'], 7, words, {
      environment: { BACKUP_DIR: folder },
    });
    expect(await readdir(folder)).toEqual(['cat.jpg']);
  });

  it('that is a file, or of a newer format', async () => {
    const file = join(bench.folder, 'a file');
    await writeFile(file, '');
    await expectRefused(['backup_full', 'mastertrade'], 7, /a file/, {
      environment: { BACKUP_DIR: file },
    });
    const newer = join(bench.folder, 'newer');
    await mkdir(newer);
    await writeFile(join(newer, 'holdfast.json'), '{"format": 9}');
    await expectRefused(['list_backups'], 7, /format 9/, { environment: { BACKUP_DIR: newer } });
  });

  it.each(['/proc/holdfast', '/sys/a/b'])('that cannot be made (%s)', async (BACKUP_DIR) => {
    const words = new RegExp(`error: .*${BACKUP_DIR}`);
    await expectRefused(['backup_full', 'mastertrade'], 7, words, { environment: { BACKUP_DIR } });
  });
});
