/** The WAL archive of a cluster: what lies in it, and its bytes (REPOSITORY.md). */

import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '../core/errors.ts';
import { type Lsn, parseLsn, segmentBytesDefault, segmentBytesOf } from '../core/lsn.ts';
import { decodeComponent, encodeComponent } from '../core/names.ts';
import { parseHistory } from '../core/timeline.ts';
import { claimName, parseClaim, type WalClaim } from '../core/wal_claim.ts';
import { parseDigests, type WalDigests } from '../core/wal_digest.ts';
import { parseSegmentHeader, segmentHeaderBytes } from '../core/wal_header.ts';
import { parseIndex } from '../core/wal_index.ts';
import {
  type ArchivedHistory,
  type ArchiveListing,
  archivedPath,
  digestSuffix,
  indexSuffix,
  isSegmentFile,
  isTimelineFolder,
  pathBeside,
  type SegmentSuffix,
  segmentSuffix,
  segmentSuffixes,
  sortArchive,
  suffixOf,
} from '../core/wal_listing.ts';
import { createZstdReader } from '../pipeline/compress.ts';
import type { Storage, StoredObject } from '../storage/storage.ts';
import { mapBounded } from './map_bounded.ts';

/** Below it lie the clusters with their base backups and their WAL. */
export const incrementalFolder = 'incremental';

/** A file in an archive is small, but for the segments. */
const documentBytesMax = 16 * 1024 * 1024;
/** So many files are read at the same time. */
const readsMax = 16;
/** So many segments are asked for their size before all are taken for damaged. */
const headersMax = 8;

/** The folder of a cluster's WAL archive, as a key: `incremental/<cluster>/wal`. */
export function walFolder(cluster: string): string {
  return `${incrementalFolder}/${encodeComponent(cluster)}/wal`;
}

/** The clusters of which there is a WAL archive, sorted; decoded names. */
export async function walClusters(storage: Storage): Promise<string[]> {
  const clusters: string[] = [];
  for (const component of await storage.children(incrementalFolder)) {
    const inside = await storage.children(`${incrementalFolder}/${component}`);
    const cluster = decodeComponent(component);
    if (cluster !== null && inside.includes('wal')) clusters.push(cluster);
  }
  return clusters;
}

/** Reads the archive of one cluster. Names are as PostgreSQL gives them to the files. */
export interface WalArchive {
  readonly cluster: string;
  readonly storage: Storage;
  /** The key of its folder. */
  readonly folder: string;
  /**
   * Segments that lie in the folder of the cluster's stream instead, by their names: absolute paths
   * of plain files, which the server may be writing.
   */
  readonly streamed: ReadonlyMap<string, string>;
  /**
   * Where the plain bytes of segments of the archive still lie on this machine, by their names:
   * absolute paths of files that are used again one day. Of an encrypted one nothing else can be
   * read without a key.
   */
  readonly plain: ReadonlyMap<string, string>;
  /**
   * What lies in it, by one listing of each timeline's folder; an archive that is not there has
   * nothing in it.
   *
   * @throws HoldfastError when the store cannot be read
   */
  list(): Promise<ArchiveListing>;
  /**
   * The plain bytes of a file that is not encrypted. The stream fails with DAMAGED where they
   * cannot be decompressed; they are not compared with their digest.
   *
   * @throws HoldfastError USAGE when no file of the WAL is called so, BACKUP_NOT_FOUND
   */
  read(name: string): Promise<Readable>;
  /**
   * The stored form of a file, however it is encrypted ({@link storedSuffix}); `null` when it is
   * not there.
   *
   * @throws HoldfastError USAGE
   */
  stat(name: string): Promise<StoredObject | null>;
  /** Both digests as they were written down, as {@link WalArchive.digest} does it. */
  digests(name: string): Promise<WalDigests | null>;
  /**
   * The SHA-256 of the plain bytes as it was written down, `null` where it was not.
   *
   * @throws HoldfastError DAMAGED when what lies there is no digest of that file
   */
  digest(name: string): Promise<string | null>;
  /** Who may write, `null` when nobody has claimed it. @throws HoldfastError DAMAGED */
  claim(): Promise<WalClaim | null>;
}

