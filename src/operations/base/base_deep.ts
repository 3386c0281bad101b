/**
 * Has PostgreSQL check a base backup as a restore would make it: unpacked, the chain put together,
 * every file and the WAL looked at by pg_verifybackup.
 */

import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { serverManifestName } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import { restoreNeeds } from '../../core/restore_needs.ts';
import { formatBytes } from '../../core/units.ts';
import { findServerPrograms } from '../../postgres/recovery_cluster.ts';
import type { Tool } from '../../postgres/tools.ts';
import { verifyBackupFindings } from '../../postgres/verify_backup.ts';
import { fileMode, folderMode } from '../../process/durable.ts';
import { startChild } from '../../process/stream.ts';
import type { RepositoryContext } from '../context.ts';
import { holdBackups } from '../hold_backup.ts';
import { createScratchFolder } from '../scratch_folder.ts';
import type { ChainTarget } from './combine_chain.ts';
import { readServerManifest, type StoredBase } from './unpack_archive.ts';
import { unpackBase } from './unpack_base.ts';

/** A chain: the whole backup first; often it is the only one. */
export type StoredChain = readonly [StoredBase, ...StoredBase[]];

const deepPrefix = 'holdfast-deep-';
const deepHint = 'Set TMPDIR to an existing folder with room for the whole cluster.';

function findPrograms(context: RepositoryContext, { manifest }: StoredBase): Promise<Tool> {
  const { environment, signal, config } = context;
  const major = Math.floor(manifest.server.version_num / 10_000);
  return findServerPrograms({ environment, signal, pgBinDir: config.settings.pg_bin_dir, major });
}

function requireRoom(chain: StoredChain, folder: string, freeBytes: number): void {
  const [whole, ...more] = chain;
  const needs = restoreNeeds([whole.manifest, ...more.map(({ manifest }) => manifest)]);
  const needed = needs.reduce((sum, { bytes }) => sum + bytes, 0);
  if (freeBytes >= needed) return;
  const text = `${formatBytes(freeBytes)} are left in ${folder}, and --deep unpacks about `;
  throw new HoldfastError('NO_SPACE', text + formatBytes(needed), {
    hint: 'Set TMPDIR to a larger folder.',
  });
}

/** Makes the data directory whose links lead to its tablespaces. */
async function unpackInto(
  context: RepositoryContext,
  tool: Tool,
  chain: StoredChain,
  folder: string,
): Promise<string> {
  const last = chain.at(-1) ?? chain[0];
  const pgdata = join(folder, 'pgdata');
  const tablespaces = last.manifest.tablespaces.map(({ oid }) => ({
    oid,
    folder: join(folder, String(oid)),
  }));
  const target: ChainTarget = { pgdata, tablespaces };
  for (const each of [pgdata, ...tablespaces.map((space) => space.folder)]) {
    await mkdir(each, { mode: folderMode });
  }
  for (const warning of await unpackBase(context, tool, chain, target)) {
    context.log.warn(`pg_combinebackup warns: ${warning}`);
  }
  if (chain.length > 1) return pgdata;
  for (const { oid, folder: place } of tablespaces) {
    const link = join(pgdata, 'pg_tblspc', String(oid));
    await rm(link, { force: true });
    await symlink(place, link);
  }
  const listed = await readServerManifest(context, last);
  await writeFile(join(pgdata, serverManifestName), listed, { mode: fileMode });
  return pgdata;
}

async function runVerify(
  { environment, signal }: RepositoryContext,
  { directory }: Tool,
  pgdata: string,
): Promise<string[]> {
  const child = startChild(join(directory, 'pg_verifybackup'), ['--quiet', pgdata], {
    // Its words are read.
    environment: { ...environment, LC_ALL: 'C' },
    signal,
  });
  child.stdin.end();
  child.stdout.resume();
  const exit = await child.exited;
  if (signal.aborted) throw signal.reason;
  if (exit.status === 0) return [];
  const findings = verifyBackupFindings(child.stderrTail());
  return findings.length > 0 ? findings : [`pg_verifybackup ended with ${exit.status}`];
}

/**
 * Checks the last backup of a chain.
 *
 * @returns what pg_verifybackup has found wrong, in its own words
 * @throws HoldfastError DAMAGED with the `label` of the backup whose bytes differ in its details,
 *   RESTORE_FAILED where pg_combinebackup gives up, TOOL_TOO_OLD, NO_SPACE, INTERRUPTED
 */
export async function verifyDeep(
  context: RepositoryContext,
  chain: StoredChain,
): Promise<readonly string[]> {
  const tool = await findPrograms(context, chain[0]);
  const { temp_dir: parent } = context.config.settings;
  const scratch = await createScratchFolder(parent, deepPrefix, deepHint);
  try {
    requireRoom(chain, parent, scratch.freeBytes);
    const pgdata = await holdBackups(context.repository, chain, () =>
      unpackInto(context, tool, chain, scratch.path),
    );
    return await runVerify(context, tool, pgdata);
  } finally {
    await scratch.remove();
  }
}
