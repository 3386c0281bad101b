/** The manifest of a base backup: what it takes, and what contradicts itself. */

import { describe, expect, it } from 'vitest';
import type { BaseManifest } from '../../../src/core/base_manifest.ts';
import { parseBaseManifest, serializeBaseManifest } from '../../../src/core/base_manifest_codec.ts';

const measured = { bytes: 5, sha256: 'a'.repeat(64) };
const file = (name: string, role: BaseManifest['files'][number]['role']) => ({
  name,
  role,
  filters: [],
  stored: measured,
  plain: measured,
});

const manifest: BaseManifest = {
  format: 1,
  label: '20261121T020000Z-base-k3f9',
  kind: 'base',
  parent: null,
  engine: 'postgres',
  tool: { name: 'holdfast', version: '0.1.0' },
  pg_basebackup: { version: '15.18', major: 15 },
  cluster: 'main',
  host: 'db1',
  server: {
    version: '15.18',
    version_num: 150018,
    system_identifier: '7423456789012345678',
    wal_segment_bytes: 16 * 1024 * 1024,
    timeline: 1,
    lsn: '0/2000000',
    in_recovery: false,
  },
  started_at: '2026-11-21T02:00:00.000Z',
  finished_at: '2026-11-21T02:00:09.000Z',
  duration_seconds: 9,
  checkpoint: 'fast',
  start_lsn: '0/2000028',
  start_timeline: 1,
  stop_lsn: '0/2000100',
  stop_timeline: 1,
  wal_ranges: [{ timeline: 1, start_lsn: '0/2000028', end_lsn: '0/2000100' }],
  cluster_bytes: 23_000_000,
  cluster_files: 970,
  tablespaces: [{ oid: 16389, name: 'fast', file: '16389.tar.zst' }],
  page_checksums: true,
  damaged_pages: [],
  files: [
    file('base.tar.zst', 'base'),
    file('16389.tar.zst', 'tablespace'),
    file('backup_manifest', 'backup_manifest'),
    file('config_pg_hba.conf', 'config'),
    file('restore.sh', 'restore_script'),
  ],
  config: [{ file: 'config_pg_hba.conf', setting: 'hba_file', path: 'pg_hba.conf' }],
  warnings: [],
  read_back: { seconds: 1 },
};

describe('the manifest of a base backup', () => {
  it('comes back from its bytes', () => {
    expect(parseBaseManifest(serializeBaseManifest(manifest))).toEqual(manifest);
    const incremental: BaseManifest = {
      ...manifest,
      label: '20261122T020000Z-incr-k3f9',
      kind: 'incr',
      parent: manifest.label,
    };
    expect(parseBaseManifest(serializeBaseManifest(incremental))).toEqual(incremental);
  });

  it.each<[string, Partial<BaseManifest>, string]>([
    [
      'an increment without a parent',
      { kind: 'incr', label: '20261121T020000Z-incr-k3f9' },
      'needs a parent',
    ],
    ['a whole one with a parent', { parent: '20261120T020000Z-base-k3f9' }, 'has a parent'],
    ['a label of another kind', { label: '20261121T020000Z-incr-k3f9' }, 'not of its kind'],
    ['a date that does not exist', { label: '20260230T020000Z-base-k3f9' }, 'is not a label'],
    [
      'a parent that is no older one',
      { kind: 'incr', label: '20261121T020000Z-incr-k3f9', parent: '20261122T020000Z-base-k3f9' },
      'no older one',
    ],
    ['an end before its beginning', { stop_lsn: '0/1000000' }, 'before it begins'],
    ['no archive', { files: manifest.files.slice(2) }, '0 data directories'],
    ['a file twice', { files: [...manifest.files, file('restore.sh', 'restore_script')] }, 'twice'],
    [
      'no list of files',
      { files: manifest.files.filter(({ role }) => role !== 'backup_manifest') },
      'backup_manifest',
    ],
    ['a tablespace without its file', { tablespaces: [] }, 'tablespaces'],
    ['configuration without its file', { config: [] }, 'configuration'],
    ['a file that is a path', { files: [...manifest.files, file('../x', 'config')] }, 'not valid'],
  ])('refuses %s', (_, change, words) => {
    expect(() => serializeBaseManifest({ ...manifest, ...change })).toThrow(words);
  });

  it('refuses a newer format with what to do', () => {
    const newer = Buffer.from(JSON.stringify({ ...manifest, format: 2 }));
    expect(() => parseBaseManifest(newer)).toThrow('has the format 2');
  });
});
