/** Unpacks an archive of a base backup into a folder, and proves every byte on the way. */

import { buffer } from 'node:stream/consumers';
import {
  type BaseManifest,
  type BaseManifestFile,
  serverManifestName,
} from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import { sha256Of } from '../../core/sums.ts';
import { createByteCounter } from '../../pipeline/measure.ts';
import { readBack } from '../../pipeline/read_back.ts';
import { createTarUnpacker } from '../../pipeline/tar_unpack.ts';
import type { Storage } from '../../storage/storage.ts';
import { flowContext, type RepositoryContext } from '../context.ts';

/** A base backup whose manifest was read. */
export interface StoredBase {
  readonly label: string;
  /** The key of its folder. */
  readonly folder: string;
  readonly manifest: BaseManifest;
}

/** A file that the manifest has to name. @throws HoldfastError MANIFEST_INVALID */
function fileOf({ label, manifest }: StoredBase, name: string): BaseManifestFile {
  const file = manifest.files.find((each) => each.name === name);
  if (file !== undefined) return file;
  throw new HoldfastError('MANIFEST_INVALID', `the manifest of ${label} does not list ${name}`);
}

/**
 * The archive of a tablespace, or (`null`) of the data directory; `null` for a tablespace that the
 * backup does not have.
 *
 * @throws HoldfastError MANIFEST_INVALID
 */
export function archiveOf(backup: StoredBase, oid: number | null): BaseManifestFile | null {
  const { files, tablespaces } = backup.manifest;
  if (oid === null) {
    return fileOf(backup, files.find(({ role }) => role === 'base')?.name ?? 'base.tar');
  }
  const tablespace = tablespaces.find((each) => each.oid === oid);
  return tablespace === undefined ? null : fileOf(backup, tablespace.file);
}

/** PostgreSQL's own list of the backup's files. @throws HoldfastError DAMAGED, BACKUP_NOT_FOUND */
export async function readServerManifest(storage: Storage, backup: StoredBase): Promise<Buffer> {
  const key = `${backup.folder}/${serverManifestName}`;
  const bytes = await buffer(await storage.get(key));
  if (sha256Of(bytes) === fileOf(backup, serverManifestName).stored.sha256) return bytes;
  throw new HoldfastError('DAMAGED', `${key} differs from what its manifest says`);
}

/**
 * Unpacks one archive and compares every byte with what the manifest says of it.
 *
 * @param from the key of the backup's folder
 * @param folder exists; on a failure some files lie in it
 * @param onBytes told of stored bytes as they pass
 * @throws HoldfastError DAMAGED
 */
export async function unpackArchive(
  context: RepositoryContext,
  from: string,
  file: BaseManifestFile,
  folder: string,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const key = `${from}/${file.name}`;
  const { stored, plain } = await readBack({
    body: await context.repository.storage.get(key),
    filters: file.filters,
    storedObservers: [createByteCounter(onBytes)],
    to: createTarUnpacker(folder),
    context: flowContext(context),
  });
  if (stored.sha256 === file.stored.sha256 && plain.sha256 === file.plain.sha256) return;
  throw new HoldfastError('DAMAGED', `${key} differs from what its manifest says`, {
    hint: 'Run verify_backups.ts, and restore from another base backup or another copy.',
  });
}

/** Does something with a backup; an error tells in its details which one it was. */
export async function toldWith<T>(label: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    const { code, message, hint, cause, details } = error;
    throw new HoldfastError(code, message, { hint, cause, details: { ...details, label } });
  }
}
