/**
 * PostgreSQL's list of the files of the last base backup of a cluster, kept on this machine. An
 * incremental one is built upon it, and where backups are encrypted this machine cannot read the
 * one in the store. It tells names, sizes and checksums of files, nothing of what is in them.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeComponent } from '../../core/names.ts';
import { sha256Of } from '../../core/sums.ts';
import { makeFolders, replaceFile } from '../../process/durable.ts';

function fileOf(stateDir: string, cluster: string): string {
  return join(stateDir, 'base_manifests', encodeComponent(cluster));
}

/**
 * Keeps the list of the youngest base backup, in the place of the one before.
 *
 * @param stateDir the repository's folder for what is local (`Repository.stateDir`)
 * @throws Node's errors
 */
export async function keepServerManifest(
  stateDir: string,
  cluster: string,
  bytes: Uint8Array,
): Promise<void> {
  const path = fileOf(stateDir, cluster);
  await makeFolders(join(stateDir, 'base_manifests'));
  await replaceFile(path, bytes);
}

/** The list that has this digest, or `null` where another one is kept, or none. */
export async function keptServerManifest(
  stateDir: string,
  cluster: string,
  sha256: string,
): Promise<Buffer | null> {
  const bytes = await readFile(fileOf(stateDir, cluster)).catch(() => null);
  return bytes !== null && sha256Of(bytes) === sha256 ? bytes : null;
}
