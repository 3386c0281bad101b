/** Small backups made by hand: real files in a real store, without a server. */

import { randomBytes } from 'node:crypto';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import type { Catalog } from '../../src/catalog/catalog.ts';
import { backupFolder, type Repository } from '../../src/catalog/repository.ts';
import type { FilterSpec, Manifest, ManifestFile } from '../../src/core/manifest.ts';
import { serializeManifest } from '../../src/core/manifest_codec.ts';
import { sha256Of, sumsOf } from '../../src/core/sums.ts';
import type { RepositoryContext } from '../../src/operations/context.ts';
import { createArchiveReader } from '../../src/postgres/archive.ts';
import { noProgress } from '../../src/process/progress.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { buildArchive } from './archive_builder.ts';

const large = Array.from({ length: 40 }, (_, row) => `${row}\t${sha256Of(Buffer.from([row]))}\n`);

/** An archive as pg_dump 16 would write it: two tables, one of them empty, and large objects. */
const sampleArchive = buildArchive({
  minor: 15,
  tables: [
    { oid: 16385, schema: 'public', name: 'documents', chunks: [Buffer.from(large.join(''))] },
    { oid: 16390, schema: 'odd "schema"', name: 'new\nline', chunks: [] },
  ],
  largeObjects: [{ oid: 20000, chunks: [Buffer.from('a large object')] }],
}).archive;

const sampleGlobals = Buffer.from('CREATE ROLE app;\nALTER ROLE app WITH LOGIN;\n');
const sampleScript = Buffer.from('#!/bin/sh\nset -eu\nprintf "%s\\n" restores\n');

interface SampleFile {
  readonly file: ManifestFile;
  readonly stored: Buffer;
}

function sampleFile(
  name: string,
  role: ManifestFile['role'],
  filters: readonly FilterSpec[],
  plain: Buffer,
): SampleFile {
  let stored = plain;
  for (const filter of filters) {
    stored = filter.name === 'zstd' ? zstdCompressSync(stored) : gzipSync(stored);
  }
  const measure = (bytes: Buffer) => ({ bytes: bytes.length, sha256: sha256Of(bytes) });
  return {
    file: { name, role, filters: [...filters], stored: measure(stored), plain: measure(plain) },
    stored,
  };
}

function sampleFiles(compression: 'zstd' | 'gzip' | 'none'): SampleFile[] {
  const filters: FilterSpec[] = compression === 'none' ? [] : [{ name: compression, level: 3 }];
  const extension = { zstd: '.zst', gzip: '.gz', none: '' }[compression];
  return [
    sampleFile(`database.dump${extension}`, 'dump', filters, sampleArchive),
    sampleFile(`globals.sql${extension}`, 'globals', filters, sampleGlobals),
    sampleFile('restore.sh', 'restore_script', [], sampleScript),
  ];
}

export interface SampleOptions {
  readonly compression?: 'zstd' | 'gzip' | 'none';
  readonly manifest?: Partial<Manifest>;
}

function readSampleTables(): Pick<Manifest, 'tables' | 'large_objects'> {
  const reader = createArchiveReader();
  reader.update(Buffer.from(sampleArchive));
  const reading = reader.finish();
  const tables = reading.tables.map(({ oid: _oid, ...table }) => table);
  return { tables, large_objects: reading.largeObjects };
}

/** A valid manifest of a backup with {@link sampleArchive} in it. */
export function sampleManifest(options: SampleOptions = {}): Manifest {
  return {
    format: 1,
    label: '20261121T020000Z-daily-k3f9',
    kind: 'full',
    tier: 'daily',
    engine: 'postgres',
    tool: { name: 'holdfast', version: '0.1.0' },
    pg_dump: { version: '16.9', major: 16, archive: '1.15' },
    cluster: 'main',
    host: 'db1',
    database: 'shop',
    server: {
      version: '16.4',
      version_num: 160004,
      system_identifier: '7437896541230987654',
      wal_segment_bytes: 16777216,
      timeline: 1,
      lsn: '0/1A2B3C4D',
      in_recovery: false,
    },
    properties: {
      owner: 'app',
      acl: null,
      connection_limit: -1,
      tablespace: 'pg_default',
      comment: 'ünïcödé',
      is_template: false,
      encoding: 'UTF8',
      locale_provider: 'libc',
      collate: 'C.UTF-8',
      ctype: 'C.UTF-8',
      locale: null,
      icu_rules: null,
      settings: [],
      role_settings: [],
      security_labels: [],
    },
    started_at: '2026-11-21T02:00:00.000Z',
    finished_at: '2026-11-21T02:00:04.250Z',
    duration_seconds: 4.25,
    database_bytes: 8000000,
    files: sampleFiles(options.compression ?? 'zstd').map(({ file }) => file),
    ...readSampleTables(),
    relations: { r: 2, i: 3 },
    warnings: [{ code: 'little-space', message: 'only 12 GB are free' }],
    read_back: { depth: 'stored', seconds: 0.1 },
    ...options.manifest,
  };
}

/** Writes a whole backup into its folder, as a run does. @returns the key of the folder */
export async function writeSampleBackup(
  storage: Storage,
  options: SampleOptions = {},
): Promise<string> {
  const manifest = sampleManifest(options);
  const { cluster, database, label } = manifest;
  const folder = await storage.createFolder(backupFolder(cluster, database, label));
  for (const { file, stored } of sampleFiles(options.compression ?? 'zstd')) {
    await folder.put(file.name, stored);
  }
  const bytes = serializeManifest(manifest);
  await folder.put('SHA256SUMS', Buffer.from(sumsOf(manifest, bytes)));
  await folder.commit('manifest.json', bytes);
  return folder.folder;
}

const silentLog: RepositoryContext['log'] = {
  step: () => undefined,
  detail: () => undefined,
  trace: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  progress: async () => noProgress,
  about: () => silentLog,
  attach: () => undefined,
};

/** What verify and list need of a context. */
export function sampleContext(
  repository: Repository,
  catalog: Catalog,
  overrides: Partial<RepositoryContext> = {},
): RepositoryContext {
  return {
    config: { settings: { threads: 1, allowed_signers: null } } as RepositoryContext['config'],
    log: silentLog,
    runId: 'run-1',
    clock: () => new Date('2026-11-22T10:00:00.000Z'),
    stopwatch: () => performance.now() / 1000,
    randomBytes,
    signal: new AbortController().signal,
    environment: { PATH: '' },
    host: 'db1',
    pid: process.pid,
    toolVersion: '0.1.0',
    repository,
    catalog,
    ...overrides,
  };
}
