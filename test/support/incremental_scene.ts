/** A repository with base backups and WAL of any age, made by hand. */

import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { baseBackupFolder, baseFolder } from '../../src/catalog/base_catalog.ts';
import { createCatalog } from '../../src/catalog/catalog.ts';
import { openRepository, type Repository } from '../../src/catalog/repository.ts';
import { walFolder } from '../../src/catalog/wal_archive.ts';
import type { BaseManifest } from '../../src/core/base_manifest.ts';
import { serializeBaseManifest } from '../../src/core/base_manifest_codec.ts';
import { makeLabel } from '../../src/core/label.ts';
import { formatLsn, segmentName } from '../../src/core/lsn.ts';
import { formatSums, sha256Of, sumsOf } from '../../src/core/sums.ts';
import type { RepositoryContext } from '../../src/operations/context.ts';
import { fileMode, folderMode } from '../../src/process/durable.ts';
import { dayMs } from './retention_scene.ts';
import { sampleContext } from './sample_backup.ts';
import { sampleSegment, sampleSystemIdentifier } from './wal_segment.ts';

export interface BaseWish {
  /** In which it begins and ends. */
  readonly segment: number;
  readonly timeline?: number;
  /** Makes it an incremental one. */
  readonly parent?: string;
  readonly damagedPages?: readonly string[];
  readonly systemIdentifier?: string;
}

export interface IncrementalScene {
  readonly repository: Repository;
  readonly now: Date;
  context(at?: Date): RepositoryContext;
  /** Writes a base backup that began so many days before `now`. @returns its label */
  base(ageDays: number, wish: BaseWish): Promise<string>;
  /** Writes segments that came into the archive so many days before `now`, one a `stepDays`. */
  wal(
    first: number,
    last: number,
    ageDays: number,
    stepDays: number,
    timeline?: number,
  ): Promise<void>;
  /** Writes a file into the archive. @param path within it */
  put(path: string, text: string, ageDays: number): Promise<void>;
  /** What there is now: labels, names of segments. */
  labels(): Promise<string[]>;
  segments(timeline?: number): Promise<string[]>;
  /** Every file below the archive. */
  walFiles(): Promise<string[]>;
  close(): Promise<void>;
}

/** A name that nobody escapes for us. */
export const sceneCluster = `main 'x' $(id) é`;
const sceneSegmentBytes = 1024 * 1024;

export const nameOf = (number: number, timeline = 1) =>
  segmentName(timeline, BigInt(number), sceneSegmentBytes);

const settings = {
  threads: 1,
  retention_days: null,
  retention_daily: 7,
  retention_weekly: 3,
  retention_monthly: 2,
  wal_retention_days: 7,
} as RepositoryContext['config']['settings'];

const archives = {
  'base.tar.zst': zstdCompressSync(Buffer.alloc(1024)),
  backup_manifest: Buffer.from('{}\n'),
  'restore.sh': Buffer.from('#!/bin/sh\n'),
};

function manifestOf(label: string, startedAt: Date, wish: BaseWish): BaseManifest {
  const { timeline = 1, parent = null, damagedPages = [] } = wish;
  const at = (offset: number) => formatLsn(BigInt(wish.segment * sceneSegmentBytes + offset));
  const [start, stop] = [at(0x28), at(0x200)];
  const file = (name: keyof typeof archives, role: BaseManifest['files'][number]['role']) => {
    const measured = { bytes: archives[name].length, sha256: sha256Of(archives[name]) };
    return { name, role, filters: [], stored: measured, plain: measured };
  };
  return {
    format: 1,
    label,
    kind: parent === null ? 'base' : 'incr',
    parent,
    engine: 'postgres',
    tool: { name: 'holdfast', version: '0.1.0' },
    pg_basebackup: { version: '17.2', major: 17 },
    cluster: sceneCluster,
    host: 'db1',
    server: {
      version: '17.2',
      version_num: 170_002,
      system_identifier: wish.systemIdentifier ?? String(sampleSystemIdentifier),
      wal_segment_bytes: sceneSegmentBytes,
      timeline,
      lsn: start,
      in_recovery: false,
    },
    started_at: startedAt.toISOString(),
    finished_at: new Date(startedAt.getTime() + 60_000).toISOString(),
    duration_seconds: 60,
    checkpoint: 'fast',
    start_lsn: start,
    start_timeline: timeline,
    stop_lsn: stop,
    stop_timeline: timeline,
    wal_ranges: [{ timeline, start_lsn: start, end_lsn: stop }],
    cluster_bytes: 1024,
    cluster_files: 1,
    tablespaces: [],
    page_checksums: true,
    damaged_pages: [...damagedPages],
    files: [
      file('base.tar.zst', 'base'),
      file('backup_manifest', 'backup_manifest'),
      file('restore.sh', 'restore_script'),
    ],
    config: [],
    warnings: [],
    read_back: { seconds: 1 },
  };
}

