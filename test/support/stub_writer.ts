/** A store as a stub at the port, to provoke what a real one will not do on demand. */

import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { localSpec, type StoreSpec } from '../../src/config/stores.ts';
import { HoldfastError } from '../../src/core/errors.ts';
import { sha256Of } from '../../src/core/sums.ts';
import type { FolderWriter } from '../../src/storage/storage.ts';

/** What goes wrong, and where. */
export interface Trouble {
  readonly at: 'put' | 'body' | 'measure' | 'commit' | 'abort';
  readonly how: 'fails' | 'hangs';
}

/** A folder in memory. */
export interface StubWriter extends FolderWriter {
  readonly files: ReadonlyMap<string, Buffer>;
  readonly state: 'begun' | 'committed' | 'aborted';
}

const never = () => new Promise<never>(() => undefined);

/** A folder in memory, with trouble. */
export function stubWriter(trouble: Trouble | null = null, name = 'stub'): StubWriter {
  const files = new Map<string, Buffer>();
  let state: StubWriter['state'] = 'begun';
  const meet = async (at: Trouble['at']) => {
    if (trouble?.at !== at) return;
    if (trouble.how === 'hangs') await never();
    throw new HoldfastError('NO_SPACE', `${name}: no space left at its ${at}`);
  };
  const take = async (body: Readable | Uint8Array) => {
    if (body instanceof Uint8Array) return Buffer.from(body);
    const first = body[Symbol.asyncIterator]();
    if (trouble?.at === 'body') {
      await first.next();
      if (trouble.how === 'fails') body.destroy();
      await meet('body');
    }
    return buffer(body);
  };
  const bytesOf = (file: string) => {
    const bytes = files.get(file);
    if (bytes === undefined) throw new HoldfastError('BACKUP_NOT_FOUND', `there is no ${file}`);
    return bytes;
  };
  return {
    folder: 'full/c/d/label',
    files,
    get state() {
      return state;
    },
    async put(file, body) {
      await meet('put');
      const bytes = await take(body);
      files.set(file, bytes);
      return { key: file, bytes: bytes.length, modifiedAt: new Date() };
    },
    async get(file) {
      const { Readable: Stream } = await import('node:stream');
      return Stream.from([bytesOf(file)]);
    },
    async measure(file) {
      await meet('measure');
      const bytes = bytesOf(file);
      return { bytes: bytes.length, sha256: sha256Of(bytes) };
    },
    async commit(file, body) {
      await meet('commit');
      files.set(file, Buffer.from(body));
      state = 'committed';
    },
    async abort() {
      await meet('abort').catch(() => undefined);
      if (state !== 'committed') state = 'aborted';
    },
  };
}

/** The store that such a folder lies in. */
export function stubSpec(name: string, more: Partial<StoreSpec> = {}): StoreSpec {
  return { ...localSpec('/nowhere'), name, stallMs: 60_000, ...more } as StoreSpec;
}
