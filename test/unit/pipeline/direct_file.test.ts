import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createDirectWriter, type DirectFile } from '../../../src/pipeline/direct_file.ts';

const mib = 1024 * 1024;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-direct-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Whether the system writes past its cache there: tmpfs of older kernels does not. */
function isPossible(): boolean {
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | (constants.O_DIRECT ?? 0);
    closeSync(openSync(join(folder, 'probe'), flags));
    return constants.O_DIRECT !== undefined;
  } catch {
    return false;
  }
}

async function appendAll(file: DirectFile, bytes: Buffer, pieceBytes: number): Promise<void> {
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    // The memory of a piece is used again as soon as it was taken.
    const piece = Buffer.from(bytes.subarray(at, at + pieceBytes));
    await file.append(piece);
    piece.fill(0xaa);
  }
}

describe('a file that is written past the page cache', () => {
  it.each([1, 4096, 4097, mib - 1, mib, 3 * mib, 9 * mib + 8192 + 7])(
    'has the bytes that it was given: %i of them',
    async (size) => {
      const path = join(folder, 'file');
      const fd = openSync(path, 'wx');
      const file = createDirectWriter().begin(fd);
      expect(file !== null).toBe(isPossible());
      if (file === null) return closeSync(fd);
      const bytes = randomBytes(size);
      await appendAll(file, bytes, 65_536 + 11);
      await file.end();
      closeSync(fd);
      expect((await readFile(path)).equals(bytes)).toBe(true);
    },
  );

  it('shares its memory with many others, and with one that was given up', async () => {
    const writer = createDirectWriter();
    const files = Array.from({ length: 6 }, (_, index) => {
      const path = join(folder, `file ${index}`);
      const fd = openSync(path, 'wx');
      return { path, fd, bytes: randomBytes(2 * mib + index), file: writer.begin(fd) };
    });
    for (const [index, { file, bytes, fd }] of files.entries()) {
      if (file !== null) await appendAll(file, bytes, mib / 4);
      // What the others wait for is given back, also by whoever does not end.
      if (index === 2) await file?.abandon();
      else await file?.end();
      closeSync(fd);
    }
    const ended = files.filter(({ file }, index) => file !== null && index !== 2);
    expect(ended).toHaveLength(isPossible() ? 5 : 0);
    for (const { path, bytes } of ended) expect((await readFile(path)).equals(bytes)).toBe(true);
    const [given] = files.slice(2);
    if (given?.file != null) await expect(given.file.append(given.bytes)).rejects.toThrow();
  });

  it('is refused by what has no such thing, and is not asked for again', () => {
    // A file of the kernel's own, which knows no direct writes.
    const fd = openSync('/proc/self/comm', 'r+');
    const ordinary = openSync(join(folder, 'file'), 'wx');
    try {
      const writer = createDirectWriter();
      expect(writer.begin(fd)).toBeNull();
      expect(writer.begin(ordinary)).toBeNull();
    } finally {
      closeSync(fd);
      closeSync(ordinary);
    }
  });
});
