import { describe, expect, it } from 'vitest';
import type { ManifestFile } from '../../../src/core/manifest.ts';
import { totalBytes } from '../../../src/core/manifest_sizes.ts';

function file(name: string, stored: number, plain: number): ManifestFile {
  const sha256 = '0'.repeat(64);
  const measured = { stored: { bytes: stored, sha256 }, plain: { bytes: plain, sha256 } };
  return { name, role: 'dump', filters: [], ...measured };
}

describe('the sizes of a backup', () => {
  it('are those of all its files, stored and plain apart', () => {
    const files = [file('a', 1, 10), file('b', 2, 20), file('c', 0, 300)];
    expect(totalBytes({ files }, 'stored')).toBe(3);
    expect(totalBytes({ files }, 'plain')).toBe(330);
    expect(totalBytes({ files: [] }, 'stored')).toBe(0);
  });

  it('before the filters are not known where those of one file are not', () => {
    const files = [file('a', 1, 10), { ...file('b', 2, 20), plain: null }];
    expect(totalBytes({ files }, 'plain')).toBeNull();
    expect(totalBytes({ files }, 'stored')).toBe(3);
  });
});
