/**
 * docs/runbook.md, typed as it stands, on a server where what it is for has happened. Only the
 * places differ: folders of the test for those of a real machine, a label for the word LABEL.
 */

import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { restoringName } from '../../src/core/names.ts';
import { startTestCluster, type TestCluster, testEnvironment } from '../support/cluster.ts';
import type { CommandName, Outcome } from '../support/command.ts';
import { readRunbook } from '../support/runbook.ts';
import { projectDir } from '../support/source_tree.ts';
import {
  flipped,
  jsonOf,
  openWorkbench,
  quoted,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

const execute = promisify(execFile);

let cluster: TestCluster;
let bench: Workbench;
let first: TakenBackup;

const runbook = readRunbook('docs/runbook.md');

/** Types one block on a machine: a cluster and a repository. Ends at the first line that fails. */
async function typeLines(
  lines: readonly string[],
  machine: { bench: Workbench; label?: string } = { bench },
): Promise<Outcome> {
  const { label = first.label } = machine;
  let outcome: Outcome = { status: 0, stdout: '', stderr: '' };
  let cwd = projectDir;
  for (const line of lines) {
    const typed = line
      .replaceAll('LABEL', label)
      .replaceAll('/opt/holdfast', projectDir)
      .replaceAll('/var/backups/holdfast', machine.bench.repository)
      .replaceAll('/mnt/copy', machine.bench.folder)
      .replaceAll('sudo -u postgres ', '');
    const script = /^scripts\/(\w+)\.ts ?(.*)$/.exec(typed);
    if (script !== null) {
      const argv = (script[2] ?? '').split(' ').filter((word) => word !== '');
      outcome = await machine.bench.run(script[1] as CommandName, argv, { typed: 'yes' });
    } else {
      outcome = await shell(`${typed}\npwd`, cwd, machine.bench);
      cwd = outcome.stdout.trimEnd().split('\n').at(-1) ?? cwd;
    }
    if (outcome.status !== 0) return outcome;
  }
  return outcome;
}

async function shell(text: string, cwd: string, machine: Workbench): Promise<Outcome> {
  const PATH = `${cluster.binDirectory}:${testEnvironment.PATH}`;
  const env = { ...testEnvironment, ...machine.environment, PATH, PGDATABASE: 'postgres' };
  const done = await execute('sh', ['-eu', '-c', text], { cwd, env }).catch((error) => error);
  return { status: done.code ?? 0, stdout: done.stdout, stderr: done.stderr };
}

/** Types every block of a section, each of which must end well. */
async function follow(
  title: string,
  machine?: { bench: Workbench; label?: string },
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const lines of runbook.take(title)) {
    const outcome = await typeLines(lines, machine);
    expect(outcome.status, `${lines.join('\n')}\n${outcome.stderr}`).toBe(0);
    outcomes.push(outcome);
  }
  return outcomes;
}

/** What the database holds: its rows, or that the table is gone. */
async function orders(database = 'mastertrade'): Promise<string> {
  const [row] = await cluster.sql(
    "SELECT pg_catalog.to_regclass('public.orders') IS NULL AS gone",
    database,
  );
  if (row?.gone === true) return 'gone';
  const [counted] = await cluster.sql('SELECT count(*)::int AS rows FROM public.orders', database);
  return `${counted?.rows} rows`;
}

async function databases(): Promise<string[]> {
  const rows = await cluster.sql('SELECT datname AS name FROM pg_database ORDER BY 1');
  return rows.map(({ name }) => String(name));
}

const dropOrders = () => cluster.sql('DROP TABLE public.orders', 'mastertrade');

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  await cluster.sql(['CREATE ROLE trader LOGIN', 'CREATE DATABASE mastertrade OWNER trader']);
  await cluster.sql(
    [
      'CREATE TABLE public.orders (id int PRIMARY KEY, what text)',
      "INSERT INTO public.orders SELECT n, 'order ' || n FROM generate_series(1, 1000) AS n",
      'GRANT SELECT ON public.orders TO trader',
    ],
    'mastertrade',
  );
  first = await bench.backUp('mastertrade');
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
});

