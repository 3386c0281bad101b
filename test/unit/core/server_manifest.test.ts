/** PostgreSQL's own list of files, and what is found when a backup is compared with it. */

import { describe, expect, it } from 'vitest';
import {
  compareWithServer,
  neededSegments,
  parseServerManifest,
  pathText,
  type ServerFile,
} from '../../../src/core/server_manifest.ts';
import { sha256Of } from '../../../src/core/sums.ts';

const digest = (text: string) => sha256Of(Buffer.from(text));

const file = (path: string, text: string) =>
  `{ "Path": "${path}", "Size": ${text.length}, "Last-Modified": "2026-11-21 13:18:28 GMT", "Checksum-Algorithm": "SHA256", "Checksum": "${digest(text)}" }`;

function manifestBytes(files: readonly string[]): Buffer {
  const front = `{ "PostgreSQL-Backup-Manifest-Version": 1,
"Files": [
${files.join(',\n')}
],
"WAL-Ranges": [
{ "Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/3000000" }
],
`;
  return Buffer.from(`${front}"Manifest-Checksum": "${digest(front)}"}\n`);
}

const segmentBytes = 16 * 1024 * 1024;
const bytes = manifestBytes([file('PG_VERSION', '15\n'), file('base/5/1', 'rows')]);

function seen(more: Readonly<Record<string, string>> = {}): Map<string, ServerFile> {
  const texts = { PG_VERSION: '15\n', 'base/5/1': 'rows', backup_manifest: 'x', ...more };
  const files = new Map<string, ServerFile>();
  for (const [path, text] of Object.entries(texts)) {
    files.set(path, { bytes: text.length, sha256: digest(text) });
  }
  files.set('pg_wal/000000010000000000000002', { bytes: segmentBytes, sha256: digest('wal') });
  return files;
}

describe('the list', () => {
  it('tells files, digests and the WAL', () => {
    const manifest = parseServerManifest(bytes);
    const modifiedSeconds = Date.UTC(2026, 10, 21, 13, 18, 28) / 1000;
    expect(manifest.files.get('base/5/1')).toEqual({
      modifiedSeconds,
      bytes: 4,
      sha256: digest('rows'),
    });
    expect(manifest.walRanges).toEqual([
      { timeline: 1, start_lsn: '0/2000028', end_lsn: '0/3000000' },
    ]);
  });

  it('reads a path that is no UTF-8 as the archive does', () => {
    const name = Buffer.from([0x62, 0xff]);
    const encoded = file('x', 'y').replace(
      '"Path": "x"',
      `"Encoded-Path": "${name.toString('hex')}"`,
    );
    expect([...parseServerManifest(manifestBytes([encoded])).files.keys()]).toEqual([
      pathText(name),
    ]);
    expect(pathText(Buffer.from('Ü'))).toBe('Ü');
  });

  it('is damaged when a byte of it is another one, or its end is missing', () => {
    const flipped = Buffer.from(bytes);
    flipped.writeUInt8((flipped[200] ?? 0) ^ 1, 200);
    expect(() => parseServerManifest(flipped)).toThrow('differs from its own digest');
    expect(() => parseServerManifest(bytes.subarray(0, 300))).toThrow('is cut');
  });
});

describe('a comparison', () => {
  const compare = (files: Map<string, ServerFile>) =>
    compareWithServer(parseServerManifest(bytes), files, segmentBytes);

  it('finds nothing where all is there', () => {
    expect(compare(seen())).toEqual([]);
  });

  it('finds what is missing, changed, longer or added', () => {
    const without = seen();
    without.delete('PG_VERSION');
    expect(compare(without)).toEqual(['lacks the file "PG_VERSION"']);
    expect(compare(seen({ 'base/5/1': 'rowz' }))).toEqual([
      'has other bytes of the file "base/5/1"',
    ]);
    expect(compare(seen({ 'base/5/1': 'rows+' }))).toEqual([
      'has 5 bytes of the file "base/5/1" instead of 4',
    ]);
    expect(compare(seen({ evil: '' }))).toEqual([
      'has a file that the server did not list: "evil"',
    ]);
  });

  it('finds missing and short WAL', () => {
    const name = 'pg_wal/000000010000000000000002';
    const short = seen({ [name]: 'short' });
    short.set(name, { bytes: 5, sha256: digest('short') });
    expect(compare(short)).toEqual(['lacks the WAL segment 000000010000000000000002']);
  });

  it('takes the copy of either timeline where one ends within a segment', () => {
    const ranges = [
      { timeline: 1, start_lsn: '0/2000028', end_lsn: '0/2800000' },
      { timeline: 2, start_lsn: '0/2800000', end_lsn: '0/3000100' },
    ];
    expect(neededSegments(ranges, segmentBytes)).toEqual([
      ['000000010000000000000002', '000000020000000000000002'],
      ['000000010000000000000003', '000000020000000000000003'],
    ]);
  });
});
