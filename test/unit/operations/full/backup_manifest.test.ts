import { describe, expect, it } from 'vitest';
import { parseManifest, serializeManifest } from '../../../../src/core/manifest_codec.ts';
import {
  type BackupFacts,
  buildManifest,
} from '../../../../src/operations/full/backup_manifest.ts';
import type { ArchiveReading } from '../../../../src/postgres/archive.ts';
import { sampleManifest } from '../../../support/sample_backup.ts';

const sample = sampleManifest();
const digest = 'ab'.repeat(32);

const reading: ArchiveReading = {
  problem: null,
  header: {
    version: '1.15',
    compression: 'none',
    createdAt: '2026-11-21T02:00:00',
    databaseName: 'shop',
    serverVersion: '16.4',
    dumpVersion: '16.9',
  },
  tocEntries: 12,
  tables: [
    { oid: 16385, schema: 'public', name: 'plain', rows: 40, bytes: 2600, sha256: digest },
    { oid: 16390, schema: 'public', name: 'part_1', rows: 7, bytes: 100, sha256: digest },
  ],
  largeObjects: null,
  sequences: [],
};

const facts: BackupFacts = {
  label: sample.label,
  tier: sample.tier,
  cluster: sample.cluster,
  host: sample.host,
  toolVersion: '0.1.0',
  pgDump: { path: '/opt/bin/pg_dump', version: '16.9', major: 16, directory: '/opt/bin' },
  server: { ...sample.server, major: 16 },
  database: {
    oid: 16384,
    name: 'shop "x"\n',
    bytes: 8_000_000,
    properties: sample.properties,
    relations: { r: 2, p: 1, i: 3 },
    partitionRoots: new Map([[16390, { schema: 'odd', name: 'whole' }]]),
    extensions: [],
    subscriptions: [],
    logicalSlots: [],
    preparedTransactions: [],
  },
  startedAt: new Date('2026-11-21T02:00:00Z'),
  finishedAt: new Date('2026-11-21T02:00:04.250Z'),
  durationSeconds: 4.250_49,
  files: sample.files,
  reading,
  warnings: [],
  readBack: { depth: 'stored', seconds: 0.1 },
};

describe('the manifest of a backup', () => {
  it('is one that its codec takes, with the facts as they were handed in', () => {
    const manifest = buildManifest(facts);
    expect(parseManifest(serializeManifest(manifest))).toEqual(manifest);
    expect(manifest).toMatchObject({
      database: 'shop "x"\n',
      started_at: '2026-11-21T02:00:00.000Z',
      finished_at: '2026-11-21T02:00:04.250Z',
      duration_seconds: 4.25,
      database_bytes: 8_000_000,
      relations: { r: 2, p: 1, i: 3 },
      pg_dump: { version: '16.9', major: 16, archive: '1.15' },
    });
  });

  it('names for each partition the topmost table, and no numbers of the old server', () => {
    expect(buildManifest(facts).tables).toEqual([
      { schema: 'public', name: 'plain', rows: 40, bytes: 2600, sha256: digest },
      {
        schema: 'public',
        name: 'part_1',
        root: { schema: 'odd', name: 'whole' },
        rows: 7,
        bytes: 100,
        sha256: digest,
      },
    ]);
  });

  it('has no list of tables rather than half of one', () => {
    const problem = { kind: 'not-an-archive', message: 'the archive ends in a table' } as const;
    const broken = { ...reading, problem, header: null };
    const manifest = buildManifest({ ...facts, reading: broken });
    expect(manifest.tables).toBeNull();
    expect(manifest.pg_dump.archive).toBe('unknown');
    expect(() => serializeManifest(manifest)).not.toThrow();
  });
});
