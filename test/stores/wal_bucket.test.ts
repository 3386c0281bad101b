/**
 * A server whose WAL is kept in a bucket alone, behind a network that loses and cuts: what the
 * bucket has leaves the machine, and on another machine everything comes back.
 */

import { chown, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench } from '../support/archiving_bench.ts';
import { asServerUser, makeServerFolder } from '../support/base_backup.ts';
import type { CommandName } from '../support/command.ts';
import { createChance } from '../support/fault.ts';
import {
  atRandom,
  type FlakyProxy,
  internalError,
  resetAfter,
  slowDown,
  startFlakyProxy,
} from '../support/flaky_proxy.ts';
import { type S3Server, startS3Server } from '../support/s3_server.ts';
import { jsonOf } from '../support/workbench.ts';

const port = 5478;
let bench: ArchivingBench;
let moto: S3Server;
let proxy: FlakyProxy;
let folder: string;
let environment: Record<string, string>;

beforeAll(async () => {
  const settings = { archive_mode: 'on', wal_level: 'replica' };
  moto = await startS3Server('moto');
  bench = await openArchivingBench(settings, { walSegmentMb: 1 });
  proxy = await startFlakyProxy(moto.endpoint);
  folder = await makeServerFolder(bench.cluster);
  environment = {
    BACKUP_BUCKET: await moto.newBucket(),
    LOCAL_COPY: 'false',
    AWS_ENDPOINT_URL_S3: proxy.endpoint,
    AWS_ACCESS_KEY_ID: moto.accessKeyId,
    AWS_SECRET_ACCESS_KEY: moto.secretAccessKey,
    AWS_REGION: 'us-east-1',
  };
}, 300_000);
afterAll(async () => {
  await proxy?.stop();
  await moto?.stop();
  await bench?.close();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

const run = (name: CommandName, argv: readonly string[], more: Record<string, string> = {}) =>
  bench.run(name, [...argv, '--json'], { ...environment, ...more });

/** What of the archive is still on this machine: segments that have an index have no reason. */
async function leftHere(): Promise<string[]> {
  const names = await readdir(join(bench.archive, '00000001'));
  return names.filter((name) => name.endsWith('.index.json'));
}

it('the WAL goes into the bucket whatever the network does, leaves, and comes back', async () => {
  const { next } = createChance();
  const faults = [slowDown, internalError, resetAfter(1000), { kind: 'lose answer' } as const];
  proxy.setScript(atRandom(0.1, faults, next));
  const installed = await run('setup_archiving', ['install', '--yes']);
  expect(installed.status, installed.stderr).toBe(0);
  await bench.cluster.sql(['CREATE TABLE told (n int)', 'INSERT INTO told VALUES (1)']);
  const taken = await run('backup_incremental', ['--base', 'now', '--no-retention']);
  expect(taken.status, taken.stderr).toBe(0);
  for (const n of [2, 3]) {
    await bench.cluster.sql([`INSERT INTO told VALUES (${n})`, 'SELECT pg_switch_wal()']);
  }
  const moved = await run('backup_incremental', ['--base', 'none', '--no-retention']);
  expect(moved.status, moved.stderr).toBe(0);
  const { segment, stores } = jsonOf<{ segment: string; stores: object[] }>(moved);
  expect(stores).toMatchObject([{ store: 's3', last_segment: segment, gaps: 0, problem: null }]);
  const indexed = await run('wal_ship', ['--index']);
  expect(indexed.status, indexed.stderr).toBe(0);
  const shipped = await run('wal_ship', ['--once']);
  expect(shipped.status, shipped.stderr).toBe(0);
  expect(await leftHere()).toEqual([]);
  proxy.setScript(() => null);

  // Another machine: it has the settings of the bucket and nothing else.
  const elsewhere = join(folder, 'elsewhere');
  await mkdir(elsewhere, { mode: 0o700 });
  const { osUser } = bench.cluster;
  // Whoever owns it runs the command.
  if (osUser !== null) await chown(elsewhere, osUser.uid, osUser.gid);
  const pgdata = join(folder, 'restored');
  const restored = await run(
    'restore_pitr',
    ['--pgdata', pgdata, '--start', '--port', String(port)],
    { BACKUP_DIR: elsewhere },
  );
  expect(restored.status, restored.stderr).toBe(0);
  const { socket } = jsonOf<{ socket: string }>(restored);
  const program = (name: string, ...args: string[]) =>
    asServerUser(bench.cluster, join(bench.cluster.binDirectory, name), args);
  const server = ['-h', socket, '-p', String(port), '-U', 'postgres', '-d', 'postgres'];
  const { stdout } = await program('psql', '-XqAt', ...server, '-c', 'SELECT sum(n) FROM told');
  expect(stdout.trim()).toBe('6');
  await program('pg_ctl', '-D', pgdata, '-m', 'immediate', '-w', 'stop');
});
