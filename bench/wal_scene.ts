/** A server with segments of WAL as pgbench makes them, and a copy of it from before. */

import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { requireLsn, segmentName, segmentNumber } from '../src/core/lsn.ts';
import { shellQuote } from '../src/core/quote.ts';
import { startScratchCluster } from '../src/postgres/cluster.ts';
import { archivingSettings, openPhysical, type Physical } from './physical.ts';
import type { Scene } from './scene.ts';

const segmentsAtScale1 = 200;
const segmentsMin = 3;
/** Of pgbench at scale 1: some 300 MB, more than the server's buffers. */
const pgbenchAtScale1 = 20;
/** With less there are too few pages that are written whole, and WAL grows slowly. */
const pgbenchMin = 6;
const segmentBytes = 16 * 1024 * 1024;
const load = '--builtin=simple-update --protocol=prepared --no-vacuum --client=8 --jobs=2';
/** pgbench runs for so long, again and again, until there is enough. */
const turnSeconds = 2;

/** pgbench fills its rows with blanks, which flatter every compressor. */
const randomFiller = [
  'UPDATE pgbench_accounts SET filler = md5(aid::text) || md5((-aid)::text)',
  'VACUUM FULL pgbench_accounts',
];

/** What archiving and recovery are measured with. */
export interface WalScene {
  readonly physical: Physical;
  /** Names of the segments, oldest first, all of them in `pg_wal`. */
  readonly segments: readonly string[];
  /** A data directory from the beginning of the first of them, with nothing in its `pg_wal`. */
  readonly copy: string;
  /** `archive_status` of the server. */
  readonly statusFolder: string;
  close(): Promise<void>;
}

/** Nothing is removed from `pg_wal`, and nothing happens but what is measured. */
const settings: Readonly<Record<string, string>> = {
  ...archivingSettings,
  wal_keep_size: '16GB',
  checkpoint_timeout: '1h',
  autovacuum: 'off',
  synchronous_commit: 'off',
};

/** Makes so many segments, and the copy. @returns their names */
async function fill(physical: Physical, copy: string, scale: number): Promise<string[]> {
  const { cluster, asServer } = physical;
  const pgbench = shellQuote(join(cluster.binDirectory, 'pgbench'));
  const part = Math.min(1, scale);
  const count = Math.max(segmentsMin, Math.round(segmentsAtScale1 * part));
  const size = Math.max(pgbenchMin, Math.round(pgbenchAtScale1 * part));
  await physical.prepare(`${pgbench} --initialize --quiet --scale=${size} postgres`);
  await physical.sql(...randomFiller, 'CHECKPOINT', 'SELECT pg_switch_wal()');
  const start = await physical.value('SELECT pg_current_wal_lsn()::text');
  const into = `--pgdata=${shellQuote(copy)}`;
  await physical.prepare(
    asServer(`pg_basebackup ${into} --wal-method=none --checkpoint=fast --no-sync`),
  );
  const written = `SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '${start}')`;
  while (Number(await physical.value(written)) < (count + 1) * segmentBytes) {
    // Pages are written whole when they are first touched after a checkpoint: most of what a busy
    // server's WAL consists of.
    await physical.sql('CHECKPOINT');
    await physical.prepare(`${pgbench} ${load} --time=${turnSeconds} postgres`);
  }
  await physical.sql('SELECT pg_switch_wal()', 'CHECKPOINT');
  const first = segmentNumber(requireLsn(start), segmentBytes);
  return Array.from({ length: count }, (_, at) => segmentName(1, first + BigInt(at), segmentBytes));
}

/** Starts the server and makes its WAL. @param name of the folder below the scene's */
export async function openWalScene(scene: Scene, name: string, scale: number): Promise<WalScene> {
  const { signal } = scene;
  const environment = { PATH: scene.environment.PATH ?? '' };
  const cluster = await startScratchCluster({ environment, signal, settings });
  try {
    const physical = await openPhysical(scene, cluster, name);
    await physical.archiveWith('true');
    const copy = join(physical.folder, 'copy');
    const segments = await fill(physical, copy, scale);
    return {
      physical,
      segments,
      copy,
      statusFolder: join(cluster.dataDirectory, 'pg_wal', 'archive_status'),
      async close() {
        await rm(physical.folder, { recursive: true, force: true });
        await cluster.stop({ immediate: true });
      },
    };
  } catch (error) {
    await cluster.stop({ immediate: true });
    throw error;
  }
}

/** Lets the server believe that it has archived none of the segments. */
export async function makeReady({ segments, statusFolder }: WalScene): Promise<void> {
  for (const name of segments) {
    const path = join(statusFolder, name);
    await rename(`${path}.done`, `${path}.ready`);
  }
}