/** Opens a scene in a private folder. @param now a Wednesday unless told */
export async function openIncrementalScene(
  now = new Date('2031-05-14T12:00:00.000Z'),
): Promise<IncrementalScene> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-incremental-'));
  const repository = await openRepository(join(folder, 'repository'), { create: true, now });
  const { storage, root } = repository;
  const catalog = createCatalog(storage);
  const config = { settings } as RepositoryContext['config'];
  const archive = join(root, walFolder(sceneCluster));
  const before = (ageDays: number) => new Date(now.getTime() - ageDays * dayMs);
  let serial = 0;

  /** Not as a store does it: nobody waits here for the disk. */
  async function put(path: string, bytes: string | Uint8Array, ageDays: number): Promise<void> {
    const file = join(archive, path);
    await mkdir(dirname(file), { recursive: true, mode: folderMode });
    await writeFile(file, bytes, { mode: fileMode });
    await utimes(file, before(ageDays), before(ageDays));
  }

  return {
    repository,
    now,
    context: (at = now) =>
      sampleContext(repository, catalog, { config, clock: () => at, runId: `run-${++serial}` }),
    async base(ageDays, wish) {
      serial += 1;
      const startedAt = before(ageDays);
      const kind = wish.parent === undefined ? 'base' : 'incr';
      const random = Uint8Array.from([serial % 36, Math.floor(serial / 36) % 36, 0, 0]);
      const label = makeLabel(startedAt, kind, random);
      const manifest = manifestOf(label, startedAt, wish);
      const place = join(root, baseBackupFolder(sceneCluster, label));
      await mkdir(place, { recursive: true, mode: folderMode });
      const bytes = serializeBaseManifest(manifest);
      const sums = Buffer.from(sumsOf(manifest, bytes));
      const files = { ...archives, SHA256SUMS: sums, 'manifest.json': bytes };
      for (const [name, content] of Object.entries(files)) {
        await writeFile(join(place, name), content, { mode: fileMode });
      }
      return label;
    },
    async wal(first, last, ageDays, stepDays, timeline = 1) {
      for (let number = first; number <= last; number += 1) {
        const name = nameOf(number, timeline);
        const wish = { number: BigInt(number), segmentBytes: sceneSegmentBytes, timeline };
        const plain = sampleSegment(wish);
        const age = ageDays - (number - first) * stepDays;
        const path = `${name.slice(0, 8)}/${name}`;
        await put(`${path}.zst`, zstdCompressSync(plain), age);
        await put(`${path}.sha256`, formatSums([{ name, sha256: sha256Of(plain) }]), age);
      }
    },
    put,
    async labels() {
      return [...(await storage.children(baseFolder(sceneCluster)))];
    },
    async segments(timeline = 1) {
      const name = timeline.toString(16).toUpperCase().padStart(8, '0');
      const names = await storage.children(`${walFolder(sceneCluster)}/${name}`);
      return names.filter((each) => each.endsWith('.zst')).map((each) => each.slice(0, -4));
    },
    async walFiles() {
      const all = await readdir(archive, { recursive: true, withFileTypes: true });
      return all.filter((each) => each.isFile()).map(({ name }) => name);
    },
    close: () => rm(folder, { recursive: true, force: true }),
  };
}
