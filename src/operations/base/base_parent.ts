/** The base backup that an incremental one builds upon: chosen, looked at, and held. */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BaseEntry } from '../../catalog/base_catalog.ts';
import { chainOf, chooseParent, isGood } from '../../core/base_chain.ts';
import { serverManifestName } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { FilterSpec } from '../../core/manifest.ts';
import { encryptionOf } from '../../core/recipients.ts';
import { parseServerManifest } from '../../core/server_manifest.ts';
import type { ClusterFacts } from '../../postgres/cluster_facts.ts';
import type { ServerFacts } from '../../postgres/facts.ts';
import { fileMode } from '../../process/durable.ts';
import type { Storage } from '../../storage/storage.ts';
import type { RepositoryContext } from '../context.ts';
import { createScratchFolder } from '../scratch_folder.ts';
import { keptServerManifest } from './kept_manifest.ts';
import { readServerManifest, type StoredBase, serverManifestOf } from './unpack_archive.ts';

/** The backup that an incremental one builds upon, and what is needed of it. */
export interface PreparedParent {
  readonly label: string;
  /** Its own chain, the whole backup first, itself last. */
  readonly chain: readonly StoredBase[];
  /** Of every archive in its chain. */
  readonly filters: readonly FilterSpec[];
  /** Its backup_manifest, in the temporary folder. */
  readonly serverManifestPath: string;
  /** Removes that copy. */
  remove(): Promise<void>;
}

/** A parent, or why there is none. */
export type ParentChoice =
  | { readonly parent: PreparedParent; readonly fullInstead: null }
  | { readonly parent: null; readonly fullInstead: string };

const parentPrefix = 'holdfast-parent-';
/** What is wrong with a backup, and not with the store or this run. */
const damageCodes = new Set<string>(['BACKUP_NOT_FOUND', 'DAMAGED', 'MANIFEST_INVALID']);
/** What is wrong with a key. */
const keyCodes = new Set<string>(['USAGE', 'WRONG_KEY', 'CONFIG_INVALID', 'PROGRAM_MISSING']);

const instead = (fullInstead: string): ParentChoice => ({ parent: null, fullInstead });

/** Every file of the chain has to be there with its size: a cheap look, no reading. */
async function whatIsMissing(storage: Storage, chain: readonly StoredBase[]) {
  for (const { folder, manifest } of chain) {
    for (const { name, stored } of manifest.files) {
      const key = `${folder}/${name}`;
      const found = await storage.stat(key);
      if (found === null) return `${key} is missing`;
      if (found.bytes !== stored.bytes) {
        return `${key} has ${found.bytes} bytes instead of ${stored.bytes}`;
      }
    }
  }
  return null;
}

/** Its list of files: the copy of this machine, where the stored one is encrypted. */
async function parentList(context: RepositoryContext, parent: StoredBase): Promise<Buffer> {
  const file = serverManifestOf(parent);
  if (encryptionOf(file.filters) === null) return readServerManifest(context, parent);
  const { stateDir } = context.repository;
  const kept = await keptServerManifest(stateDir, parent.manifest.cluster, file.plain.sha256);
  if (kept !== null) return kept;
  try {
    return await readServerManifest(context, parent);
  } catch (error) {
    if (!(error instanceof HoldfastError) || !keyCodes.has(error.code)) throw error;
    const message = `its ${file.name} cannot be decrypted here, and this machine has no copy of it`;
    throw new HoldfastError('DAMAGED', message, { cause: error });
  }
}

/**
 * Chooses the youngest good base backup whose chain is there, and copies its backup_manifest to
 * where pg_basebackup reads it.
 *
 * @param entries all base backups of the cluster
 * @returns the reason where a whole backup has to be taken
 * @throws HoldfastError when the store or the temporary folder cannot be used
 */
export async function prepareParent(
  context: RepositoryContext,
  entries: readonly BaseEntry[],
  now: { readonly server: ServerFacts; readonly cluster: ClusterFacts },
): Promise<ParentChoice> {
  const { storage } = context.repository;
  const chosen = chooseParent(entries, now.server.system_identifier);
  const links = chosen === null ? null : chainOf(entries, chosen.label).links;
  if (chosen === null || links === null) {
    return instead(
      entries.some(isGood)
        ? 'no earlier base backup of this cluster can be built upon'
        : 'there is no good base backup yet',
    );
  }
  const chain = links.filter((link): link is StoredBase & BaseEntry => link.manifest !== null);
  const parent = chain.at(-1);
  if (parent === undefined) return instead('there is no good base backup yet');
  // Blocks from before would come without a checksum: pg_combinebackup writes none.
  if (chain.some(({ manifest }) => manifest.page_checksums !== now.cluster.pageChecksums)) {
    return instead(`page checksums were switched on or off since ${parent.label}`);
  }
  let bytes: Buffer;
  try {
    const missing = await whatIsMissing(storage, chain);
    if (missing !== null) return instead(missing);
    bytes = await parentList(context, parent);
    parseServerManifest(bytes);
  } catch (error) {
    if (!(error instanceof HoldfastError) || !damageCodes.has(error.code)) throw error;
    return instead(`${parent.label} cannot be built upon: ${error.message}`);
  }
  const hint = 'Set TMPDIR to an existing folder.';
  const scratch = await createScratchFolder(context.config.settings.temp_dir, parentPrefix, hint);
  const path = join(scratch.path, serverManifestName);
  try {
    await writeFile(path, bytes, { flag: 'wx', mode: fileMode });
  } catch (error) {
    await scratch.remove();
    throw error;
  }
  const filters = chain.flatMap(({ manifest }) => manifest.files.flatMap((file) => file.filters));
  const { label } = parent;
  const { remove } = scratch;
  return {
    parent: { label, chain, filters, serverManifestPath: path, remove },
    fullInstead: null,
  };
}
