/** The WAL archive of a cluster: what lies in it, and its bytes (REPOSITORY.md). */

import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '../core/errors.ts';
import { segmentBytesDefault } from '../core/lsn.ts';
import { decodeComponent, encodeComponent } from '../core/names.ts';
import { parseSums } from '../core/sums.ts';
import { parseHistory } from '../core/timeline.ts';
import { claimName, parseClaim, type WalClaim } from '../core/wal_claim.ts';
import { parseSegmentHeader, segmentHeaderBytes } from '../core/wal_header.ts';
import {
  type ArchivedHistory,
  type ArchiveListing,
  archivedPath,
  digestSuffix,
  isTimelineFolder,
  pathBeside,
  segmentSuffix,
  sortArchive,
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
   * What lies in it, by one listing of each timeline's folder; an archive that is not there has
   * nothing in it.
   *
   * @throws HoldfastError when the store cannot be read
   */
  list(): Promise<ArchiveListing>;
  /**
   * The plain bytes of a file. The stream fails with DAMAGED where they cannot be decompressed;
   * they are not compared with their digest.
   *
   * @throws HoldfastError USAGE when no file of the WAL is called so, BACKUP_NOT_FOUND
   */
  read(name: string): Promise<Readable>;
  /** The stored form of a file, or `null` when it is not there. @throws HoldfastError USAGE */
  stat(name: string): Promise<StoredObject | null>;
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
 */
export function openWalArchive(
  storage: Storage,
  cluster: string,
  streamed: ReadonlyMap<string, string> = new Map(),
): WalArchive {
  return new StoredWalArchive(storage, cluster, streamed);
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
  #segmentBytes: number | null = null;

  constructor(storage: Storage, cluster: string, streamed: ReadonlyMap<string, string>) {
    this.storage = storage;
    this.streamed = streamed;
    this.cluster = cluster;
    this.folder = walFolder(cluster);
  }

  async list(): Promise<ArchiveListing> {
    const top = await this.storage.children(this.folder);
    const folders = top.filter(isTimelineFolder);
    const timelines = new Map<string, readonly string[]>();
    for (const folder of folders) {
      timelines.set(folder, await this.storage.children(`${this.folder}/${folder}`));
    }
    const listing = sortArchive({ top, timelines }, await this.#findSegmentBytes(timelines));
    const histories = await mapBounded(listing.histories, readsMax, (each) => this.#history(each));
    return { ...listing, histories };
  }

  /** What the first segment with a header says; a cluster has one size for all. */
  async #findSegmentBytes(timelines: ReadonlyMap<string, readonly string[]>): Promise<number> {
    if (this.#segmentBytes !== null) return this.#segmentBytes;
    let asked = 0;
    for (const names of timelines.values()) {
      for (const file of names) {
        const name = file.slice(0, -segmentSuffix.length);
        if (!file.endsWith(segmentSuffix) || archivedPath(name) === null) continue;
        this.#segmentBytes = await this.#readSegmentBytes(name);
        asked += 1;
        if (this.#segmentBytes !== null) return this.#segmentBytes;
        if (asked === headersMax) return segmentBytesDefault;
      }
    }
    return segmentBytesDefault;
  }

  /** @returns `null` for a segment that has no header, or is gone */
  async #readSegmentBytes(name: string): Promise<number | null> {
    try {
      const begin = await readBegin(await this.read(name), segmentHeaderBytes);
      return parseSegmentHeader(begin).segmentBytes;
    } catch (error) {
      const isOfTheFile =
        error instanceof HoldfastError && ['DAMAGED', 'BACKUP_NOT_FOUND'].includes(error.code);
      if (isOfTheFile) return null;
      throw error;
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

  stat(name: string): Promise<StoredObject | null> {
    return this.storage.stat(`${this.folder}/${requirePath(name)}`);
  }

  async digest(name: string): Promise<string | null> {
    requirePath(name);
    const path = pathBeside(name, digestSuffix);
    if ((await this.storage.stat(`${this.folder}/${path}`)) === null) return null;
    const [sum, second] = parseSums((await this.#readDocument(path)).toString('utf8'));
    if (sum?.name === name && second === undefined) return sum.sha256;
    throw new HoldfastError('DAMAGED', `${path} of the WAL archive is no digest of ${name}`);
  }

  async claim(): Promise<WalClaim | null> {
    const stored = await this.storage.stat(`${this.folder}/${claimName}`);
    return stored === null ? null : parseClaim(await this.#readDocument(claimName));
  }
}
