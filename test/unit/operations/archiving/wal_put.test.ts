import { mkdtemp, readdir, readFile, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCatalog } from '../../../../src/catalog/catalog.ts';
import { openRepository, type Repository } from '../../../../src/catalog/repository.ts';
import { openWalArchive, type WalArchive } from '../../../../src/catalog/wal_archive.ts';
import { segmentName } from '../../../../src/core/lsn.ts';
import { sha256Of } from '../../../../src/core/sums.ts';
import { formatClaim, type WalClaim } from '../../../../src/core/wal_claim.ts';
import {
  putWalFile,
  type WalPut,
  type WalPutRequest,
} from '../../../../src/operations/archiving/wal_put.ts';
import type { RepositoryContext } from '../../../../src/operations/context.ts';
import type { Storage } from '../../../../src/storage/storage.ts';
import { failureOf } from '../../../contract/storage.ts';
import { testEnvironment } from '../../../support/cluster.ts';
import { sampleContext } from '../../../support/sample_backup.ts';
import { sampleSegment, sampleSystemIdentifier } from '../../../support/wal_segment.ts';

const megabyte = 1024 * 1024;
const name = segmentName(1, 5n, megabyte);
const claim: WalClaim = {
  system_identifier: sampleSystemIdentifier.toString(),
  host: 'db1',
  data_directory: '/var/lib/postgresql/15/main',
  claimed_at: '2026-11-21T02:00:00.000Z',
  claim_id: 'k3f9',
};

let top: string;
let repository: Repository;
let archive: WalArchive;
let context: RepositoryContext;
let folder: string;

beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-wal-put-'));
  repository = await openRepository(join(top, 'r'), { create: true, now: new Date() });
  archive = openWalArchive(repository.storage, `m'ain $(id)`);
  context = sampleContext(repository, createCatalog(repository.storage), {
    config: {
      settings: { wal_compression_level: 1, encryption: 'none' },
    } as RepositoryContext['config'],
    environment: testEnvironment,
  });
  folder = join(repository.root, archive.folder);
  await archive.storage.put(`${archive.folder}/claim.json`, Buffer.from(formatClaim(claim)));
});
afterEach(() => rm(top, { recursive: true, force: true }));

/** A segment, whose bytes tell its seed. @returns its path */
async function segment(number = 5n, seed = 'a', bytes = megabyte): Promise<string> {
  const path = join(top, `segment ${seed}`);
  const content = sampleSegment({ number, segmentBytes: bytes });
  content.fill(seed, 40);
  await writeFile(path, content);
  return path;
}

function put(path: string, more: Partial<WalPutRequest> = {}): Promise<WalPut> {
  return putWalFile(context, { archive, claim, name, path, segmentBytes: megabyte, ...more });
}

/** Everything in the archive but the claim, also what is unfinished. */
async function files(): Promise<string[]> {
  const all = await readdir(folder, { recursive: true, withFileTypes: true });
  const names = all.filter((each) => each.isFile()).map((each) => each.name);
  return names.filter((each) => each !== 'claim.json').sort();
}

const stored = () => readFile(join(folder, '00000001', `${name}.zst`));

