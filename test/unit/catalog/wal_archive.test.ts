import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { zstdCompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openWalArchive, type WalArchive, walClusters } from '../../../src/catalog/wal_archive.ts';
import { segmentName } from '../../../src/core/lsn.ts';
import { formatSums, sha256Of } from '../../../src/core/sums.ts';
import { openFolder } from '../../../src/storage/open.ts';
import { sampleSegment } from '../../support/wal_segment.ts';

const mb = 1024 * 1024;
let root: string;
let archive: WalArchive;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-archive-'));
  archive = openWalArchive(openFolder(root), 'main/"x"');
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function write(path: string, bytes: string | Uint8Array): Promise<void> {
  const file = join(root, 'incremental/main%2F%22x%22/wal', path);
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, bytes);
}

async function writeSegment(number: bigint, segmentBytes: number): Promise<[string, Buffer]> {
  const bytes = sampleSegment({ number, segmentBytes });
  const name = segmentName(1, number, segmentBytes);
  await write(`00000001/${name}.zst`, zstdCompressSync(bytes));
  await write(`00000001/${name}.sha256`, formatSums([{ name, sha256: sha256Of(bytes) }]));
  return [name, bytes];
}

describe('a WAL archive', () => {
  it('that is not there has nothing in it', async () => {
    const listing = await archive.list();
    expect([...listing.segments, ...listing.histories, ...listing.foreign]).toEqual([]);
    expect(await archive.claim()).toBeNull();
    expect(await walClusters(archive.storage)).toEqual([]);
    await expect(archive.read('000000010000000000000001')).rejects.toMatchObject({
      code: 'BACKUP_NOT_FOUND',
    });
  });

  it.each([1, 16, 64])('of a server with segments of %d MB numbers them so', async (size) => {
    // In the second log of 4 GB.
    const number = BigInt(4096 / size + 3);
    const [name, bytes] = await writeSegment(number, size * mb);
    const listing = await archive.list();
    expect(listing.segmentBytes).toBe(size * mb);
    expect(listing.segments).toMatchObject([{ name, number, hasDigest: true }]);
    expect((await buffer(await archive.read(name))).equals(bytes)).toBe(true);
    expect(await archive.digest(name)).toBe(sha256Of(bytes));
    expect((await archive.stat(name))?.key).toBe(`${archive.folder}/00000001/${name}.zst`);
    expect(await walClusters(archive.storage)).toEqual(['main/"x"']);
  });

  it('learns the size from a good segment behind damaged ones', async () => {
    const names = await Promise.all([3n, 4n, 5n].map((number) => writeSegment(number, mb)));
    const [[cut = ''] = [], [flipped = ''] = []] = names;
    await write(`00000001/${cut}.zst`, '');
    await write(`00000001/${flipped}.zst`, 'no zstd at all');
    expect(await archive.list()).toMatchObject({ segmentBytes: mb });
    for (const name of [cut, flipped]) {
      const body = await archive.read(name);
      await expect(buffer(body)).rejects.toMatchObject({ code: 'DAMAGED' });
    }
  });

  it('has read what the histories say, and why not', async () => {
    await write('00000002.history', '1\t0/5000028\tno recovery target specified\n');
    await write('00000003.history', '3\t0/5000028\tits own parent\n');
    const { histories } = await archive.list();
    expect(histories).toMatchObject([
      { timeline: 2, ancestors: [{ timeline: 1, switchLsn: 0x5000028n }], problem: null },
      { timeline: 3, ancestors: null, problem: expect.stringContaining('timeline 3') },
    ]);
  });

  it('refuses a digest that is of another file', async () => {
    const [name] = await writeSegment(3n, mb);
    for (const text of ['', 'x', formatSums([{ name: 'other', sha256: 'a'.repeat(64) }])]) {
      await write(`00000001/${name}.sha256`, text);
      await expect(archive.digest(name)).rejects.toMatchObject({ code: 'DAMAGED' });
    }
    expect(await archive.digest('00000002.history')).toBeNull();
  });

  it.each(['../claim.json', 'claim.json', '', '00000001/000000010000000000000003'])(
    'has no file of the WAL called %j',
    async (name) => {
      await expect(archive.read(name)).rejects.toMatchObject({ code: 'USAGE' });
      await expect(archive.digest(name)).rejects.toMatchObject({ code: 'USAGE' });
    },
  );

  it('tells who has claimed it, or that the claim is damaged', async () => {
    await write('claim.json', '{"system_identifier":"x"}');
    await expect(archive.claim()).rejects.toMatchObject({ code: 'DAMAGED' });
  });
});
