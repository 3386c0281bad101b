/** The disk of a restored cluster fills: while files are written, and while the WAL is replayed. */

import { link, mkdir, readdir, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openPitrBench, type PitrBench } from '../support/pitr_bench.ts';
import { fillUp, freeBytesOf, mountSmall, unmountAll } from '../support/small_disk.ts';

const mebi = 1024 * 1024;
let bench: PitrBench;
let disk: string;
let pgdata: string;
let large: string;

const start = () => ['--start', '--port', String(bench.pitrPort)];
const rows = () => bench.psql(pgdata, 'SELECT count(*) FROM large');

beforeAll(async () => {
  bench = await openPitrBench(5444);
  const { cluster } = bench;
  await cluster.sql([
    'CREATE TABLE large AS SELECT i, repeat($$x$$, 900) AS pad FROM generate_series(1, 40000) i',
    'VACUUM (FREEZE) large',
    'CHECKPOINT',
  ]);
  const [row] = await cluster.sql("SELECT pg_relation_filepath('large') AS path");
  large = String(row?.path);
  await bench.takeBase();
  for (let round = 0; round < 3; round += 1) {
    await cluster.sql('UPDATE large SET i = i WHERE i % 3 = 0');
    await bench.switchSegment();
  }
  await bench.handOver();
  disk = join(bench.folder, 'disk');
  await mkdir(disk);
  mountSmall(disk, 400 * mebi, cluster.osUser);
  pgdata = join(disk, 'data');
}, 300_000);

afterAll(async () => {
  if (pgdata !== undefined) {
    await bench.program('pg_ctl', '-D', pgdata, '-m', 'immediate', 'stop');
  }
  unmountAll();
  await bench?.close();
});

describe('a full disk', () => {
  it('that is full before anything begins is told, and nothing is written', async () => {
    const free = fillUp(disk, 20 * mebi);
    const refused = await bench.refused(pgdata);
    expect([refused.status, refused.code]).toEqual([3, 'NO_SPACE']);
    expect(await readdir(disk)).not.toContain('data');
    free();
  }, 300_000);

  it('while the WAL is replayed stops the server, which goes on when there is room', async () => {
    const plan = await bench.restore(pgdata);
    expect(plan.status, plan.stderr).toBe(0);
    await rm(pgdata, { recursive: true });
    const before = freeBytesOf(disk);
    await bench.restore(pgdata);
    const used = before - freeBytesOf(disk);
    await rm(pgdata, { recursive: true });
    // Room for the files, and for no more than a segment of the WAL.
    const free = fillUp(disk, used + 10 * mebi);
    const stopped = await bench.refused(pgdata, ...start());
    expect([stopped.status, stopped.code], stopped.message).toEqual([3, 'NO_SPACE']);
    expect(stopped.hint).toMatch(/pg_ctl'? --pgdata \. start/);
    free();
    const again = await bench.restore(pgdata, '--delta', '--force', ...start());
    expect(again.status, again.stderr).toBe(0);
    expect(await rows()).toBe('40000');
    await bench.stop(pgdata);
  }, 300_000);

  it('while files are written leaves no cluster, and the next run goes on', async () => {
    await utimes(join(pgdata, large), 0, 0);
    // A name that stays keeps the room of what is removed.
    const wal = await readdir(join(pgdata, 'pg_wal'));
    const segments = wal.filter((name) => /^[0-9A-F]{24}$/.test(name));
    for (const [at, path] of [large, ...segments.map((name) => `pg_wal/${name}`)].entries()) {
      await link(join(pgdata, path), join(disk, `stays ${at}`));
    }
    const free = fillUp(disk, 10 * mebi);
    const full = await bench.refused(pgdata, '--delta', '--force');
    expect([full.status, full.code], full.message).toEqual([3, 'NO_SPACE']);
    const control = stat(join(pgdata, 'global', 'pg_control'));
    await expect(control).rejects.toThrow('ENOENT');
    expect(await readdir(pgdata)).toContain('holdfast_restore_unfinished');
    free();
    const again = await bench.restore(pgdata, '--delta', '--force', ...start());
    expect(again.status, again.stderr).toBe(0);
    expect(await rows()).toBe('40000');
  }, 300_000);
});
