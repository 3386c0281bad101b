/** Unpacking a file: by the program of a filter itself, or through this process where none is. */

import { mkdtemp, open, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { sha256Of } from '../../src/core/sums.ts';
import { readBack } from '../../src/pipeline/read_back.ts';

const environment = { PATH: process.env.PATH ?? '' };
const plain = Buffer.from(Array.from({ length: 90_000 }, (_, n) => `row ${n}\n`).join(''));
const ways = [
  ['the program of zstd', 'zstd', zstdCompressSync(plain), environment],
  ['the program of gzip', 'gzip', gzipSync(plain), environment],
  ["Node's own zstd", 'zstd', zstdCompressSync(plain), { PATH: '' }],
  ['no filter', null, plain, environment],
] as const;

describe.each(ways)('reading back into a file through %s', (_title, name, stored, programs) => {
  const filters = name === null ? [] : [{ name, level: 3 }];

  async function unpack(bytes: Buffer): Promise<{ measured: unknown; written: Buffer }> {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-into-'));
    const file = await open(join(folder, 'plain'), 'wx+');
    try {
      const signal = new AbortController().signal;
      const context = { environment: programs, threads: 1, signal };
      const measured = await readBack({ body: Readable.from([bytes]), filters, file, context });
      return { measured, written: await readFile(join(folder, 'plain')) };
    } finally {
      await file.close();
      await rm(folder, { recursive: true });
    }
  }

  it('measures what then lies in the file', async () => {
    const { measured, written } = await unpack(stored);
    expect(written.equals(plain)).toBe(true);
    const measure = (bytes: Buffer) => ({ bytes: bytes.length, sha256: sha256Of(bytes) });
    expect(measured).toEqual({ stored: measure(stored), plain: measure(plain) });
  });

  it('fails on bytes that were cut', async () => {
    const half = stored.subarray(0, stored.length / 2);
    if (name === null) expect((await unpack(half)).written).toHaveLength(half.length);
    else await expect(unpack(half)).rejects.toMatchObject({ code: 'DAMAGED' });
  });
});
