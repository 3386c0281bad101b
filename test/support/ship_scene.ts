/** A server that archives its WAL, and the helper that stores it ahead. */

import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { parseSums, sha256Of } from '../../src/core/sums.ts';
import type { ShipResult } from '../../src/operations/archiving/wal_ship.ts';
import { findProgram } from '../../src/process/find_program.ts';
import type { DataChild } from '../../src/process/stream.ts';
import { type ArchivingBench, openArchivingBench, waitFor } from './archiving_bench.ts';
import { type TestCluster, testEnvironment } from './cluster.ts';
import { type Outcome, spawnCommand } from './command.ts';
import { until } from './fault.ts';
import { jsonOf } from './workbench.ts';

export interface ShipScene {
  readonly bench: ArchivingBench;
  /** The folder of the markers. */
  readonly markers: string;
  /** Keeps the server's archiver from its hook, so that WAL waits; or lets it call. */
  hold(isHeld: boolean): Promise<void>;
  /** Writes so many segments. @returns their names */
  fill(segments: number): Promise<string[]>;
  /** The names of the files that wait. */
  waiting(): Promise<string[]>;
  /** Waits until nothing waits, with the archiver at work. */
  archived(): Promise<void>;
  /** How often a hook has compressed something by itself. */
  compressions(): Promise<number>;
  once(...flags: string[]): Promise<Outcome & { readonly result: ShipResult }>;
  /** Starts the resident helper, and waits until it says that it works. */
  start(...flags: string[]): Promise<DataChild>;
  /** Ends the helpers that a test has left. */
  endAll(): Promise<void>;
  /**
   * The names of the segments on timeline 1, each of which was read whole and compared.
   *
   * @param mayLackDigest of those that were stored just before a kill
   */
  verified(mayLackDigest?: boolean): Promise<string[]>;
  /** What was begun in the archive and never finished. */
  unfinished(): Promise<string[]>;
}

const segmentMb = 1;

/** Installs the hook with a zstd that tells of every compression. @returns where it does */
async function installTelling(bench: ArchivingBench): Promise<string> {
  const programs = join(bench.folder, 'programs');
  const calls = join(bench.folder, 'calls');
  await mkdir(programs, { mode: 0o755 });
  const zstd = await findProgram('zstd', testEnvironment);
  const told = `#!/bin/sh\ncase $1 in --compress) echo x >>'${calls}' ;; esac\nexec ${zstd} "$@"\n`;
  await writeFile(join(programs, 'zstd'), told);
  await chmod(join(programs, 'zstd'), 0o755);
  await writeFile(calls, '');
  await chmod(calls, 0o666);
  const path = { PATH: `${programs}:${testEnvironment.PATH}` };
  const installed = await bench.setup(['install', '--yes'], path);
  if (installed.status !== 0) throw new Error(installed.stderr);
  return calls;
}

async function fillSegments(cluster: TestCluster, segments: number): Promise<string[]> {
  const names: string[] = [];
  await cluster.sql('CREATE TABLE IF NOT EXISTS load (n int, note text)');
  for (let count = 0; count < segments; count += 1) {
    const [row] = await cluster.sql([
      'INSERT INTO load SELECT n, md5(random()::text) FROM generate_series(1, 1500) n',
      'SELECT pg_walfile_name(pg_switch_wal()) AS name',
    ]);
    names.push(String(row?.name));
  }
  return names;
}

/** Reads every segment of the archive and compares it with the server's, which has them all. */
async function verifySegments(
  { archive, cluster }: ArchivingBench,
  mayLackDigest: boolean,
): Promise<string[]> {
  const below = join(archive, '00000001');
  const names: string[] = [];
  for (const file of (await readdir(below)).sort()) {
    if (!file.endsWith('.zst')) continue;
    const name = file.slice(0, -4);
    const plain = zstdDecompressSync(await readFile(join(below, file)));
    const digest = readFile(join(below, `${name}.sha256`), 'utf8');
    const [sum] = parseSums(await digest.catch(() => ''));
    const isDigestRight = sum === undefined ? mayLackDigest : sum.sha256 === sha256Of(plain);
    const own = await readFile(join(cluster.dataDirectory, 'pg_wal', name));
    if (!isDigestRight || !own.equals(plain)) throw new Error(`${name} differs`);
    names.push(name);
  }
  return names;
}

/** Opens one whose hook tells of every compression of its own. */
export async function openShipScene(): Promise<ShipScene> {
  const settings = {
    archive_mode: 'on',
    wal_level: 'replica',
    wal_keep_size: '1GB',
    max_wal_size: '1GB',
  };
  const bench = await openArchivingBench(settings, { walSegmentMb: segmentMb });
  const { cluster, repository, archive, environment } = bench;
  const calls = await installTelling(bench);
  const [{ archive_command: hook } = {}] = await cluster.sql('SHOW archive_command');
  const statusFolder = join(cluster.dataDirectory, 'pg_wal', 'archive_status');

  const helpers = new Set<DataChild>();
  const scene: ShipScene = {
    bench,
    async endAll() {
      await Promise.all([...helpers].map((helper) => helper.end()));
      helpers.clear();
    },
    markers: join(repository, 'state', 'wal_ship', 'main%20cluster'),
    async hold(isHeld) {
      const value = isHeld ? 'false' : String(hook);
      await cluster.sql([
        `ALTER SYSTEM SET archive_command = '${value.replaceAll("'", "''")}'`,
        'SELECT pg_reload_conf()',
      ]);
      await waitFor('the setting', async () => {
        const [row] = await cluster.sql('SHOW archive_command');
        return row?.archive_command === value;
      });
    },
    fill: (segments) => fillSegments(cluster, segments),
    async waiting() {
      const names = await readdir(statusFolder);
      return names.flatMap((name) => (name.endsWith('.ready') ? [name.slice(0, -6)] : []));
    },
    async archived() {
      await waitFor('everything is archived', async () => (await scene.waiting()).length === 0);
    },
    compressions: async () => (await readFile(calls, 'utf8')).length / 2,
    async once(...flags) {
      const outcome = await bench.run('wal_ship', ['--once', '--json', ...flags]);
      return { ...outcome, result: jsonOf<ShipResult>(outcome) };
    },
    async start(...flags) {
      const child = spawnCommand('wal_ship', flags, { environment });
      child.stdout.resume();
      helpers.add(child);
      await until(
        'the helper works',
        () => child.stderrTail().includes('storing WAL') || null,
        120_000,
      );
      return child;
    },
    verified: (mayLackDigest = false) => verifySegments(bench, mayLackDigest),
    async unfinished() {
      const all = await readdir(archive, { recursive: true });
      return all.filter((name) => /\.(tmp|partial)$/.test(name));
    },
  };
  return scene;
}

/** Ends a resident helper as systemd does. @returns its status */
export async function endHelper(child: DataChild): Promise<number | null> {
  process.kill(Number(child.pid), 'SIGTERM');
  return (await child.exited).status;
}
