/**
 * Reads back the archives of a base backup, before it is committed (`read_back`). With `stored` and
 * `plain` alike all is decompressed: without it nothing could be compared with the server's own
 * list. With `none` what was seen while they were written is compared, and the store is not asked.
 */

import type { CopiesWriter } from '../../catalog/copies_writer.ts';
import { type BaseManifestFile, serverManifestName } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { FolderWriter } from '../../storage/storage.ts';
import type { RepositoryContext } from '../context.ts';
import {
  type ArchiveContents,
  compareContents,
  emptyContents,
  readArchive,
} from './base_archives.ts';
import type { WrittenArchive, WrittenBase } from './base_files.ts';

/** The archives as they were read back, and PostgreSQL's own list of what is in them. */
export interface ReadBack {
  readonly files: BaseManifestFile[];
  readonly serverManifest: Buffer;
}

interface ReadOptions {
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
}

function differs(what: string): HoldfastError {
  return new HoldfastError('DAMAGED', `the base backup, read back from the store, ${what}`, {
    hint: 'The disk or the network returns wrong bytes: check the hardware, then run it again.',
  });
}

function requireStored({ name, stored }: WrittenArchive, sha256: string): void {
  if (sha256 !== stored.sha256) throw differs(`has other bytes of ${name}`);
}

function describeArchive(
  { name, oid, filters, stored }: WrittenArchive,
  plain: BaseManifestFile['plain'],
): BaseManifestFile {
  return { name, role: oid === null ? 'base' : 'tablespace', filters: [...filters], stored, plain };
}

/** Reads everything in them; what is in them goes to `contents`. */
async function readWhole(
  context: RepositoryContext,
  folder: FolderWriter,
  { archives }: WrittenBase,
  contents: ArchiveContents,
  { signal, onBytes }: ReadOptions,
): Promise<BaseManifestFile[]> {
  const files: BaseManifestFile[] = [];
  for (const archive of archives) {
    const observer = { update: (chunk: Buffer) => onBytes(chunk.length) };
    const body = await folder.get(archive.name);
    const options = { signal, storedObservers: [observer] };
    const measured = await readArchive(context, archive, body, contents, options);
    requireStored(archive, measured.stored.sha256);
    files.push(describeArchive(archive, measured.plain));
  }
  return files;
}

/** The archives by what was seen of them when they were written. */
function describeSeen({ archives }: WrittenBase): BaseManifestFile[] {
  return archives.map((archive) => {
    const { name, plain } = archive;
    if (plain === null) throw new HoldfastError('UNEXPECTED', `nobody has seen what is in ${name}`);
    return describeArchive(archive, plain);
  });
}

/** Reads the stored bytes of what nobody here can decrypt: its inside was seen when written. */
async function readStored(
  folder: FolderWriter,
  base: WrittenBase,
  { signal, onBytes }: ReadOptions,
): Promise<BaseManifestFile[]> {
  for (const archive of base.archives) {
    const measured = await folder.measure(archive.name, signal);
    onBytes(measured.bytes);
    requireStored(archive, measured.sha256);
  }
  return describeSeen(base);
}

/** Reads all archives back from one store and compares every file with the server's own list. */
async function readBackIn(
  context: RepositoryContext,
  segmentBytes: number,
  folder: FolderWriter,
  base: WrittenBase,
  options: ReadOptions,
): Promise<ReadBack> {
  const contents = base.seen ?? emptyContents();
  const files =
    base.seen === null
      ? await readWhole(context, folder, base, contents, options)
      : await readStored(folder, base, options);
  return compared(segmentBytes, base, contents, files);
}

/** Compares every file in the archives with the server's own list. */
function compared(
  segmentBytes: number,
  base: WrittenBase,
  contents: ArchiveContents,
  files: BaseManifestFile[],
): ReadBack {
  const serverManifest = base.serverManifest ?? contents.serverManifest;
  if (serverManifest === null) throw differs(`has no ${serverManifestName}`);
  const [first, ...more] = compareContents(contents, serverManifest, segmentBytes);
  if (first !== undefined) {
    throw differs(more.length === 0 ? first : `${first} (and ${more.length} more findings)`);
  }
  return { files, serverManifest };
}

/**
 * Reads all archives back, in each store by itself, and compares what comes out of each; with
 * `READ_BACK=none` what was seen as they were written.
 *
 * @throws HoldfastError DAMAGED when something differs in all of them
 */
export async function readBackArchives(
  context: RepositoryContext,
  segmentBytes: number,
  folder: CopiesWriter,
  base: WrittenBase,
  signal: AbortSignal,
): Promise<ReadBack> {
  if (context.config.settings.read_back === 'none') {
    return compared(segmentBytes, base, base.seen ?? emptyContents(), describeSeen(base));
  }
  const bytes = base.archives.reduce((sum, { stored }) => sum + stored.bytes, 0);
  const title = 'reading the base backup back';
  const progress = await context.log.progress(title, bytes * folder.count);
  try {
    return await folder.each(bytes, signal, (writer, stop) =>
      readBackIn(context, segmentBytes, writer, base, { signal: stop, onBytes: progress.add }),
    );
  } finally {
    progress.end();
  }
}
