/** What the doctor finds, on a real server; and that what it says to type mends it. */

import { chmod, chown, mkdir, readdir, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Finding } from '../../src/core/doctor.ts';
import { isRoot } from '../../src/process/user.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { outcomeOf, spawnCommand } from '../support/command.ts';
import { type DoctorReport, examine, mend, of } from '../support/doctor.ts';
import { startPooler } from '../support/pooler.ts';
import { jsonOf, openWorkbench, quoted, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;

beforeAll(async () => {
  cluster = await startTestCluster({
    // A worker of autovacuum would count as somebody who uses a leftover.
    settings: { max_connections: '20', max_locks_per_transaction: '10', autovacuum: 'off' },
  });
  bench = await openWorkbench(cluster);
  await cluster.sql('CREATE DATABASE app');
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

describe('a database that is as it should be', () => {
  it('has no problem, and says what was looked at', async () => {
    const report = await examine(bench, ['app']);
    expect(report.findings.filter(({ level }) => level === 'problem')).toEqual([]);
    expect(report.exit_status).toBe(0);
    for (const check of ['connection', 'pooler', 'read', 'restore', 'space', 'clock', 'slots']) {
      expect(of(report, check as Finding['check'], 'ok'), check).not.toEqual([]);
    }
    const [programs] = of(report, 'programs');
    expect(programs?.message).toMatch(/pg_dump .*pg_dumpall .*pg_restore .*psql /);
    expect(report.outcome.stderr).toBe('');
  });

  it('is told in lines, the worst last; --quiet tells only what is wrong', async () => {
    const { stdout } = await bench.run('doctor', ['app', 'missing']);
    expect(stdout).toMatch(/^ok {7}node +Node \d+/m);
    expect(stdout.trimEnd().split('\n').slice(-3).join('\n')).toMatch(
      /^PROBLEM {2}connection +missing: .*"missing" does not exist\n +mend: The server has: .*"app".*\n1 problem, 0 warnings\.$/,
    );
    const quiet = await bench.run('doctor', ['missing', '--quiet']);
    expect(quiet.stdout).not.toMatch(/^(?:ok|note)/m);
    expect(quiet.stdout).toContain('PROBLEM');
    expect(quiet.status).toBe(8);
    expect((await bench.run('doctor', ['app', '--quiet'])).stdout).toBe('');
  });

  it('leaves no trace: no repository, no file, no database', async () => {
    const databases = await cluster.sql('SELECT oid, datname FROM pg_database ORDER BY 1');
    await examine(bench, ['app']);
    expect(await cluster.sql('SELECT oid, datname FROM pg_database ORDER BY 1')).toEqual(databases);
    await expect(stat(bench.repository)).rejects.toMatchObject({ code: 'ENOENT' });
    const report = await examine(bench, ['app']);
    const mend = 'scripts/backup_full.ts --all';
    expect(of(report, 'repository')).toMatchObject([
      { level: 'note', subject: bench.repository, mend },
    ]);
    const named = await examine(bench, [], { PGDATABASE: 'app' });
    expect(of(named, 'repository')).toMatchObject([{ mend: 'scripts/backup_full.ts' }]);
  });

  it('is one of all, and one that is wrong hides no other', async () => {
    const all = await examine(bench, ['--all']);
    expect(of(all, 'connection').map(({ subject }) => subject)).toEqual(['app', 'postgres']);
    // The server is told once, whichever of its databases was asked.
    expect(of(all, 'clock')).toHaveLength(1);
    const wrong = 'postgresql://x:s3cretword@h/y?sslmode=nonsense';
    const several = await examine(bench, [wrong, 'app', 'missing']);
    expect(several.outcome.stdout).not.toContain('s3cretword');
    expect(of(several, 'settings', 'problem')).toHaveLength(1);
    expect(of(several, 'connection', 'problem')).toHaveLength(1);
    expect(of(several, 'connection', 'ok')).toMatchObject([{ subject: 'app' }]);
    expect(several.exit_status).toBe(8);
  });

  it('but lets nobody in is told with the statement that lets them in again', async () => {
    await cluster.sql('CREATE DATABASE closed ALLOW_CONNECTIONS false');
    const report = await examine(bench, ['closed']);
    const [problem] = of(report, 'connection', 'problem');
    expect(problem?.message).toContain('not currently accepting connections');
    const [statement] = /ALTER DATABASE .*?;/.exec(problem?.mend ?? '') ?? [''];
    await cluster.sql([statement, 'DROP DATABASE closed']);
    expect(statement).toBe('ALTER DATABASE "closed" ALLOW_CONNECTIONS true;');
  });

  it('without any database looks at the server, and says how to name one', async () => {
    const report = await examine(bench, []);
    expect(of(report, 'settings', 'warning')).toMatchObject([
      {
        message: expect.stringContaining('no database is named'),
        mend: 'scripts/doctor.ts DATABASE',
      },
    ]);
    expect(of(report, 'connection', 'ok')).toMatchObject([{ subject: 'postgres' }]);
    expect(
      of(report, 'server', 'ok')
        .map(({ message }) => message)
        .join(),
    ).toContain('PostgreSQL');
    expect(report.exit_status).toBe(0);
  });
});

describe('a connection pooler', () => {
  it.each([
    ['transaction', 'problem', 8],
    ['session', 'warning', 0],
  ] as const)('in %s mode is a %s', async (mode, level, status) => {
    const { socketDirectory, port } = cluster;
    const pooler = await startPooler({
      mode,
      serverSocket: `${socketDirectory}/.s.PGSQL.${port}`,
    });
    try {
      const environment = { PGHOST: '127.0.0.1', PGPORT: String(pooler.port) };
      const report = await examine(bench, ['app'], environment);
      const [found, ...others] = of(report, 'pooler');
      expect(others).toEqual([]);
      expect(found?.level).toBe(level);
      expect(found?.mend).toContain(`port ${port}`);
      expect(report.exit_status).toBe(status);
    } finally {
      await pooler.stop();
    }
  });
});

describe('the server', () => {
  it('that never answers is given up, and the others are looked at', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    try {
      const url = `postgresql://x@127.0.0.1:${port}/y?connect_timeout=2`;
      const report = await examine(bench, [url, 'app']);
      expect(of(report, 'connection').map(({ subject, level }) => [subject, level])).toEqual([
        ['app', 'ok'],
        ['y', 'problem'],
      ]);
    } finally {
      silent.close();
    }
  });

  it('whose lock table is too small for a dump is told with the size it needs', async () => {
    await cluster.sql('CREATE DATABASE wide');
    const create = `DO $$ BEGIN FOR i IN 1..90 LOOP
      EXECUTE format('CREATE TABLE %I ()', $1 || i); END LOOP; END $$`;
    for (const prefix of ['a', 'b', 'c']) {
      await cluster.sql(create.replace('$1', `'${prefix}'`), 'wide');
    }
    const [warning, ...others] = of(await examine(bench, ['wide']), 'server', 'warning');
    expect(others).toEqual([]);
    expect(warning?.message).toContain('270 tables');
    expect(warning?.mend).toMatch(/^ALTER SYSTEM SET max_locks_per_transaction = 21;/);
    await mend(cluster, warning === undefined ? [] : [warning]);
  });

  it('tells its idle slots and what restores have left, each with its statement', async () => {
    const left = 'app__restoring_20261120T020000Z';
    await cluster.sql([
      "SELECT pg_create_physical_replication_slot('idle_slot', true)",
      `CREATE DATABASE ${quoted(left)}`,
      'CREATE DATABASE "app__before_20261120T020000Z"',
    ]);
    const report = await examine(bench, ['app']);
    const [slot] = of(report, 'slots');
    expect(slot).toMatchObject({ level: 'note' });
    expect(slot?.message).toContain('"idle_slot" is idle');
    const leftovers = of(report, 'leftovers');
    expect(leftovers.map(({ level }) => level).toSorted()).toEqual(['note', 'warning']);
    for (const leftover of leftovers) {
      expect(leftover.mend).toBe("scripts/restore_backup.ts --drop-old 'app'");
    }
    const dropped = await bench.run('restore_backup', ['--drop-old', 'app', '--force']);
    expect(dropped.status, dropped.stderr).toBe(0);
    await mend(cluster, of(report, 'slots'));
    const after = await examine(bench, ['app']);
    expect(of(after, 'slots')).toMatchObject([{ level: 'ok' }]);
    expect(of(after, 'leftovers')).toMatchObject([{ level: 'ok' }]);
  });
});

describe('programs', () => {
  it('in a folder without them are a wrong setting; old ones, ones that are too old', async () => {
    const bin = join(bench.folder, 'bin');
    await mkdir(bin);
    const empty = await examine(bench, ['app'], { PG_BIN_DIR: bin });
    expect(of(empty, 'settings', 'problem')).toHaveLength(4);
    expect(empty.exit_status).toBe(2);
    for (const program of ['pg_dump', 'pg_dumpall', 'pg_restore', 'psql']) {
      const text = `#!/bin/sh\necho '${program} (PostgreSQL) 9.6.24'\n`;
      await writeFile(join(bin, program), text, { mode: 0o755 });
    }
    const old = await examine(bench, ['app'], { PG_BIN_DIR: bin });
    expect(of(old, 'programs', 'problem')[0]?.message).toContain('9.6.24');
    expect(old.exit_status).toBe(8);
  });

  it('that compress may be missing: Node does it', async () => {
    const report = await examine(bench, ['app'], {
      PATH: '/nowhere',
      PG_BIN_DIR: cluster.binDirectory,
    });
    expect(of(report, 'compressor')).toMatchObject([
      { level: 'note', mend: 'apt-get install zstd' },
    ]);
    expect(report.exit_status).toBe(0);
  });
});

describe('the repository', () => {
  it('that others may use is told with the chmod; what killed runs have left too', async () => {
    const { folder } = await bench.backUp('app');
    const unfinished = join(folder, '..', '20261101T020000Z-daily-aaaa.partial');
    await mkdir(unfinished, { mode: 0o700 });
    await writeFile(join(unfinished, 'database.dump'), 'x'.repeat(2000), { mode: 0o600 });
    const old = new Date(Date.now() - 9 * 86_400_000);
    await utimes(unfinished, old, old);
    await chmod(folder, 0o755);
    const before = (await readdir(bench.repository, { recursive: true })).toSorted();
    const report = await examine(bench, ['app']);
    expect((await readdir(bench.repository, { recursive: true })).toSorted()).toEqual(before);
    expect(of(report, 'repository', 'warning')).toMatchObject([
      { mend: `chmod -R go= '${bench.repository}'` },
    ]);
    const [left] = of(report, 'backups', 'note');
    expect(left?.message).toMatch(/20261101T020000Z-daily-aaaa .*2\.0 kB/);
    expect(
      of(report, 'backups', 'ok')
        .map(({ message }) => message)
        .join(),
    ).toMatch(/1 backup, 0 of them damaged.*the last backup is \d{8}T/);
    await chmod(folder, 0o700);
    await rm(unfinished, { recursive: true });
    expect(of(await examine(bench, ['app']), 'repository', 'warning')).toEqual([]);
  });

  it('that this user cannot write is a problem; all else is looked at', async () => {
    const closed = join(bench.folder, 'closed');
    await mkdir(closed);
    // Root becomes the owner of the repository: the mode counts for that one too.
    if (isRoot()) await chown(closed, 65_534, 65_534);
    await chmod(closed, 0o500);
    const child = spawnCommand('doctor', ['app', '--json'], {
      environment: { ...bench.environment, BACKUP_DIR: closed },
    });
    const outcome = await outcomeOf(child);
    const report = jsonOf<DoctorReport & object>(outcome);
    const message = expect.stringContaining('cannot be written');
    expect(of(report, 'repository', 'problem')).toContainEqual(
      expect.objectContaining({ message, mend: `chmod u+rwx '${closed}'` }),
    );
    expect(of(report, 'node', 'ok')).toHaveLength(1);
    expect(of(report, 'connection')).toHaveLength(1);
  });

  it('with a backup of tomorrow says that a clock is wrong, with a damaged one which it is', async () => {
    const { folder } = await bench.backUp('app');
    const future = join(folder, '..', '20991231T000000Z-daily-aaaa');
    await mkdir(future, { mode: 0o700 });
    await writeFile(join(future, 'manifest.json'), '{', { mode: 0o600 });
    const warnings = of(await examine(bench, ['app']), 'backups', 'warning');
    const messages = warnings.map(({ message }) => message).join('\n');
    expect(messages).toMatch(/20991231T000000Z-daily-aaaa is damaged/);
    expect(messages).toMatch(/20991231T000000Z-daily-aaaa is dated in the future/);
    // What says what is wrong with it reads that one backup, not the whole repository.
    expect(warnings.map(({ mend }) => mend)).toContain(
      'scripts/verify_backups.ts 20991231T000000Z-daily-aaaa',
    );
    await rm(future, { recursive: true });
  });

  it('that is something else is a problem', async () => {
    const other = join(bench.folder, 'documents');
    await mkdir(other, { mode: 0o700 });
    await writeFile(join(other, 'holdfast.json'), '{"format": 99}');
    const report = await examine(bench, ['app'], { BACKUP_DIR: other });
    expect(of(report, 'repository', 'problem')).toHaveLength(1);
    expect(report.exit_status).toBe(7);
    // Nobody can say which backups there are.
    expect(of(report, 'backups')).toEqual([]);
  });

  it('may be too small for the next backup: the statement of the space', async () => {
    const report = await examine(bench, ['app'], { MIN_DISK_SPACE_GB: '1000000' });
    expect(of(report, 'space', 'warning')[0]?.message).toContain('MIN_DISK_SPACE_GB');
    expect(report.exit_status).toBe(0);
  });
});

describe('settings', () => {
  it('are told with where they come from, aliases as such, and no secret', async () => {
    const env = join(bench.folder, 'doctor.env');
    await writeFile(env, 'PGPASSWORD=s3cretword\nDB_NAME=app\n', { mode: 0o600 });
    const file = ['--env-file', env];
    const report = await examine(bench, file, { DATABASE_URL: 'postgresql://x:s3cretword@h/db' });
    const setting = (name: string) => report.settings.find((each) => each.name === name);
    expect(setting('connection.dbname')).toMatchObject({
      value: 'app',
      origin: '.env',
      written: 'DB_NAME',
      line: 2,
      alias_of: 'PGDATABASE',
    });
    expect(setting('connection.password')?.value).toBe('[redacted]');
    expect(setting('database_url')?.value).toBe('[redacted]');
    expect(setting('compression')).toMatchObject({ value: 'zstd', origin: 'default' });
    const told = await bench.run('doctor', [...file, '--verbose']);
    expect(told.stdout).toMatch(/^connection\.dbname +app +.*doctor\.env line 2, DB_NAME \(also/m);
    for (const text of [report.outcome.stdout, told.stdout, told.stderr]) {
      expect(text).not.toContain('s3cretword');
    }
    expect(of(report, 'files', 'ok')).toMatchObject([{ subject: env }]);
  });

  it('in a file that others can read or write are told with the chmod', async () => {
    const env = join(bench.folder, 'open.env');
    await writeFile(env, 'PGPASSWORD=s3cretword\n');
    await chmod(env, 0o644);
    const readable = await examine(bench, ['app', '--env-file', env]);
    expect(of(readable, 'files', 'warning')).toMatchObject([{ mend: `chmod 600 '${env}'` }]);
    expect(readable.outcome.stderr).toBe('');
    await writeFile(env, 'COMPRESSION=gzip\n');
    await chmod(env, 0o666);
    const writable = await examine(bench, ['app', '--env-file', env]);
    expect(of(writable, 'files', 'problem')).toMatchObject([{ mend: `chmod go-w '${env}'` }]);
    expect(writable.exit_status).toBe(2);
  });

  it('a password file that others can read is ignored, and the doctor says so', async () => {
    const passfile = join(bench.folder, 'pgpass');
    await writeFile(passfile, '*:*:*:*:s3cretword\n');
    await chmod(passfile, 0o640);
    const report = await examine(bench, ['app'], { PGPASSFILE: passfile });
    expect(of(report, 'files', 'warning')).toMatchObject([{ mend: `chmod 600 '${passfile}'` }]);
    expect(of(report, 'settings', 'warning')).toEqual([]);
  });
});
