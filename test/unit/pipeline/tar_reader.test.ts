/** Archives of the system's tar, in every format that it writes, in pieces of any size. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sha256Of } from '../../../src/core/sums.ts';
import { createTarReader, type TarMember } from '../../../src/pipeline/tar_reader.ts';

const long = `${'a folder with a long name/'.repeat(9)}file`;
const contents: Readonly<Record<string, Buffer>> = {
  empty: Buffer.alloc(0),
  'one byte': Buffer.from('x'),
  'a block': Buffer.alloc(512, 7),
  'odd \'"$(x)\n name': Buffer.alloc(513, 8),
  'Ünïcode ☃': Buffer.alloc(1023, 9),
  large: Buffer.alloc(70_000, 'some text '),
  [long]: Buffer.from('far away'),
};

let folder: string;
const archives = new Map<string, Buffer>();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-tar-'));
  const tree = join(folder, 'tree');
  for (const [name, bytes] of Object.entries(contents)) {
    mkdirSync(dirname(join(tree, name)), { recursive: true });
    writeFileSync(join(tree, name), bytes);
  }
  symlinkSync(`/to/${'x'.repeat(120)}`, join(tree, 'link'));
  for (const format of ['gnu', 'pax']) {
    const args = [`--format=${format}`, '--create', '--file=-', '--directory', tree, '.'];
    archives.set(format, execFileSync('tar', args, { maxBuffer: 16 * 1024 * 1024 }));
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** What a reader tells of an archive that comes in pieces of these sizes, again and again. */
function read(archive: Buffer, sizes: readonly number[] = [65_536]): TarMember[] {
  const members: TarMember[] = [];
  const reader = createTarReader({
    onMember: (member) => members.push(member),
    keep: (path) => path === 'large' || path === long,
  });
  for (let at = 0, piece = 0; at < archive.length; piece += 1) {
    const size = sizes[piece % sizes.length] ?? 1;
    // What was shown may be used again by whoever showed it.
    const chunk = Buffer.from(archive.subarray(at, at + size));
    reader.update(chunk);
    chunk.fill(0xee);
    at += size;
  }
  expect(reader.finish()).toBe(members.length);
  return members;
}

/** A header as PostgreSQL writes it (src/port/tar.c). */
function header(name: string, bytes: number, type = '0'): Buffer {
  const block = Buffer.alloc(512);
  block.write(name, 0);
  block.write('0000600 \0', 100);
  if (bytes < 8 ** 11) block.write(`${bytes.toString(8).padStart(11, '0')} `, 124);
  else {
    block.writeUInt8(0x80, 124);
    block.writeBigUInt64BE(BigInt(bytes), 128);
  }
  block.write(type, 156);
  block.write('ustar\x0000', 257);
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')} \0`, 148);
  return block;
}

const end = Buffer.alloc(1024);

describe.each(['gnu', 'pax'])('an archive in the format %s', (format) => {
  it('gives every member with its size and digest', () => {
    const members = read(archives.get(format) ?? Buffer.alloc(0));
    const files = members.filter(({ kind }) => kind === 'file');
    const found = new Map(files.map(({ path, bytes, sha256 }) => [path, { bytes, sha256 }]));
    const expected = Object.entries(contents).map(
      ([name, bytes]) => [name, { bytes: bytes.length, sha256: sha256Of(bytes) }] as const,
    );
    expect(found).toEqual(new Map(expected));
    const link = members.find(({ kind }) => kind === 'symlink');
    expect(link).toMatchObject({ path: 'link', target: `/to/${'x'.repeat(120)}` });
    const kept = files.filter(({ content }) => content !== null);
    expect(new Map(kept.map(({ path, content }) => [path, content]))).toEqual(
      new Map([long, 'large'].map((name) => [name, contents[name]])),
    );
  });

  it('gives the same whatever pieces it comes in', () => {
    const archive = archives.get(format) ?? Buffer.alloc(0);
    const whole = read(archive);
    const sizes = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(sizes, (pieces) => {
        expect(read(archive, pieces)).toEqual(whole);
      }),
      { numRuns: 25 },
    );
  });

  it('is damage wherever it is cut', () => {
    const archive = archives.get(format) ?? Buffer.alloc(0);
    // tar fills its last record with zeros: what counts are the first two blocks of them.
    const last = archive.findLastIndex((byte) => byte !== 0);
    const length = Math.ceil((last + 1) / 512) * 512 + 1024;
    fc.assert(
      fc.property(fc.integer({ min: 0, max: length - 1 }), (cut) => {
        expect(() => read(archive.subarray(0, cut))).toThrow(/no whole tar archive/);
      }),
    );
  });
});

describe('a header', () => {
  it('tells sizes beyond eight octal digits, as PostgreSQL writes them', () => {
    const members: TarMember[] = [];
    const reader = createTarReader({ onMember: (member) => members.push(member) });
    const bytes = 9 * 1024 ** 3;
    reader.update(header('base/5/1', bytes));
    expect(() => reader.finish()).toThrow('it is cut');
    const small = read(Buffer.concat([header('PG_VERSION', 3), Buffer.alloc(512), end]));
    expect(small).toMatchObject([{ path: 'PG_VERSION', bytes: 3, kind: 'file' }]);
  });

  it('is refused when any bit of it is another one', () => {
    const archive = Buffer.concat([header('PG_VERSION', 3), Buffer.alloc(512), end]);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 512 * 8 - 1 }), (bit) => {
        const flipped = Buffer.from(archive);
        flipped.writeUInt8((flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7)), bit >> 3);
        const members = (() => {
          try {
            return read(flipped);
          } catch (error) {
            expect((error as Error).message).toContain('is no whole tar archive');
            return null;
          }
        })();
        // The checksum's own last characters mean nothing (POSIX leaves them open).
        if (members !== null) expect(bit >> 3).toBeGreaterThanOrEqual(148);
        if (members !== null) expect(bit >> 3).toBeLessThan(156);
      }),
    );
  });

  it('is refused where something follows the end', () => {
    const archive = Buffer.concat([end, header('late', 0), end]);
    expect(() => read(archive)).toThrow('something follows its end');
  });

  it('cannot make the reader keep what is too large to be kept', () => {
    const reader = createTarReader({
      onMember: () => undefined,
      keep: () => true,
      keptBytesMax: 99,
    });
    reader.update(Buffer.concat([header('backup_manifest', 100), Buffer.alloc(512), end]));
    expect(() => reader.finish()).toThrow('backup_manifest has 100 bytes');
  });
});
