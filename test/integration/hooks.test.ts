/** The hooks of the settings, around real backups and restores. */

import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { HookDocument } from '../../src/core/hook.ts';
import { shellQuote } from '../../src/core/quote.ts';
import { processExists } from '../../src/process/identity.ts';
import { type ArchivingBench, openArchivingBench, waitFor } from '../support/archiving_bench.ts';
import { type CommandName, outcomeOf, spawnCommand } from '../support/command.ts';
import { jsonOf, quoted } from '../support/workbench.ts';

const odd = 'odd "name"\n$(touch x) é';
const password = 'hunter2';

let bench: ArchivingBench;
/** Where the hooks lie, and where they write what they were told. */
let folder: string;
let records: string;

/** Makes a hook that writes down what it is told, and then does this. */
async function hook(name: string, ...lines: readonly string[]): Promise<string> {
  const path = join(folder, name);
  const text = [
    '#!/bin/sh',
    'set -eu',
    `records=${shellQuote(records)}`,
    'now=$(date +%s%N)',
    'env > "$records/$now.env"',
    'printf %s "$HOLDFAST_DATABASE" > "$records/$now.database"',
    'cat > "$records/$now.part"',
    'mv "$records/$now.part" "$records/$now.json"',
    ...lines,
    '',
  ];
  await writeFile(path, text.join('\n'));
  await chmod(path, 0o755);
  return path;
}

interface Call extends HookDocument {
  readonly variables: string;
  readonly databaseVariable: string;
}

/** What hooks were told, in their order, since they were last asked for. */
async function calls(): Promise<Call[]> {
  const names = (await readdir(records)).filter((name) => name.endsWith('.json')).sort();
  const told: Call[] = [];
  for (const name of names) {
    const read = (end: string) => readFile(join(records, name.replace('.json', end)), 'utf8');
    const document = JSON.parse(await read('.json')) as HookDocument;
    const [variables, databaseVariable] = [await read('.env'), await read('.database')];
    told.push({ ...document, variables, databaseVariable });
  }
  await rm(records, { recursive: true });
  await makeRecords();
  return told;
}

async function makeRecords(): Promise<void> {
  await mkdir(records);
  await chmod(records, 0o777);
}

const told = ({ hook: name, status, error }: Call) => [name, status, error?.code ?? null];

interface RunJson {
  readonly error?: { readonly code: string; readonly message: string };
  readonly databases: readonly {
    readonly label?: string;
    readonly error?: { readonly code: string; readonly message: string };
    readonly warnings: readonly string[];
    readonly retention: object | null;
  }[];
}

async function run<T = RunJson>(
  name: CommandName,
  argv: readonly string[],
  environment: Readonly<Record<string, string>>,
) {
  const outcome = await bench.run(name, [...argv, '--json'], environment);
  return { ...outcome, json: jsonOf<T>(outcome) };
}

/** The labels of a database's backups. */
async function labels(database: string): Promise<string[]> {
  const { json } = await run<{ backups: { label: string }[] }>('list_backups', [database], {});
  return json.backups.map(({ label }) => label);
}

let recording: string;
let failing: string;

beforeAll(async () => {
  bench = await openArchivingBench({ archive_mode: 'on', wal_level: 'replica' });
  folder = join(bench.folder, "ho'oks $(touch y)");
  records = join(folder, 'records');
  await mkdir(folder);
  await chmod(folder, 0o755);
  await makeRecords();
  recording = await hook('record', 'echo all is well');
  failing = await hook('fail', 'echo it does not work >&2', 'exit 7');
  await bench.cluster.sql([`CREATE DATABASE ${quoted(odd)}`, 'CREATE DATABASE app']);
  await bench.cluster.sql('CREATE TABLE t AS SELECT generate_series(1, 10) AS n', 'app');
});
beforeEach(calls);
afterAll(() => bench?.close());

