/** Unpacks an archive of a base backup into a folder, and proves every byte on the way. */

import { buffer } from 'node:stream/consumers';
import type { BaseManifest, BaseManifestFile } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import { createByteCounter } from '../../pipeline/measure.ts';
import { type Measurements, readBack } from '../../pipeline/read_back.ts';
import { createTarUnpacker } from '../../pipeline/tar_unpack.ts';
import { flowContext, type RepositoryContext } from '../context.ts';
import { isLockedError, judgeLocked } from '../verify_file.ts';

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

/** The file of a backup that holds PostgreSQL's own list. @throws HoldfastError MANIFEST_INVALID */
export function serverManifestOf(backup: StoredBase): BaseManifestFile {
  const { files } = backup.manifest;
  return fileOf(backup, files.find(({ role }) => role === 'backup_manifest')?.name ?? 'its list');
}

/**
 * Reads a small file of a backup, decrypted.
 *
 * @throws HoldfastError DAMAGED, BACKUP_NOT_FOUND, WRONG_KEY; USAGE where no key was given
 */
export async function readSmallFile(
  context: RepositoryContext,
  backup: StoredBase,
  file: BaseManifestFile,
): Promise<Buffer> {
  const key = `${backup.folder}/${file.name}`;
  const { storage } = context.repository;
  let bytes = Buffer.alloc(0);
  const measured = await readBack({
    body: await storage.get(key),
    filters: file.filters,
    sinks: [
      async (body) => {
        bytes = await buffer(body);
      },
    ],
    context: flowContext(context),
  }).catch((error: unknown) => explainLocked(context, key, file, error));
  requireSame(key, file, measured);
  return bytes;
}

/** PostgreSQL's own list of the backup's files. @throws as {@link readSmallFile} */
export function readServerManifest(
  context: RepositoryContext,
  backup: StoredBase,
): Promise<Buffer> {
  return readSmallFile(context, backup, serverManifestOf(backup));
}

function requireSame(key: string, file: BaseManifestFile, { stored, plain }: Measurements): void {
  if (stored.sha256 === file.stored.sha256 && plain.sha256 === file.plain.sha256) return;
  throw new HoldfastError('DAMAGED', `${key} differs from what its manifest says`, {
    hint: 'Run verify_backups.ts, and restore from another base backup or another copy.',
  });
}

/** A key that does not fit says nothing where the bytes have changed. */
async function explainLocked(
  context: RepositoryContext,
  key: string,
  file: BaseManifestFile,
  error: unknown,
): Promise<never> {
  if (!isLockedError(error)) throw error;
  const [finding] = await judgeLocked(context, file, () => context.repository.storage.get(key));
  if (finding === undefined) throw error;
  throw new HoldfastError('DAMAGED', `${key} ${finding.message}`, {
    hint: 'Run verify_backups.ts, and restore from another base backup or another copy.',
    cause: error,
  });
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
  const measured = await readBack({
    body: await context.repository.storage.get(key),
    filters: file.filters,
    storedObservers: [createByteCounter(onBytes)],
    to: createTarUnpacker(folder),
    context: flowContext(context),
  }).catch((error: unknown) => explainLocked(context, key, file, error));
  requireSame(key, file, measured);
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
