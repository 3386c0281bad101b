import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSums, parseSums, sha256Of, sumsOf } from '../../../src/core/sums.ts';
import { sampleManifest } from '../../support/sample_backup.ts';

const digest = 'a'.repeat(64);

describe('SHA256SUMS', () => {
  it('is what sha256sum writes and checks, for odd names too', () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-sums-'));
    try {
      const names = ['plain.zst', 'with space', 'back\\slash', 'new\nline', 'cr\rname', 'ünï'];
      for (const name of names) writeFileSync(join(folder, name), `content of ${name}`);
      const text = formatSums(
        names.map((name) => ({ name, sha256: sha256Of(Buffer.from(`content of ${name}`)) })),
      );
      const theirs = execFileSync('sha256sum', ['--', ...names], { cwd: folder, encoding: 'utf8' });
      expect(text).toBe(theirs);
      writeFileSync(join(folder, 'SHA256SUMS'), text);
      execFileSync('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: folder });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('reads back what it wrote, whatever the names', () => {
    const name = fc
      .string({ minLength: 1, unit: 'binary' })
      .filter((text) => text.isWellFormed() && !text.includes('\0'));
    const entry = fc.record({
      name,
      sha256: fc.uint8Array({ minLength: 1 }).map((bytes) => sha256Of(bytes)),
    });
    const entries = fc.uniqueArray(entry, { selector: ({ name: key }) => key });
    fc.assert(
      fc.property(entries, (sums) => {
        expect(parseSums(formatSums(sums))).toEqual(sums);
      }),
      { examples: [[[{ name: 'a\u2028b\u2029', sha256: digest }]]] },
    );
  });

  it.each([
    ['a cut line', `${digest}  a\n${digest}  b`],
    ['a cut digest', `${digest.slice(1)}  a\n`],
    ['upper case', `${digest.toUpperCase()}  a\n`],
    ['one space', `${digest} a\n`],
    ['no name', `${digest}  \n`],
    ['an empty line', `${digest}  a\n\n`],
    ['a name twice', `${digest}  a\n${digest}  a\n`],
    ['an unknown escape', `\\${digest}  a\\tb\n`],
    ['an escape that is none', `\\${digest}  ab\n`],
    ['a backslash without its mark', `${digest}  a\\\\b\n`],
  ])('refuses %s', (_, text) => {
    expect(() => parseSums(text)).toThrow(/line \d+ of SHA256SUMS/);
  });

  it('lists the files of a manifest in their order, and the manifest last', () => {
    const manifest = sampleManifest();
    const bytes = Buffer.from('the bytes of the manifest');
    expect(parseSums(sumsOf(manifest, bytes))).toEqual([
      ...manifest.files.map(({ name, stored }) => ({ name, sha256: stored.sha256 })),
      { name: 'manifest.json', sha256: sha256Of(bytes) },
    ]);
  });
});
