import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type FileIdentity,
  fileIdentity,
  formatMarker,
  isSameFile,
  parseMarker,
} from '../../../src/core/wal_marker.ts';

const some = (max: bigint) => fc.bigInt({ min: 0n, max });
const identities = fc.record<FileIdentity>({
  bytes: some(1n << 30n),
  device: some(1n << 40n),
  inode: some(1n << 63n),
  modifiedNs: some(1n << 62n),
  changedNs: some(1n << 62n),
});

describe('a marker', () => {
  it('reads as it was written', () => {
    fc.assert(
      fc.property(identities, (file) => {
        expect(parseMarker(formatMarker({ kind: 'stored', file }))).toEqual({
          kind: 'stored',
          file,
        });
      }),
    );
    expect(parseMarker(formatMarker({ kind: 'working', pid: 4711 }))).toEqual({
      kind: 'working',
      pid: 4711,
    });
  });

  it('is what stat(1) prints of the file, to the nanosecond', () => {
    const folder = mkdtempSync(join(tmpdir(), 'holdfast-marker-'));
    try {
      const path = join(folder, 'f');
      writeFileSync(path, 'abc');
      for (const seconds of [1_700_000_000.000_001, 1_700_000_000, 0.5]) {
        utimesSync(path, seconds, seconds);
        const printed = execFileSync('stat', ['--format=%s %d %i %.9Y %.9Z', path]).toString();
        const file = fileIdentity(statSync(path, { bigint: true }));
        expect(formatMarker({ kind: 'stored', file })).toBe(`stored ${printed}`);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('is nothing else', () => {
    const good = formatMarker({
      kind: 'stored',
      file: { bytes: 1n, device: 2n, inode: 3n, modifiedNs: 4n, changedNs: 5n },
    });
    expect(good).toBe('stored 1 2 3 0.000000004 0.000000005\n');
    for (const text of [
      '',
      '\n',
      good.trim(),
      `${good}x`,
      ` ${good}`,
      'working\n',
      'working 0\n',
    ]) {
      expect(parseMarker(text), JSON.stringify(text)).toBeNull();
    }
    for (const text of ['working -1\n', 'working 1 2\n', good.replace('1', '-1'), 'stored\n']) {
      expect(parseMarker(text), JSON.stringify(text)).toBeNull();
    }
  });

  it('tells every change of a file', () => {
    fc.assert(
      fc.property(identities, fc.constantFrom('bytes', 'device', 'inode'), (file, part) => {
        expect(isSameFile(file, { ...file })).toBe(true);
        expect(isSameFile(file, { ...file, [part]: file[part as 'bytes'] + 1n })).toBe(false);
        expect(isSameFile(file, { ...file, modifiedNs: file.modifiedNs + 1n })).toBe(false);
        expect(isSameFile(file, { ...file, changedNs: file.changedNs + 1n })).toBe(false);
      }),
    );
  });
});
