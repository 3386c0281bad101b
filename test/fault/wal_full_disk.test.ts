/**
 * The archive's disk is full while the server archives, and a base backup does not find room: the
 * archiver is refused and goes on by itself when there is room, nothing half is left under a name
 * that counts, and what the server could not archive is still there to be recovered.
 *
 * A real full disk, so this needs root: it mounts small tmpfs file systems and unmounts them.
 */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench, waitFor } from '../support/archiving_bench.ts';
import { type Restorers, startRestorers } from '../support/restorers.ts';
import { fillUp, mountSmall, unmountAll } from '../support/small_disk.ts';
import { jsonOf } from '../support/workbench.ts';

let bench: ArchivingBench;
let restorers: Restorers;

beforeAll(async () => {
  const settings = { archive_mode: 'on', wal_level: 'replica', max_connections: '20' };
  bench = await openArchivingBench(settings, { walSegmentMb: 1 });
  const { cluster, repository } = bench;
  mountSmall(repository, 60e6, cluster.osUser);
  const installed = await bench.setup(['install', '--yes']);
  expect(installed.status, installed.stderr).toBe(0);
  await cluster.sql('CREATE TABLE mark (number int)');
  await bench.moveForward('now');
  restorers = await startRestorers(cluster, repository, 1);
}, 180_000);
afterAll(async () => {
  await restorers?.close();
  unmountAll();
  await bench?.close();
});

let marks = 0;

/** A transaction whose bytes no compressor makes smaller, and the end of its segment. */
async function mark(): Promise<string> {
  marks += 1;
  await bench.cluster.sql([
    `INSERT INTO mark VALUES (${marks})`,
    "SELECT pg_logical_emit_message(false, 'x', string_agg(gen_random_uuid()::text, '')) " +
      'FROM generate_series(1, 8000)',
  ]);
  const [row] = await bench.cluster.sql('SELECT pg_walfile_name(pg_switch_wal()) AS name');
  return String(row?.name);
}

async function archiver(): Promise<{ failed: number; archived: string }> {
  const [row] = await bench.cluster.sql(
    'SELECT failed_count::int AS failed, last_archived_wal AS archived FROM pg_stat_archiver',
  );
  return row as { failed: number; archived: string };
}

const filesOf = (folder: string) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

async function expectSound(): Promise<void> {
  const verified = await bench.run('verify_backups', ['--wal', '--json']);
  const { archives } = jsonOf<{ archives: { findings: object[] }[] }>(verified);
  expect([verified.status, archives[0]?.findings]).toEqual([0, []]);
  const bases = await bench.run('verify_backups', ['--all']);
  expect(bases.status, bases.stderr).toBe(0);
}

async function recovered(): Promise<unknown[]> {
  return restorers.recover([], async ({ rows }) => {
    return (await rows('SELECT number FROM mark ORDER BY number')).map(({ number }) => number);
  });
}

const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);

describe('the disk of the archive is full', () => {
  it.each([0, 4096, 150_000])(
    'with %i bytes left: nothing half, and it goes on by itself when there is room',
    async (leave) => {
      const free = fillUp(bench.repository, leave);
      const before = await archiver();
      const first = await mark();
      const second = await mark();
      await waitFor('the archiver is refused', async () => {
        return (await archiver()).failed >= before.failed + 2;
      });
      expect(filesOf(bench.archive).filter((name) => name.includes(first))).toEqual([]);
      const status = await bench.setup(['status']);
      expect([status.status, status.json.failure]).toEqual([
        3,
        expect.stringContaining('is the disk full?'),
      ]);
      await expectSound();
      free();
      // After three failures the archiver rests for a minute, unless there is more to archive.
      const third = await mark();
      await waitFor('it goes on', async () => (await archiver()).archived === third);
      for (const segment of [first, second, third]) {
        expect(
          filesOf(bench.archive).filter((name) => name.endsWith(`${segment}.zst`)),
        ).toHaveLength(1);
      }
      expect(filesOf(bench.archive).filter((name) => name.endsWith('.tmp'))).toEqual([]);
      await expectSound();
    },
  );

  it('loses nothing, and backup_incremental.ts says what is wrong meanwhile', async () => {
    const free = fillUp(bench.repository, 0);
    await mark();
    const moved = await bench.run('backup_incremental', ['--base', 'none', '--json']);
    expect(moved.status, moved.stderr).toBe(3);
    expect(moved.stderr).toContain('is the disk full?');
    free();
    await bench.moveForward('none');
    expect(await recovered()).toEqual(upTo(marks));
  });
});

describe('a base backup onto a full disk', () => {
  it('is none, leaves nothing that looks like one, and the next one needs nobody', async () => {
    const bases = join(bench.archive, '../base');
    const before = readdirSync(bases);
    for (const leave of [1_200_000, 2_000_000, 2_700_000]) {
      const free = fillUp(bench.repository, leave);
      const failed = await bench.run('backup_incremental', ['--base', 'now', '--json']);
      free();
      expect(failed.status, failed.stderr).toBe(3);
      expect(jsonOf<{ error: { code: string } }>(failed).error.code).toBe('NO_SPACE');
      expect(readdirSync(bases)).toEqual(before);
      const listed = await bench.run('list_backups', ['--json']);
      expect(jsonOf(listed)).toMatchObject({ unfinished_base_backups: [] });
      await expectSound();
    }
    await bench.moveForward('now');
    expect(readdirSync(bases)).toHaveLength(before.length + 1);
    expect(await recovered()).toEqual(upTo(marks));
  });
});
