import { appendFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCatalog } from '../../../src/catalog/catalog.ts';
import { openRepository } from '../../../src/catalog/repository.ts';
import type { RepositoryContext } from '../../../src/operations/context.ts';
import {
  type CopyRequest,
  copyBackup,
  readCopySource,
  type SourceStore,
} from '../../../src/operations/copy_backup.ts';
import type { ReadyStore } from '../../../src/operations/ready_stores.ts';
import { openFolder } from '../../../src/storage/open.ts';
import type { Storage } from '../../../src/storage/storage.ts';
import { sampleContext, writeSampleBackup } from '../../support/sample_backup.ts';
import { stubSpec } from '../../support/stub_writer.ts';
import { flipped } from '../../support/workbench.ts';

const dump = 'database.dump.zst';
let top: string;
let context: RepositoryContext;
let storage: Storage;
/** The key of the backup. */
let folder: string;

beforeEach(async () => {
  top = await mkdtemp(join(tmpdir(), 'holdfast-copy-'));
  const repository = await openRepository(join(top, 'local'), { create: true, now: new Date() });
  context = sampleContext(repository, createCatalog(repository.storage));
  Object.assign(context.config.settings, { read_back: 'stored' });
  ({ storage } = repository);
  folder = await writeSampleBackup(storage);
});
afterEach(() => rm(top, { recursive: true, force: true }));

const inLocal = (name: string) => join(top, 'local', folder, name);
const inNas = () => join(top, 'nas', folder);

function request(more: Partial<CopyRequest> = {}): CopyRequest {
  const nas = openFolder(join(top, 'nas'));
  const to: ReadyStore = { spec: stubSpec('nas'), freeBytes: null, storage: nas, error: null };
  const from: SourceStore = { spec: stubSpec('local'), storage };
  const { signal } = context;
  return { label: basename(folder), folder, from, to, signal, ...more };
}

async function copy(wanted = request()): Promise<number> {
  return copyBackup(context, wanted, await readCopySource(wanted));
}

/** Nothing is left of the copy, and no run is remembered. */
async function expectNothing(): Promise<void> {
  const left = await readdir(join(top, 'nas'), { recursive: true }).catch(() => []);
  expect(left.filter((name) => name.includes(basename(folder)))).toEqual([]);
  expect(await readdir(join(top, 'local/state/runs')).catch(() => [])).toEqual([]);
}

describe('copying a backup', () => {
  it('brings every file as it is, its signature too', async () => {
    await writeFile(inLocal('manifest.json.sig'), 'signed');
    const bytes = await copy();
    const names = (await readdir(inNas())).sort();
    expect(names).toEqual((await readdir(inLocal(''))).sort());
    let sum = 0;
    for (const name of names) {
      const original = await readFile(inLocal(name));
      expect((await readFile(join(inNas(), name))).equals(original), name).toBe(true);
      sum += original.length;
    }
    expect(bytes).toBe(sum);
  });

  it.each([
    ['a bit that has turned', (path: string, old: Buffer) => writeFile(path, flipped(old)), dump],
    ['a byte too many', (path: string) => appendFile(path, 'x'), dump],
    ['a file that is gone', (path: string) => rm(path), dump],
    ['other sums', (path: string) => appendFile(path, `${'0'.repeat(64)}  x\n`), 'SHA256SUMS'],
    ['no sums', (path: string) => rm(path), 'SHA256SUMS'],
    ['no manifest', (path: string) => rm(path), 'manifest.json'],
    ['half a manifest', (path: string) => writeFile(path, '{"format": 1'), 'manifest.json'],
  ])('copies nothing with %s', async (_what, spoil, name) => {
    await spoil(inLocal(name), await readFile(inLocal(name)));
    const codes = ['DAMAGED', 'MANIFEST_INVALID', 'BACKUP_NOT_FOUND'];
    const error = await copy().catch((thrown: { code: string }) => thrown);
    expect(codes).toContain(typeof error === 'number' ? null : error.code);
    await expectNothing();
  });

  it('refuses the manifest of another backup', async () => {
    const wanted = request({ label: '20261121T020001Z-daily-aaaa' });
    await expect(copy(wanted)).rejects.toMatchObject({ code: 'DAMAGED' });
  });

  it('leaves alone what is there already, or is being written by somebody else', async () => {
    await copy();
    await writeFile(join(inNas(), 'mark'), 'x');
    await expect(copy()).rejects.toMatchObject({ code: 'STORE_EXISTS' });
    expect(await readFile(join(inNas(), 'mark'), 'utf8')).toBe('x');
  });

  it('gives up on a store that stops in the middle of a file', async () => {
    const silent = () => {
      let isFirst = true;
      return new Readable({
        read() {
          if (isFirst) this.push('the first bytes');
          isFirst = false;
        },
      });
    };
    const stopping = {
      stat: (key: string) => storage.stat(key),
      get: async (key: string) => (key.endsWith(dump) ? silent() : storage.get(key)),
    } as Storage;
    const spec = stubSpec('slow', { stallMs: 400 });
    const wanted = request({ from: { spec, storage: stopping } });
    const to = { ...wanted.to, spec: stubSpec('nas', { stallMs: 400 }) } as ReadyStore;
    const error = await copy({ ...wanted, to }).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'STORE_UNREACHABLE' });
    expect(await readdir(inNas()).catch(() => [])).toEqual([]);
  });

  it('ends with the signal, and leaves nothing', async () => {
    const stop = AbortSignal.abort(new Error('the lock was lost'));
    await expect(copy(request({ signal: stop }))).rejects.toThrow('the lock was lost');
    await expectNothing();
  });
});