describe('putWalFile', () => {
  it('stores a segment compressed with its digest, once', async () => {
    const path = await segment();
    const plain = await readFile(path);
    const first = await put(path);
    expect(first).toMatchObject({ outcome: 'stored', sha256: sha256Of(plain) });
    expect(first.identity.bytes).toBe(BigInt(megabyte));
    expect(await files()).toEqual([`${name}.sha256`, `${name}.zst`]);
    expect(zstdDecompressSync(await stored())).toEqual(plain);
    expect(await readFile(join(folder, '00000001', `${name}.sha256`), 'utf8')).toBe(
      `${sha256Of(plain)}  ${name}\n`,
    );
    expect(await put(path)).toEqual({ ...first, outcome: 'already' });
    expect(await files()).toHaveLength(2);
  });

  it('of many who put the same at once one stores it, and all succeed', async () => {
    const path = await segment();
    const all = await Promise.all(Array.from({ length: 6 }, () => put(path)));
    expect(all.filter(({ outcome }) => outcome === 'stored')).toHaveLength(1);
    expect(await files()).toEqual([`${name}.sha256`, `${name}.zst`]);
  });

  it('never overwrites other content', async () => {
    await put(await segment());
    const before = await stored();
    const error = await failureOf(put(await segment(5n, 'b')));
    expect(error).toMatchObject({ code: 'STORE_EXISTS' });
    expect(error.message).toContain(`other bytes under the name ${name}`);
    expect(await stored()).toEqual(before);
    expect(await files()).toHaveLength(2);
  });

  it('keeps the digest that a killed run has not, and replaces one of nothing', async () => {
    const path = await segment();
    const { sha256 } = await put(path);
    const digest = join(folder, '00000001', `${name}.sha256`);
    await rm(digest);
    expect((await put(path)).outcome).toBe('already');
    expect(await archive.digest(name)).toBe(sha256);
    await rm(join(folder, '00000001', `${name}.zst`));
    for (const stray of [`${'0'.repeat(64)}  ${name}\n`, 'nonsense']) {
      await writeFile(digest, stray);
      expect((await put(path)).outcome).toBe('stored');
      expect(await archive.digest(name)).toBe(sha256);
      await rm(join(folder, '00000001', `${name}.zst`));
    }
    await put(path);
    await writeFile(digest, `${'0'.repeat(64)}  ${name}\n`);
    expect(await failureOf(put(path))).toMatchObject({ code: 'DAMAGED' });
  });

  it('tells a damaged segment in the archive, and what to move away', async () => {
    const path = await segment();
    await put(path);
    await truncate(join(folder, '00000001', `${name}.zst`), 50);
    const error = await failureOf(put(path));
    expect(error).toMatchObject({ code: 'DAMAGED' });
    expect(error.message).toContain(`the archive holds ${name} damaged`);
  });

  it('takes history, backup and partial files', async () => {
    const history = join(top, 'history');
    await writeFile(history, '1\t0/3000000\tno recovery target specified\n');
    expect((await put(history, { name: '00000002.history' })).outcome).toBe('stored');
    expect((await put(history, { name: '00000002.history' })).outcome).toBe('already');
    await put(history, { name: `${name}.00000028.backup` });
    await put(await segment(), { name: `${name}.partial` });
    expect(await files()).toEqual([
      `${name}.00000028.backup`,
      `${name}.00000028.backup.sha256`,
      `${name}.partial.sha256`,
      `${name}.partial.zst`,
      '00000002.history',
      '00000002.history.sha256',
    ]);
    await writeFile(history, 'another');
    expect(await failureOf(put(history, { name: '00000002.history' }))).toMatchObject({
      code: 'STORE_EXISTS',
    });
  });

  it('refuses what does not fit its header, and writes nothing', async () => {
    const path = await segment();
    const refused: [string, Partial<WalPutRequest>][] = [
      [path, { name: segmentName(1, 6n, megabyte) }],
      [path, { segmentBytes: 16 * megabyte }],
      [path, { claim: { ...claim, system_identifier: '1' } }],
      [await segment(5n, 'b', 2 * megabyte), {}],
      [await segment(4096n, 'c'), { name: '000000010000000000001000', segmentBytes: null }],
    ];
    await archive.storage.remove(`${archive.folder}/claim.json`);
    const foreign = formatClaim({ ...claim, system_identifier: '1' });
    for (const [file, more] of refused) {
      const own = more.claim === undefined ? formatClaim(claim) : foreign;
      await writeFile(join(folder, 'claim.json'), own);
      expect(await failureOf(put(file, more)), JSON.stringify(more)).toMatchObject({
        code: 'DAMAGED',
      });
    }
    await writeFile(join(folder, 'claim.json'), formatClaim(claim));
    await truncate(path, megabyte - 1);
    expect((await failureOf(put(path))).message).toContain('has 1048575 bytes');
    await truncate(path, 20);
    expect((await failureOf(put(path))).message).toContain('no WAL segment');
    expect(await failureOf(put(path, { name: '../x' }))).toMatchObject({ code: 'USAGE' });
    expect(await failureOf(put(join(top, 'missing')))).toMatchObject({ code: 'ARCHIVING_FAILED' });
    expect(await files()).toEqual([]);
  });

  it('reads the size from the header where nobody tells it, and a parent timeline', async () => {
    const path = await segment();
    await put(path, { segmentBytes: null });
    await put(path, { name: segmentName(2, 5n, megabyte) });
    expect(await files()).toHaveLength(4);
  });

  it('keeps out whoever has no claim, also when it moves in the middle', async () => {
    const path = await segment();
    const moved = formatClaim({ ...claim, claim_id: 'other' });
    // The claim moves when the bytes are about to be written.
    const storage = watched(archive.storage, async (key) => {
      if (key.endsWith('.zst')) await writeFile(join(folder, 'claim.json'), moved);
    });
    const meanwhile = openWalArchive(storage, archive.cluster);
    const error = await failureOf(put(path, { archive: meanwhile }));
    expect(error).toMatchObject({ code: 'ARCHIVE_CLAIMED' });
    expect(error.message).toContain('db1');
    expect(await failureOf(put(path))).toMatchObject({ code: 'ARCHIVE_CLAIMED' });
    await rm(join(folder, 'claim.json'));
    expect(await failureOf(put(path))).toMatchObject({ code: 'ARCHIVE_CLAIMED' });
    expect(await files()).toEqual([]);
  });

  it('stores nothing of a file that changes while it is read', async () => {
    const path = await segment();
    const storage = watched(archive.storage, async (key) => {
      if (key.endsWith('.zst')) await utimes(path, 1, 1);
    });
    const error = await failureOf(put(path, { archive: openWalArchive(storage, 'm') }));
    expect(error.message).toContain('nobody has claimed');
    const same = openWalArchive(storage, archive.cluster);
    expect((await failureOf(put(path, { archive: same }))).message).toContain(
      'changed while it was read',
    );
    expect(await files()).toEqual([]);
  });

  it('leaves nothing behind when it is ended', async () => {
    const controller = new AbortController();
    const storage = watched(archive.storage, async (key) => {
      if (key.endsWith('.zst')) controller.abort(new Error('ended'));
    });
    const meanwhile = openWalArchive(storage, archive.cluster);
    await failureOf(put(await segment(), { archive: meanwhile, signal: controller.signal }));
    expect(await files()).toEqual([]);
  });
});

/** A store in which something happens before each put. */
function watched(storage: Storage, before: (key: string) => Promise<void>): Storage {
  const put: Storage['put'] = async (key, body) => {
    await before(key);
    return storage.put(key, body);
  };
  return new Proxy(storage, {
    get: (target, property) => {
      if (property === 'put') return put;
      const value = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