/**
 * Opens the WAL archive of a cluster, whether or not it is there.
 *
 * @param streamed what lies in the folder of its stream; nothing unless told
 * @param plain plain bytes of what is in the archive; none unless told
 * @param folder where in the store it lies, unless in its place of a repository
 */
export function openWalArchive(
  storage: Storage,
  cluster: string,
  streamed: ReadonlyMap<string, string> = new Map(),
  plain: ReadonlyMap<string, string> = new Map(),
  folder: string = walFolder(cluster),
): WalArchive {
  return new StoredWalArchive(storage, { cluster, folder, streamed, plain });
}

/** How a stored segment is compressed and encrypted; `null` for what is no segment. */
export function storedSuffix({ key }: Pick<StoredObject, 'key'>): SegmentSuffix | null {
  return suffixOf(key.slice(key.lastIndexOf('/') + 1));
}

/** The path of a file within an archive. @throws HoldfastError USAGE */
function requirePath(name: string): string {
  const path = archivedPath(name);
  if (path !== null) return path;
  throw new HoldfastError('USAGE', `${JSON.stringify(name)} is no name of a file of the WAL`);
}

/** The plain bytes of a stored segment. Whoever stops early ends the reading of the store too. */
async function* decompress(stored: Readable, name: string): AsyncGenerator<Buffer> {
  const plain = createZstdReader();
  // Its failure reaches whoever reads: this promise has no other listener.
  pipeline(stored, plain).catch(() => undefined);
  try {
    yield* plain;
  } catch (error) {
    if (error instanceof HoldfastError) throw error;
    const text = `${name} of the WAL archive cannot be decompressed: ${(error as Error).message}`;
    throw new HoldfastError('DAMAGED', text, { cause: error });
  }
}

/** The name of a base backup's mark in the archive. */
const backupMark = /^[0-9A-F]{24}\.[0-9A-F]{8}\.backup$/;

/** Errors that are about one file. @throws any other */
function ofTheFile(error: unknown): null {
  const isOfTheFile =
    error instanceof HoldfastError && ['DAMAGED', 'BACKUP_NOT_FOUND'].includes(error.code);
  if (isOfTheFile) return null;
  throw error;
}

/** The size of segments, by one of them and a position in it or at its end. */
function derived(name: string, lsn: Lsn | null): number | null {
  return lsn === null ? null : segmentBytesOf(name, lsn);
}

/** The first bytes of a stream, fewer where it has no more. */
async function readBegin(body: Readable, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    length += chunk.length;
    if (length >= bytes) break;
  }
  return Buffer.concat(chunks);
}

class StoredWalArchive implements WalArchive {
  readonly cluster: string;
  readonly storage: Storage;
  readonly folder: string;
  readonly streamed: ReadonlyMap<string, string>;
  readonly plain: ReadonlyMap<string, string>;
  #segmentBytes: number | null = null;
  /** How segments are stored, as far as a listing has told; a hint: they may be gone. */
  readonly #suffixes = new Map<string, SegmentSuffix>();

  constructor(
    storage: Storage,
    place: Pick<WalArchive, 'cluster' | 'folder' | 'streamed' | 'plain'>,
  ) {
    this.storage = storage;
    this.streamed = place.streamed;
    this.plain = place.plain;
    this.cluster = place.cluster;
    this.folder = place.folder;
  }