describe('the hooks of a backup', () => {
  it('are told before and after what is backed up, and no secret', async () => {
    const { status, stderr, json } = await run('backup_full', [odd, '--verbose'], {
      HOOK_BEFORE_BACKUP: recording,
      HOOK_AFTER_BACKUP: recording,
      HOOK_ON_FAILURE: failing,
      PGPASSWORD: password,
      ALERT_TOKEN: password,
    });
    expect(status, stderr).toBe(0);
    expect(stderr).toContain('before_backup: all is well');
    const [before, after, ...more] = await calls();
    expect(more).toEqual([]);
    expect(before).toMatchObject({
      hook: 'before_backup',
      event: 'backup',
      status: 'starting',
      database: odd,
      label: null,
      error: null,
      repository: bench.repository,
    });
    expect(after).toMatchObject({
      hook: 'after_backup',
      status: 'succeeded',
      database: odd,
      databaseVariable: odd,
      cluster: 'main cluster',
      label: json.databases[0]?.label,
      facts: { tier: 'daily', bytes_stored: expect.any(Number) },
    });
    expect(after?.run_id).toBe(before?.run_id);
    expect(after?.variables).toMatch(/^HOLDFAST_STATUS=succeeded$/m);
    expect(after?.variables).toMatch(/^HOLDFAST_EXIT_STATUS=0$/m);
    expect(`${before?.variables}${after?.variables}`).not.toMatch(/hunter2|^PG/m);
  });

  it('stop it before anything is begun', async () => {
    const { status, stderr, json } = await run('backup_full', [odd], {
      HOOK_BEFORE_BACKUP: failing,
      HOOK_AFTER_BACKUP: recording,
      HOOK_ON_FAILURE: recording,
    });
    expect(status).toBe(3);
    expect(stderr).toContain('ended with status 7: it does not work');
    expect(json.databases[0]?.error).toMatchObject({ code: 'HOOK_FAILED' });
    expect((await calls()).map(told)).toEqual([
      ['before_backup', 'starting', null],
      ['on_failure', 'failed', 'HOOK_FAILED'],
    ]);
    expect(await labels(odd)).toHaveLength(1);
  });

  it('fail the run after it, and the backup stays; nothing older goes', async () => {
    const { status, json } = await run('backup_full', ['app'], {
      HOOK_AFTER_BACKUP: failing,
      HOOK_ON_FAILURE: failing,
    });
    expect(status).toBe(3);
    const [database] = json.databases;
    expect(database).toMatchObject({ error: { code: 'HOOK_FAILED' }, retention: null });
    expect(await labels('app')).toEqual([database?.label]);
    const all = await calls();
    expect(all.map(told)).toEqual([
      ['after_backup', 'succeeded', null],
      ['on_failure', 'failed', 'HOOK_FAILED'],
    ]);
    expect(all[1]?.label).toBe(database?.label);
    const file = await readFile(join(bench.repository, 'status.json'), 'utf8');
    expect(file).toContain('HOOK_FAILED');
  });

  it('are worth a warning where the settings say so', async () => {
    const { status, json, stderr } = await run('backup_full', ['app'], {
      HOOK_BEFORE_BACKUP: failing,
      HOOK_AFTER_BACKUP: failing,
      HOOK_FAILURE: 'warn',
    });
    expect(status, stderr).toBe(0);
    expect(json.databases[0]?.warnings).toEqual([
      expect.stringContaining('the hook before_backup'),
      expect.stringContaining('the hook after_backup'),
    ]);
  });

  it('are told of a failure, and change nothing about it', async () => {
    const { status, json } = await run('backup_full', ['missing'], { HOOK_ON_FAILURE: failing });
    expect(status).toBe(8);
    expect(json.databases[0]?.error?.code).toBe('DATABASE_NOT_FOUND');
    expect(await calls()).toMatchObject([
      {
        hook: 'on_failure',
        database: 'missing',
        error: { code: 'DATABASE_NOT_FOUND', exit_status: 8 },
        variables: expect.stringMatching(/^HOLDFAST_EXIT_STATUS=8$/m),
      },
    ]);
  });

  it('cannot hold it up: one that hangs is ended with its children', async () => {
    const hang = await hook('hang');
    // The first thing that it does: it has little time.
    const sleeper = join(folder, 'records/sleeper');
    await writeFile(hang, `#!/bin/sh\nsleep 600 &\necho $! > ${shellQuote(sleeper)}\nwait\n`);
    const { status, stderr } = await run('backup_full', ['app'], {
      HOOK_BEFORE_BACKUP: hang,
      HOOK_TIMEOUT_SECONDS: '4',
    });
    expect(status).toBe(3);
    expect(stderr).toContain('did not end within 4.0 s');
    const pid = Number(await readFile(sleeper, 'utf8'));
    await waitFor('the child of the hook is gone', async () => hasEnded(pid));
  });

  it('may say as much as they like, of which the log keeps the beginning', async () => {
    const flood = await hook('flood', 'yes "a line that comes again and again" | head -n 200000');
    const { status, stderr } = await run('backup_full', ['app'], { HOOK_AFTER_BACKUP: flood });
    expect(status, stderr).toBe(0);
    const files = await readdir(join(bench.repository, 'logs'));
    const texts = files.map((name) => readFile(join(bench.repository, 'logs', name), 'utf8'));
    const lines = (await Promise.all(texts)).join('').split('\n');
    const kept = lines.filter((line) => line.includes('again and again')).length;
    expect(kept).toBeGreaterThan(100);
    expect(kept).toBeLessThan(10_000);
    expect(lines.some((line) => /after_backup: … and \d{7} bytes more/.test(line))).toBe(true);
  });

  it('are ended with the run, and its failure is told all the same', async () => {
    const hang = await hook('hang', 'echo $$ > "$records/hook"', 'exec sleep 600');
    const child = spawnCommand('backup_full', ['app', '--json'], {
      environment: { ...bench.environment, HOOK_BEFORE_BACKUP: hang, HOOK_ON_FAILURE: recording },
    });
    const ended = outcomeOf(child);
    const pidOf = () => readFile(join(records, 'hook'), 'utf8').catch(() => '');
    await waitFor('the hook runs', async () => (await pidOf()).endsWith('\n'));
    const pid = Number(await pidOf());
    process.kill(child.pid ?? 0, 'SIGTERM');
    expect(await ended).toMatchObject({ status: 130 });
    expect(await hasEnded(pid)).toBe(true);
    expect((await calls()).map(told)).toEqual([
      ['before_backup', 'starting', null],
      ['on_failure', 'failed', 'INTERRUPTED'],
    ]);
  });

  it('stop it when the file cannot run', async () => {
    const path = await hook('lost');
    await writeFile(path, '#!/nowhere/sh\n');
    const { stderr } = await run('backup_full', ['app'], {
      HOOK_BEFORE_BACKUP: path,
      HOOK_ON_FAILURE: join(folder, 'nothing'),
    });
    expect(stderr).toContain('cannot be started: ENOENT');
    expect(stderr).toContain('it is not there');
  });
});

