/**
 * Unpacks the backups of a chain and puts them together, all within the folders where the cluster
 * goes: files that no increment has changed are linked, and whoever empties those folders has
 * nothing left of it (PostgreSQL manual, "pg_combinebackup").
 */

import {
  access,
  constants,
  mkdir,
  readdir,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { serverManifestName } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import {
  combineArguments,
  combineFailure,
  combineWarnings,
} from '../../postgres/combine_backup.ts';
import type { Tool } from '../../postgres/tools.ts';
import { fileMode, folderMode } from '../../process/durable.ts';
import { startChild } from '../../process/stream.ts';
import type { RepositoryContext } from '../context.ts';
import {
  archiveOf,
  readServerManifest,
  type StoredBase,
  toldWith,
  unpackArchive,
} from './unpack_archive.ts';

/** Where the cluster goes: folders that exist. */
export interface ChainTarget {
  readonly pgdata: string;
  readonly tablespaces: readonly { readonly oid: number; readonly folder: string }[];
}

/** In each of those folders, while it is worked on. */
const stagingName = 'holdfast_chain';
const combinedName = 'combined';
const globalName = 'global';
const noSpace = /No space left on device|Disk quota exceeded/;

/**
 * The program, beside its siblings.
 *
 * @param tool a program of the server's version
 * @throws HoldfastError PROGRAM_MISSING
 */
export async function findCombine({ directory, version }: Tool): Promise<string> {
  const path = join(directory, 'pg_combinebackup');
  try {
    await access(path, constants.X_OK);
    return path;
  } catch (cause) {
    throw new HoldfastError('PROGRAM_MISSING', `there is no pg_combinebackup ${version}: ${path}`, {
      hint: 'Install the programs of that version whole, or restore from a whole base backup.',
      cause,
    });
  }
}

/** Unpacks one backup of the chain as a data directory, its tablespaces linked. */
async function unpackLink(
  context: RepositoryContext,
  link: StoredBase,
  target: ChainTarget,
  number: number,
  onBytes: (bytes: number) => void,
): Promise<string> {
  const folder = join(target.pgdata, stagingName, String(number));
  await mkdir(folder, { mode: folderMode });
  const unpackInto = async (oid: number | null, place: string) => {
    const file = archiveOf(link, oid);
    if (file === null) return false;
    if (oid !== null) await mkdir(place, { mode: folderMode });
    await unpackArchive(context, link.folder, file, place, onBytes);
    return true;
  };
  await unpackInto(null, folder);
  // It tells the program the digests of all files.
  const listed = await readServerManifest(context, link);
  await writeFile(join(folder, serverManifestName), listed, { mode: fileMode });
  await mkdir(join(folder, 'pg_tblspc'), { recursive: true, mode: folderMode });
  for (const { oid, folder: place } of target.tablespaces) {
    const below = join(place, stagingName, String(number));
    // One that was made later than this backup is not in it.
    if (!(await unpackInto(oid, below))) continue;
    await symlink(below, join(folder, 'pg_tblspc', String(oid)));
  }
  return folder;
}

/** Runs pg_combinebackup. @returns what it warns of */
async function combine(
  context: RepositoryContext,
  tool: Tool,
  inputs: readonly string[],
  target: ChainTarget,
): Promise<string[]> {
  const { environment, signal } = context;
  const { platform } = process;
  const last = String(inputs.length - 1);
  const args = combineArguments({
    major: tool.major,
    platform,
    inputs,
    output: join(target.pgdata, stagingName, combinedName),
    tablespaces: target.tablespaces.map(({ folder }) => ({
      from: join(folder, stagingName, last),
      to: join(folder, stagingName, combinedName),
    })),
  });
  const warnings: string[] = [];
  const child = startChild(await findCombine(tool), args, {
    // Its words are read.
    environment: { ...environment, LC_ALL: 'C' },
    signal,
    onStderrLine: (line) => warnings.push(...combineWarnings(line)),
  });
  child.stdin.end();
  child.stdout.resume();
  const exit = await child.exited;
  if (signal.aborted) throw signal.reason;
  if (exit.status === 0) return [...new Set(warnings)];
  const stderr = child.stderrTail();
  const how = exit.signal === null ? `status ${exit.status}` : exit.signal;
  throw new HoldfastError(
    noSpace.test(stderr) ? 'NO_SPACE' : 'RESTORE_FAILED',
    `pg_combinebackup ended with ${how}: ${combineFailure(stderr)}`,
    { hint: 'Free space, or verify the backups: verify_backups.ts --all --deep.' },
  );
}

/** Moves what is in a folder up by two, but for one name. */
async function moveUp(folder: string, but: string | null): Promise<void> {
  const from = join(folder, stagingName, combinedName);
  for (const name of await readdir(from)) {
    if (name !== but) await rename(join(from, name), join(folder, name));
  }
}

/** The links of the combined cluster lead to where its tablespaces were. */
async function relink({ pgdata, tablespaces }: ChainTarget): Promise<void> {
  for (const { oid, folder } of tablespaces) {
    const link = join(pgdata, 'pg_tblspc', String(oid));
    await rm(link, { force: true });
    await symlink(folder, link);
  }
}

/**
 * Restores the last backup of a chain. What it unpacks is gone when it has succeeded; when it
 * fails, it lies within the target's folders.
 *
 * @param tool a program of the server's version; pg_combinebackup lies beside it
 * @param chain the whole backup first
 * @param target folders without a data directory in them
 * @param onBytes told of stored bytes as they are unpacked
 * @returns what pg_combinebackup warns of
 * @throws HoldfastError DAMAGED, RESTORE_FAILED, NO_SPACE, PROGRAM_MISSING
 */
export async function combineChain(
  context: RepositoryContext,
  tool: Tool,
  chain: readonly StoredBase[],
  target: ChainTarget,
  onBytes: (bytes: number) => void,
): Promise<string[]> {
  const folders = [target.pgdata, ...target.tablespaces.map(({ folder }) => folder)];
  for (const folder of folders) await mkdir(join(folder, stagingName), { mode: folderMode });
  const inputs: string[] = [];
  for (const [number, link] of chain.entries()) {
    inputs.push(
      await toldWith(link.label, () => unpackLink(context, link, target, number, onBytes)),
    );
  }
  context.log.step(`putting ${chain.length} base backups together`);
  const warnings = await combine(context, tool, inputs, target);
  for (const { folder } of target.tablespaces) await moveUp(folder, null);
  await moveUp(target.pgdata, globalName);
  await relink(target);
  // Without the pg_control in it no server starts.
  const combined = join(target.pgdata, stagingName, combinedName);
  await rename(join(combined, globalName), join(target.pgdata, globalName));
  for (const folder of folders) {
    await rm(join(folder, stagingName), { recursive: true, force: true });
  }
  return warnings;
}
