/** A store whose bytes keep to a rate: the same face, for one that has no limit of its own. */

import { pipeline, Readable, Transform } from 'node:stream';
import type { MeasuredBytes } from '../core/manifest.ts';
import { measureBody } from './body.ts';
import { Rate } from './rate.ts';
import type {
  ByteRange,
  FolderFacts,
  FolderWriter,
  Storage,
  StoredObject,
  UnfinishedFolder,
  UnfinishedObject,
} from './storage.ts';

/** So many bytes pass at once. */
const sliceBytes = 64 * 1024;

/** The same stream at a rate; it ends, and fails, as the other one does, and the other with it. */
function paced(body: Readable, rate: Rate): Readable {
  const through = new Transform({
    highWaterMark: sliceBytes,
    transform(piece: Buffer, _encoding, done) {
      const pass = async () => {
        for (let from = 0; from < piece.length; from += sliceBytes) {
          const slice = piece.subarray(from, from + sliceBytes);
          await rate.pass(slice.length);
          this.push(slice);
        }
      };
      pass().then(() => done(), done);
    },
  });
  // Who reads it hears of a failure by the stream itself.
  pipeline(body, through, () => undefined);
  return through;
}

/** Writes at a rate; a body that nobody will read is ended, as every store does. */
async function putPaced(
  body: Readable | Uint8Array,
  rate: Rate,
  put: (body: Readable | Uint8Array) => Promise<StoredObject>,
): Promise<StoredObject> {
  if (body instanceof Uint8Array) {
    return put(body.length <= sliceBytes ? body : paced(Readable.from([body]), rate));
  }
  try {
    return await put(paced(body, rate));
  } catch (error) {
    body.destroy();
    throw error;
  }
}

/** A folder of it that is being written. */
class LimitedFolderWriter implements FolderWriter {
  readonly #writer: FolderWriter;
  readonly #up: Rate;
  readonly #down: Rate;

  constructor(writer: FolderWriter, up: Rate, down: Rate) {
    this.#writer = writer;
    this.#up = up;
    this.#down = down;
  }

  get folder(): string {
    return this.#writer.folder;
  }

  put(name: string, body: Readable | Uint8Array): Promise<StoredObject> {
    return putPaced(body, this.#up, (slow) => this.#writer.put(name, slow));
  }

  async get(name: string): Promise<Readable> {
    return paced(await this.#writer.get(name), this.#down);
  }

  async measure(name: string, signal: AbortSignal): Promise<MeasuredBytes> {
    return measureBody(await this.get(name), signal);
  }

  commit(name: string, body: Uint8Array): Promise<void> {
    return this.#writer.commit(name, body);
  }

  abort(): Promise<void> {
    return this.#writer.abort();
  }
}

/** A store at a rate, in each direction. */
class LimitedStorage implements Storage {
  readonly #storage: Storage;
  readonly #up: Rate;
  readonly #down: Rate;

  constructor(storage: Storage, bytesPerSecond: number) {
    this.#storage = storage;
    this.#up = new Rate(bytesPerSecond);
    this.#down = new Rate(bytesPerSecond);
  }

  get description(): string {
    return this.#storage.description;
  }

  put(key: string, body: Readable | Uint8Array): Promise<StoredObject> {
    return putPaced(body, this.#up, (slow) => this.#storage.put(key, slow));
  }

  async get(key: string, range?: ByteRange): Promise<Readable> {
    return paced(await this.#storage.get(key, range), this.#down);
  }

  async createFolder(folder: string, facts?: FolderFacts): Promise<FolderWriter> {
    const writer = await this.#storage.createFolder(folder, facts);
    return new LimitedFolderWriter(writer, this.#up, this.#down);
  }

  stat(key: string): Promise<StoredObject | null> {
    return this.#storage.stat(key);
  }

  identity(key: string): Promise<string | null> {
    return this.#storage.identity(key);
  }

  list(folder: string): AsyncIterable<readonly StoredObject[]> {
    return this.#storage.list(folder);
  }

  children(folder: string): Promise<readonly string[]> {
    return this.#storage.children(folder);
  }

  remove(key: string): Promise<void> {
    return this.#storage.remove(key);
  }

  removeFolder(folder: string, commitName: string): Promise<void> {
    return this.#storage.removeFolder(folder, commitName);
  }

  removeIfEmpty(folder: string): Promise<boolean> {
    return this.#storage.removeIfEmpty(folder);
  }

  unfinishedFolders(folder: string): Promise<readonly UnfinishedFolder[]> {
    return this.#storage.unfinishedFolders(folder);
  }

  unfinishedObjects(folder: string): Promise<readonly UnfinishedObject[]> {
    return this.#storage.unfinishedObjects(folder);
  }

  removeUnfinished(key: string): Promise<void> {
    return this.#storage.removeUnfinished(key);
  }

  freeBytes(): Promise<number | null> {
    return this.#storage.freeBytes();
  }
}

/**
 * The same store, through which no more than so many bytes go in a second and a direction.
 *
 * @param storage a folder: a store beyond a network limits what it sends itself
 */
export function limitStorage(storage: Storage, bytesPerSecond: number): Storage {
  return new LimitedStorage(storage, bytesPerSecond);
}