async function hasEnded(pid: number): Promise<boolean> {
  if (!processExists(pid)) return true;
  // Where no init asks for its status it stays as a zombie.
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '0 () Z ');
  return /\) [ZX] /.test(stat);
}

describe('the hooks of a restore', () => {
  it('are told before and after, but not of one that is only looked at', async () => {
    const environment = { HOOK_BEFORE_RESTORE: recording, HOOK_AFTER_RESTORE: recording };
    for (const flag of ['--verify-only', '--dry-run']) {
      const looked = await bench.run('restore_backup', ['--latest', 'app', flag], environment);
      expect(looked.status, looked.stderr).toBe(0);
    }
    const argv = ['--latest', 'app', '--target-database', 'other', '--force'];
    const { status, stderr } = await run('restore_backup', argv, environment);
    expect(status, stderr).toBe(0);
    const [label = ''] = (await labels('app')).toSorted().slice(-1);
    const facts = { event: 'restore', database: 'other', label };
    expect(await calls()).toMatchObject([
      { hook: 'before_restore', status: 'starting', ...facts },
      { hook: 'after_restore', status: 'succeeded', ...facts, facts: { tables: 1, rows: 10 } },
    ]);
  });

  it('stop it before anything is touched', async () => {
    await bench.cluster.sql('INSERT INTO t VALUES (11)', 'app');
    const { status } = await run('restore_backup', ['--latest', 'app', '--force'], {
      HOOK_BEFORE_RESTORE: failing,
      HOOK_ON_FAILURE: recording,
    });
    expect(status).toBe(3);
    expect((await calls()).map(told)).toEqual([
      ['before_restore', 'starting', null],
      ['on_failure', 'failed', 'HOOK_FAILED'],
    ]);
    const [row] = await bench.cluster.sql('SELECT count(*)::int AS n FROM t', 'app');
    expect(row).toEqual({ n: 11 });
  });

  it('that fail behind it keep the old database from being dropped', async () => {
    const argv = ['--latest', 'app', '--force', '--drop-old'];
    const { status, json } = await run<{ old_dropped: boolean; before: string; error: object }>(
      'restore_backup',
      argv,
      { HOOK_AFTER_RESTORE: failing },
    );
    expect(status).toBe(3);
    expect(json).toMatchObject({ old_dropped: false, error: { code: 'HOOK_FAILED' } });
    const [row] = await bench.cluster.sql('SELECT count(*)::int AS n FROM t', json.before);
    expect(row).toEqual({ n: 11 });
  });

  it('hear nothing of one that nobody has confirmed', async () => {
    const environment = { HOOK_BEFORE_RESTORE: recording, HOOK_ON_FAILURE: recording };
    const { status } = await run('restore_backup', ['--latest', 'app'], environment);
    expect(status).toBe(2);
    expect(await calls()).toEqual([]);
  });
});

