/** Unpacks a base backup, whole or a chain, into the folders where its cluster goes. */

import { chmod } from 'node:fs/promises';
import type { Tool } from '../../postgres/tools.ts';
import { folderMode } from '../../process/durable.ts';
import type { RepositoryContext } from '../context.ts';
import { type ChainTarget, combineChain } from './combine_chain.ts';
import { archiveOf, type StoredBase, toldWith, unpackArchive } from './unpack_archive.ts';

/** The tablespaces before the data directory: without its pg_control no server starts. */
async function unpackWhole(
  context: RepositoryContext,
  backup: StoredBase,
  target: ChainTarget,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const places = [
    ...target.tablespaces.map(({ oid, folder }) => ({ file: archiveOf(backup, oid), folder })),
    { file: archiveOf(backup, null), folder: target.pgdata },
  ];
  for (const { file, folder } of places) {
    if (file !== null) await unpackArchive(context, backup.folder, file, folder, onBytes);
  }
}

/**
 * Unpacks the last backup of a chain. The links of its tablespaces are the caller's work.
 *
 * @param tool a program of the server's version
 * @param chain the whole backup first; often it is the only one
 * @param target folders that exist, without a data directory in them
 * @returns what pg_combinebackup warns of
 * @throws HoldfastError DAMAGED with the `label` of the backup in its details, and what
 *   {@link combineChain} throws
 */
export async function unpackBase(
  context: RepositoryContext,
  tool: Tool,
  chain: readonly [StoredBase, ...StoredBase[]],
  target: ChainTarget,
): Promise<string[]> {
  const [whole] = chain;
  const last = chain.at(-1) ?? whole;
  const bytes = chain
    .flatMap(({ manifest }) => manifest.files)
    .filter(({ role }) => role === 'base' || role === 'tablespace')
    .reduce((sum, { stored }) => sum + stored.bytes, 0);
  const progress = await context.log.progress(`unpacking ${last.label}`, bytes);
  let warnings: string[] = [];
  try {
    if (chain.length > 1) {
      warnings = await combineChain(context, tool, chain, target, progress.add);
    } else await toldWith(last.label, () => unpackWhole(context, last, target, progress.add));
  } finally {
    progress.end();
  }
  const folders = [target.pgdata, ...target.tablespaces.map(({ folder }) => folder)];
  for (const folder of folders) await chmod(folder, folderMode);
  return warnings;
}
