import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type LogFileOptions, openLogFile } from '../../../src/process/log_file.ts';

let folder: string;
let directory: string;
let failures: Error[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-log-'));
  directory = join(folder, 'repository', 'logs');
  failures = [];
});
afterEach(() => rm(folder, { recursive: true }));

function open(options: Partial<LogFileOptions> = {}) {
  return openLogFile({
    directory,
    command: 'backup_full.ts',
    runId: 'run-1',
    host: 'db1',
    now: new Date('2026-11-21T02:00:00Z'),
    keepDays: 30,
    bytesMax: 10_000_000,
    onFailure: (error) => failures.push(error),
    ...options,
  });
}

async function linesOf(name: string): Promise<Record<string, unknown>[]> {
  const text = await readFile(join(directory, name), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('the log of a run', () => {
  it('is one line of JSON for each event, there when it was written, with the run in it', async () => {
    const log = open();
    log.write('info', 'begins', { arguments: ['a\nb', '🐘'] });
    log.write('warn', 'little space');
    log.write('error', 'failed', { code: 'NO_SPACE' });
    const lines = await linesOf('holdfast-20261121.jsonl');
    const common = { run: 'run-1', command: 'backup_full.ts', host: 'db1', pid: process.pid };
    expect(lines).toMatchObject([
      { ...common, level: 'info', msg: 'begins', arguments: ['a\nb', '🐘'] },
      { ...common, level: 'warn', msg: 'little space' },
      { ...common, level: 'error', msg: 'failed', code: 'NO_SPACE' },
    ]);
    for (const { time } of lines) expect(time).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  it('is for its owner alone, also where the file was open to others before', async () => {
    open().write('info', 'one');
    const path = join(directory, 'holdfast-20261121.jsonl');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
    await chmod(path, 0o644);
    open().write('info', 'two');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await linesOf('holdfast-20261121.jsonl')).toHaveLength(2);
  });

  it('is shared by runs of the same day, whose lines do not mix', async () => {
    const logs = Array.from({ length: 5 }, (_, number) => open({ runId: `run-${number}` }));
    const long = 'x'.repeat(20_000);
    for (let round = 0; round < 20; round += 1) {
      for (const log of logs) log.write('info', long, { round });
    }
    const lines = await linesOf('holdfast-20261121.jsonl');
    expect(lines).toHaveLength(100);
    expect(new Set(lines.map(({ run }) => run)).size).toBe(5);
  });
});

describe('the files of the log', () => {
  it('are one a day, and a new one when it has grown to the limit', async () => {
    const bytesMax = 2000;
    open({ bytesMax }).write('info', 'x'.repeat(1500));
    open({ bytesMax }).write('info', 'y'.repeat(500));
    expect(await readdir(directory)).toEqual(['holdfast-20261121.jsonl']);
    open({ bytesMax }).write('info', 'z'.repeat(2000));
    open({ bytesMax }).write('info', 'next');
    open({ bytesMax }).write('info', 'still there');
    open({ bytesMax, now: new Date('2026-11-22T00:00:00Z') }).write('info', 'another day');
    expect((await readdir(directory)).sort()).toEqual([
      'holdfast-20261121.1.jsonl',
      'holdfast-20261121.2.jsonl',
      'holdfast-20261121.jsonl',
      'holdfast-20261122.jsonl',
    ]);
    const last = await linesOf('holdfast-20261121.2.jsonl');
    expect(last.map(({ msg }) => msg)).toEqual(['next', 'still there']);
  });

  it('are removed after their days; what is no log file of ours stays', async () => {
    open({ now: new Date('2026-11-10T23:59:59Z') }).write('info', 'old');
    open({ now: new Date('2026-11-14T00:00:00Z') }).write('info', 'seven days ago');
    const others = ['notes.txt', 'holdfast-2026.jsonl', 'holdfast-20200101.jsonl.gz'];
    for (const name of others) await writeFile(join(directory, name), 'mine');
    open({ keepDays: 7 }).write('info', 'today');
    expect((await readdir(directory)).sort()).toEqual(
      [...others, 'holdfast-20261114.jsonl', 'holdfast-20261121.jsonl'].sort(),
    );
  });

  it('that cannot be opened are told at once: the caller decides', async () => {
    await writeFile(join(folder, 'repository'), 'a file stands in the way');
    expect(() => open()).toThrow(/ENOTDIR|EEXIST/);
  });
});