describe('the hooks of a cluster', () => {
  it('are told when its recovery point moves, and when it does not', async () => {
    const environment = {
      HOOK_BEFORE_BACKUP: recording,
      HOOK_AFTER_BACKUP: recording,
      HOOK_ON_FAILURE: recording,
    };
    const early = await run('backup_incremental', [], environment);
    expect(early.status).toBe(3);
    expect((await calls()).map(told)).toEqual([
      ['before_backup', 'starting', null],
      ['on_failure', 'failed', 'ARCHIVING_FAILED'],
    ]);
    const installed = await bench.setup(['install', '--yes']);
    expect(installed.status, installed.stderr).toBe(0);
    const { status, stderr, json } = await run<{ base: { label: string } }>(
      'backup_incremental',
      [],
      environment,
    );
    expect(status, stderr).toBe(0);
    const { label } = json.base;
    const about = { event: 'incremental', database: null, cluster: 'main cluster' };
    expect(await calls()).toMatchObject([
      { hook: 'before_backup', ...about, label: null },
      { hook: 'after_backup', ...about, label, facts: { segment: expect.any(String) } },
    ]);
    const failed = await run('backup_incremental', [], { HOOK_AFTER_BACKUP: failing });
    expect(failed.status).toBe(3);
    expect(failed.json.error?.code).toBe('HOOK_FAILED');
  });

  it('are told of a recovery, which one that fails stops', async () => {
    const place = join(bench.folder, 'recovered');
    await mkdir(place);
    await chmod(place, 0o777);
    const argv = ['--pgdata', join(place, 'data'), '--cluster', 'main cluster'];
    const stopped = await run('restore_pitr', argv, { HOOK_BEFORE_RESTORE: failing });
    expect(stopped.status).toBe(3);
    expect(await readdir(place)).toEqual([]);
    await calls();
    const looked = await run('restore_pitr', [...argv, '--dry-run'], {
      HOOK_BEFORE_RESTORE: failing,
    });
    expect(looked.status, looked.stderr).toBe(0);
    const { status, stderr } = await run('restore_pitr', argv, {
      HOOK_BEFORE_RESTORE: recording,
      HOOK_AFTER_RESTORE: recording,
    });
    expect(status, stderr).toBe(0);
    const about = { event: 'recovery', database: null, cluster: 'main cluster' };
    expect(await calls()).toMatchObject([
      { hook: 'before_restore', ...about, facts: { pgdata: join(place, 'data') } },
      { hook: 'after_restore', ...about, label: expect.stringContaining('-base-') },
    ]);
  });
});
