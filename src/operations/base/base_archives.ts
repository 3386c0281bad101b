/** Reads the archives of a base backup and compares every file with PostgreSQL's own list. */

import type { Readable } from 'node:stream';
import { serverManifestName } from '../../core/base_manifest.ts';
import type { FilterSpec } from '../../core/manifest.ts';
import {
  compareWithServer,
  parseServerManifest,
  type ServerFile,
} from '../../core/server_manifest.ts';
import type { Observer } from '../../pipeline/measure.ts';
import { type Measurements, readBack } from '../../pipeline/read_back.ts';
import { createTarReader, type TarReader } from '../../pipeline/tar_reader.ts';
import { type Context, flowContext } from '../context.ts';

/** An archive of a base backup. */
export interface BaseArchive {
  readonly name: string;
  /** Of its tablespace; `null`: the data directory. */
  readonly oid: number | null;
  readonly filters: readonly FilterSpec[];
}

/** What all archives of a backup hold together. */
export interface ArchiveContents {
  /** By their paths below the data directory. */
  readonly files: Map<string, ServerFile>;
  /** PostgreSQL's own list of the files, where it is in the archive. */
  serverManifest: Buffer | null;
}

/** Nothing yet. */
export function emptyContents(): ArchiveContents {
  return { files: new Map(), serverManifest: null };
}

/** Sees the plain bytes of an archive, and adds what is in it. */
export function createArchiveObserver(oid: number | null, contents: ArchiveContents): TarReader {
  const below = oid === null ? '' : `pg_tblspc/${oid}/`;
  return createTarReader({
    keep: (path) => oid === null && path === serverManifestName,
    onMember: ({ path, kind, bytes, sha256, content }) => {
      if (kind === 'file') contents.files.set(`${below}${path}`, { bytes, sha256 });
      if (content !== null) contents.serverManifest = content;
    },
  });
}

/**
 * Reads one archive to its end and adds what is in it.
 *
 * @param body as it is stored
 * @throws HoldfastError DAMAGED when it cannot be decompressed, or is no whole tar archive
 */
export async function readArchive(
  context: Context,
  archive: BaseArchive,
  body: Readable,
  contents: ArchiveContents,
  options: { readonly signal?: AbortSignal; readonly storedObservers?: readonly Observer[] } = {},
): Promise<Measurements> {
  const reader = createArchiveObserver(archive.oid, contents);
  const measured = await readBack({
    body,
    filters: archive.filters,
    observers: [reader],
    storedObservers: options.storedObservers ?? [],
    context: flowContext(context, options.signal),
  });
  reader.finish();
  return measured;
}

/**
 * What differs between the files of all archives and PostgreSQL's own list of them.
 *
 * @returns sentences to be read after the backup's name; nothing when all is well
 * @throws HoldfastError DAMAGED when the list itself cannot be read
 */
export function compareContents(
  contents: ArchiveContents,
  serverManifest: Uint8Array,
  segmentBytes: number,
): string[] {
  return compareWithServer(parseServerManifest(serverManifest), contents.files, segmentBytes);
}
