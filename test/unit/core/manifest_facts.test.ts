import { describe, expect, it } from 'vitest';
import { manifestFacts } from '../../../src/core/manifest_facts.ts';
import { sampleManifest } from '../../support/sample_backup.ts';

describe('the facts of a manifest', () => {
  it('are its sums, and as few for a million tables as for two', () => {
    const manifest = sampleManifest();
    const stored = manifest.files.reduce((sum, file) => sum + file.stored.bytes, 0);
    expect(manifestFacts(manifest)).toMatchObject({
      tier: 'daily',
      startedAt: manifest.started_at,
      storedBytes: stored,
      databaseBytes: 8_000_000,
      tables: 2,
      rows: 40,
      readBack: 'stored',
      isSafety: false,
      warnings: ['only 12 GB are free'],
    });
    const table = { schema: 'a', name: 'b', rows: 1, bytes: 2, sha256: 'c'.repeat(64) };
    const many = { ...manifest, tables: Array.from({ length: 1000 }, () => table) };
    expect(manifestFacts(many)).toMatchObject({ tables: 1000, rows: 1000 });
    expect(JSON.stringify(manifestFacts(many)).length).toBeLessThan(500);
  });

  it('give the size of the dump, and which bytes that counts', () => {
    const { files } = sampleManifest();
    const dump = files[0];
    expect(manifestFacts(sampleManifest())).toMatchObject({
      dumpBytes: dump?.plain?.bytes,
      dumpKind: 'plain',
    });
    const unread = files.map((file) => ({ ...file, plain: null }));
    expect(manifestFacts(sampleManifest({ manifest: { files: unread } }))).toMatchObject({
      dumpBytes: dump?.stored.bytes,
      dumpKind: 'zstd-3',
    });
  });

  it('say of a dump that could not be counted that nobody knows', () => {
    const manifest = sampleManifest({ manifest: { tables: null, large_objects: null } });
    expect(manifestFacts(manifest)).toMatchObject({ tables: null, rows: null });
  });
});