  async list(): Promise<ArchiveListing> {
    const top = await this.storage.children(this.folder);
    const folders = top.filter(isTimelineFolder);
    const timelines = new Map<string, readonly string[]>();
    for (const folder of folders) {
      timelines.set(folder, await this.storage.children(`${this.folder}/${folder}`));
    }
    const segmentBytes = await this.#findSegmentBytes(top, timelines);
    const listing = sortArchive({ top, timelines }, segmentBytes);
    this.#suffixes.clear();
    for (const { name, suffix } of listing.segments) this.#suffixes.set(name, suffix);
    const histories = await mapBounded(listing.histories, readsMax, (each) => this.#history(each));
    return { ...listing, histories };
  }

  /** What the first segment with a header says; a cluster has one size for all. */
  async #findSegmentBytes(
    top: readonly string[],
    timelines: ReadonlyMap<string, readonly string[]>,
  ): Promise<number> {
    if (this.#segmentBytes !== null) return this.#segmentBytes;
    const names = [...timelines.values()].flat();
    const plain = names.filter((file) => suffixOf(file) === segmentSuffix).slice(0, headersMax);
    for (const file of plain) {
      this.#segmentBytes = await this.#readSegmentBytes(file.slice(0, -segmentSuffix.length));
      if (this.#segmentBytes !== null) return this.#segmentBytes;
    }
    // Of encrypted ones nobody reads the header: what lies beside them tells positions and names.
    const indexes = names.filter((file) => file.endsWith(indexSuffix)).slice(0, headersMax);
    const marks = top.filter((file) => backupMark.test(file)).slice(0, headersMax);
    for (const file of [...indexes, ...marks]) {
      this.#segmentBytes = await this.#deriveSegmentBytes(file);
      if (this.#segmentBytes !== null) return this.#segmentBytes;
    }
    return segmentBytesDefault;
  }

  /** @param file an index, or the mark of a base backup, by its name */
  async #deriveSegmentBytes(file: string): Promise<number | null> {
    const name = file.slice(0, 24);
    try {
      if (!file.endsWith(indexSuffix)) {
        const text = (await this.#readDocument(file)).toString('utf8');
        const [, start = ''] = /^START WAL LOCATION: (\S+)/m.exec(text) ?? [];
        return derived(name, parseLsn(start));
      }
      const index = parseIndex(await this.#readDocument(`${name.slice(0, 8)}/${file}`));
      return derived(name, parseLsn(index.first_commit?.end_lsn ?? index.end_lsn ?? ''));
    } catch (error) {
      return ofTheFile(error);
    }
  }

  /** @returns `null` for a segment that has no header, or is gone */
  async #readSegmentBytes(name: string): Promise<number | null> {
    try {
      const begin = await readBegin(await this.read(name), segmentHeaderBytes);
      return parseSegmentHeader(begin).segmentBytes;
    } catch (error) {
      return ofTheFile(error);
    }
  }

  async #history(history: ArchivedHistory): Promise<ArchivedHistory> {
    try {
      const bytes = await this.#readDocument(history.name);
      return { ...history, ancestors: parseHistory(bytes.toString('utf8'), history.timeline) };
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.code !== 'DAMAGED') throw error;
      return { ...history, problem: error.message };
    }
  }

  /** @param path within the archive */
  async #readDocument(path: string): Promise<Buffer> {
    const stored = await this.storage.get(`${this.folder}/${path}`, {
      start: 0,
      bytes: documentBytesMax,
    });
    return buffer(stored);
  }

  async read(name: string): Promise<Readable> {
    const path = requirePath(name);
    const stored = await this.storage.get(`${this.folder}/${path}`);
    if (!path.endsWith(segmentSuffix)) return stored;
    return Readable.from(decompress(stored, name), { objectMode: false });
  }

  async stat(name: string): Promise<StoredObject | null> {
    const path = requirePath(name);
    if (!isSegmentFile(name)) return this.storage.stat(`${this.folder}/${path}`);
    const hint = this.#suffixes.get(name);
    const forms = segmentSuffixes.toSorted((a, b) => Number(b === hint) - Number(a === hint));
    for (const suffix of forms) {
      const found = await this.storage.stat(`${this.folder}/${archivedPath(name, suffix)}`);
      if (found !== null) return found;
    }
    return null;
  }

  async digests(name: string): Promise<WalDigests | null> {
    requirePath(name);
    const path = pathBeside(name, digestSuffix);
    if ((await this.storage.stat(`${this.folder}/${path}`)) === null) return null;
    const text = (await this.#readDocument(path)).toString('utf8');
    try {
      return parseDigests(text, name);
    } catch (cause) {
      const message = `${path} of the WAL archive is no digest of ${name}`;
      throw new HoldfastError('DAMAGED', message, { cause });
    }
  }

  async digest(name: string): Promise<string | null> {
    return (await this.digests(name))?.plain ?? null;
  }

  async claim(): Promise<WalClaim | null> {
    const stored = await this.storage.stat(`${this.folder}/${claimName}`);
    return stored === null ? null : parseClaim(await this.#readDocument(claimName));
  }
}