describe('the runbook', () => {
  it('tells which backup is good, and what is in it', async () => {
    await dropOrders();
    const [list, verified, tables] = await follow('Which backup is good');
    expect(list?.stdout).toContain(first.label);
    expect(verified?.stderr).toMatch(/verified/);
    expect(tables?.stdout).toMatch(/^public +orders +1000 /m);
  });

  it('puts the whole database back', async () => {
    expect(await orders()).toBe('gone');
    const [plan] = await follow('Put the whole database back');
    expect(plan?.stdout).toContain('mastertrade');
    expect(await orders()).toBe('1000 rows');
  });

  it('gets one table back', async () => {
    await dropOrders();
    await follow('Get one table back');
    expect(await orders()).toBe('1000 rows');
    expect(await databases()).not.toContain('mastertrade_check');
  });

  it('takes a restore back', async () => {
    await cluster.sql('DELETE FROM public.orders WHERE id > 10', 'mastertrade');
    const restored = await bench.run('restore_backup', ['--latest', 'mastertrade', '--force']);
    expect(restored.status, restored.stderr).toBe(0);
    await follow('Take a restore back');
    expect(await orders()).toBe('10 rows');
  });

  it('goes on after half a restore', async () => {
    const left = restoringName('mastertrade', new Date('2026-11-20T03:00:00Z'));
    await cluster.sql(`CREATE DATABASE ${quoted(left)}`);
    const [outcome] = await follow('Half a restore');
    expect(outcome?.status).toBe(0);
    expect(await orders()).toBe('1000 rows');
  });

  it('does without the space, and brings the safety backup back', async () => {
    await cluster.sql('DELETE FROM public.orders WHERE id > 20', 'mastertrade');
    const [inPlace, back] = runbook.take('Without the space');
    const replaced = await typeLines(inPlace ?? []);
    expect(replaced.status, replaced.stderr).toBe(0);
    expect(await orders()).toBe('1000 rows');
    const undone = await typeLines(back ?? []);
    expect(undone.status, undone.stderr).toBe(0);
    expect(await orders()).toBe('20 rows');
  });

  it('restores a file of another tool', async () => {
    await shell('pg_dump mastertrade | gzip >mastertrade.sql.gz', bench.folder, bench);
    await dropOrders();
    await follow('A file of another tool');
    expect(await orders()).toBe('20 rows');
  });

  it('does without Holdfast', async () => {
    await follow('Without Holdfast');
    expect(await orders('mastertrade_copy')).toBe('1000 rows');
  });

  it('cleans up afterwards', async () => {
    expect((await databases()).some((name) => name.startsWith('mastertrade__before_'))).toBe(true);
    await follow('Afterwards');
    expect((await databases()).filter((name) => name.includes('__'))).toEqual([]);
    expect(await orders()).toBe('20 rows');
  });

  it('restores onto a new machine', async () => {
    const machine = await startTestCluster();
    const other = await openWorkbench(machine);
    try {
      const [bootstrap, copy, restore] = runbook.take('Restore onto a new machine');
      // test/container/quickstart.test.ts runs the first on a bare machine; the folder with its
      // owner takes root, and .env would be this checkout's.
      expect(bootstrap).toEqual(['cd /opt/holdfast && sh scripts/bootstrap.sh --postgres']);
      expect(copy?.filter((line) => !/^(scripts\/|cp )/.test(line))).toEqual([
        'install --directory --owner=postgres --mode=0700 /var/backups/holdfast',
        'echo BACKUP_DIR=/var/backups/holdfast > .env',
      ]);
      await mkdir(other.repository, { mode: 0o700 });
      await cp(bench.repository, other.repository, { recursive: true, preserveTimestamps: true });
      const checked = await typeLines(['scripts/doctor.ts'], { bench: other });
      expect(checked.stderr + checked.stdout).toContain('PostgreSQL');
      const outcome = await typeLines(restore ?? [], { bench: other });
      expect(outcome.status, outcome.stderr).toBe(0);
      const [row] = await machine.sql(
        `SELECT pg_catalog.pg_get_userbyid(datdba) AS owner FROM pg_database
          WHERE datname = 'mastertrade'`,
      );
      expect(row?.owner).toBe('trader');
    } finally {
      await machine.stop({ immediate: true });
      await other.remove();
    }
  });

  it('saves what a damaged backup still holds', async () => {
    const { databases: taken } = jsonOf<{ databases: { label: string; folder: string }[] }>(
      await bench.run('backup_full', ['mastertrade', '--json']),
    );
    const [{ label, folder } = { label: '', folder: '' }] = taken;
    const dump = join(bench.repository, folder, 'database.dump.zst');
    await writeFile(dump, flipped(await readFile(dump)));
    const [lines = []] = runbook.take('When every backup is damaged');
    const verified = await typeLines(lines.slice(0, 1));
    expect(verified.status).toBe(4);
    expect(verified.stdout + verified.stderr).toContain(label);
    const before = await orders();
    const saved = await typeLines(lines.slice(1), { bench, label });
    expect([3, 4]).toContain(saved.status);
    expect(await orders()).toBe(before);
  });

  it('was typed whole: no section is left out', () => {
    expect(runbook.left()).toEqual(['# The worst day']);
  });
});
