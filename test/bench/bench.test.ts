/** `npm run bench` on a database so small that it says nothing, but for whether it still works. */

import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { databaseStatements } from '../../bench/database.ts';
import { childrenSeconds } from '../../bench/measure.ts';
import {
  describeGroup,
  type Goal,
  type GroupResult,
  goalRows,
  markdownOf,
  median,
  rowsOf,
} from '../../bench/report.ts';
import { projectDir } from '../support/source_tree.ts';

const run = promisify(execFile);
/** It takes some seconds; on a machine with much else to do many times that. */
const timeoutMs = 8 * 60_000;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-test-'));
  // Where root runs this, the servers belong to another user.
  await chmod(folder, 0o755);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function bench(...args: string[]) {
  return run(process.execPath, [join(projectDir, 'bench/run.ts'), ...args], {
    env: { PATH: process.env.PATH, TMPDIR: folder },
    timeout: timeoutMs,
  });
}

const sample = { wall: 1, cpu: 1, serverCpu: 0.5, memory: null, bytes: 10, each: null };
const group: GroupResult = {
  title: 'Backup',
  floor: 'the floor',
  series: [
    { name: 'the floor', samples: [2, 9, 1].map((wall) => ({ ...sample, wall })) },
    { name: 'ours', samples: [3, 3].map((wall) => ({ ...sample, wall, memory: 2e8 })) },
  ],
};

describe('the numbers', () => {
  it('are medians, which one bad round does not move', () => {
    expect(median([2, 900, 1])).toBe(2);
    expect(median([4, 1])).toBe(2.5);
    expect(() => median([])).toThrow(RangeError);
  });

  it('are compared with the floor of the same run', () => {
    expect(rowsOf(group)).toMatchObject([
      { wall: 2, ratio: 1, memory: null },
      { wall: 3, ratio: 1.5, memory: 2e8 },
    ]);
    expect(describeGroup(group)).toMatch(/^ours +3\.00 +1\.50 +1\.00 +0\.50 +10 B +200 MB$/m);
  });

  it('say nothing where a round did not tell', () => {
    const [first] = group.series;
    const samples = [...(first?.samples ?? []), { ...sample, bytes: null }];
    expect(rowsOf({ ...group, series: [{ name: 'the floor', samples }] })[0]?.bytes).toBeNull();
  });

  it("of processors are those of bash's children", () => {
    expect(childrenSeconds('0m0.001s 0m0.002s\n1m2.500s 0m0.250s\n')).toBeCloseTo(62.75);
  });
});

describe('what is aimed at', () => {
  const aimed = (goals: readonly Goal[]) => goalRows({ ...group, goals });

  it('is a part of what another one took', () => {
    const goal = { contender: 'ours', of: 'the floor', key: 'wall', atMost: 1.1 } as const;
    expect(aimed([goal])).toEqual([{ ...goal, measured: 1.5 }]);
    expect(markdownOf({ ...group, goals: [goal] })).toMatch(
      /^\| ours: of the floor \| 1\.10 \| 1\.50 \|$/m,
    );
  });

  it('is not measured where the other one is missing', () => {
    const goal = { contender: 'ours', of: 'pgbackrest', key: 'wall', atMost: 0.7 } as const;
    expect(aimed([goal])).toEqual([{ ...goal, measured: null }]);
  });
});

describe('the bench', () => {
  it(
    'measures side by side, leaves nothing behind, and writes down what it has found',
    async () => {
      const output = join(folder, 'out.json');
      const flags = ['--rounds', '1', '--scale', '0.001', '--output', output];
      const { stdout } = await bench(...flags, 'list', 'backup', 'restore');
      expect(stdout).toMatch(/^pg_dump -Fc -Z0 \| zstd -3 -T0 +\d+\.\d\d +floor +/m);
      expect(stdout).toMatch(/^restore_backup\.ts --jobs 2 +\d+\.\d\d +\d+\.\d\d /m);
      const document = JSON.parse(await readFile(output, 'utf8'));
      const titles = document.groups.map(({ title }: { title: string }) => title);
      expect(titles).toEqual(['List', 'Backup', 'Restore']);
      expect(await readdir(folder)).toEqual(['out.json']);
    },
    timeoutMs,
  );

  it(
    'measures the physical side on servers of its own, with and without its peer',
    async () => {
      const [output, markdown] = [join(folder, 'physical.json'), join(folder, 'physical.md')];
      const flags = ['--rounds', '1', '--scale', '0.001', '--output', output];
      await bench(...flags, '--markdown', markdown, 'base', 'wal', 'replay');
      const tables = await readFile(markdown, 'utf8');
      expect(tables).toMatch(/^\| `backup_incremental\.ts --base now` \| \d+\.\d\d \| /m);
      expect(tables).toMatch(/^\| `restore_pitr\.ts` \| \d+\.\d\d \| /m);
      expect(tables).toMatch(/^\| `wal_push with wal_ship\.ts` \| .* \d+ MB \|$/m);
      expect(tables).toMatch(/^\| `wal_fetch` \| \d+\.\d\d \| /m);
      expect(tables).toMatch(/^\| wal_push: of zstd -1, fsync, rename, each \| 1\.10 \| \d/m);
      expect((await readdir(folder)).sort()).toEqual(['out.json', 'physical.json', 'physical.md']);
    },
    timeoutMs,
  );

  it('refuses a group that it does not know, before it starts a server', async () => {
    await expect(bench('speed')).rejects.toThrow(/"speed" is no group: start, list, backup/);
  });

  it('makes the same database again, and a larger one of the same kind', () => {
    expect(databaseStatements(1)).toEqual(databaseStatements(1));
    expect(databaseStatements(4).length).toBeGreaterThan(databaseStatements(1).length);
  });
});
