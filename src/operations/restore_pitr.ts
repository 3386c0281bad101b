/**
 * Restores a whole cluster to a point in time: a base backup into a new folder, and the settings
 * with which a server replays the WAL to the target by itself (PostgreSQL manual, "Recovering Using
 * a Continuous Archive Backup").
 */

import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BaseTablespace } from '../core/base_manifest.ts';
import { HoldfastError } from '../core/errors.ts';
import type { RecoveryRequest } from '../core/recovery.ts';
import {
  findServerPrograms,
  type RestoredCluster,
  readControlData,
  socketFolder,
  startAndWait,
} from '../postgres/recovery_cluster.ts';
import type { RecoveryReport, TargetAction } from '../postgres/recovery_settings.ts';
import type { Tool } from '../postgres/tools.ts';
import { fileMode } from '../process/durable.ts';
import { runChecked } from '../process/run.ts';
import { isRoot } from '../process/user.ts';
import { findCombine } from './combine_chain.ts';
import type { RepositoryContext } from './context.ts';
import { holdBackups } from './hold_backup.ts';
import { configurePitr, modesOf } from './pitr_configure.ts';
import { begin, empty, finish, requireFree } from './pitr_folder.ts';
import type { PitrPlan } from './pitr_plan.ts';
import { requireRoom } from './pitr_room.ts';
import { unpackBase } from './unpack_base.ts';

/** What is restored, and where to. */
export interface PitrRequest {
  readonly recovery: RecoveryRequest;
  /** An absolute path. */
  readonly pgdata: string;
  readonly action: TargetAction;
  /** Absolute paths by the name or the OID of a tablespace. */
  readonly tablespaces: ReadonlyMap<string, string>;
  /** Starts the server on this port and waits until it is promoted; `null`: it is not started. */
  readonly startPort: number | null;
  /** Takes the configuration that was saved beside the data directory. */
  readonly withConfig?: boolean;
}

/** What came of it. */
export interface PitrResult {
  /** The folder of the server's socket; `null` where it was not started. */
  readonly socket: string | null;
  readonly report: RecoveryReport | null;
  /** What pg_combinebackup warns of, where a chain was put together. */
  readonly warnings: readonly string[];
}

const syncTimeoutMs = 3_600_000;

/** Which tablespace goes where. @throws HoldfastError USAGE for one that is missing or unknown */
function mapTablespaces(
  tablespaces: readonly BaseTablespace[],
  mapping: ReadonlyMap<string, string>,
): { readonly tablespace: BaseTablespace; readonly folder: string }[] {
  const names = tablespaces.map(({ oid, name }) => `${JSON.stringify(name)} (${oid})`).join(', ');
  const keys = new Set(tablespaces.flatMap(({ oid, name }) => [String(oid), name]));
  const unknown = [...mapping.keys()].find((key) => !keys.has(key));
  if (unknown !== undefined) {
    throw new HoldfastError('USAGE', `the backup has no tablespace ${JSON.stringify(unknown)}`, {
      hint: names === '' ? 'It has none at all.' : `It has ${names}.`,
    });
  }
  return tablespaces.map((tablespace) => {
    const folder = mapping.get(tablespace.name) ?? mapping.get(String(tablespace.oid));
    if (folder !== undefined) return { tablespace, folder };
    const text = `it is not said where the tablespace ${JSON.stringify(tablespace.name)} goes`;
    throw new HoldfastError('USAGE', text, {
      hint: `Add --tablespace-mapping NAME=FOLDER for each of ${names}.`,
    });
  });
}

/** Where each tablespace goes by its OID, and (`null`) the data directory. */
function foldersOf({ base }: PitrPlan, { pgdata, tablespaces }: PitrRequest) {
  const mapped = mapTablespaces(base.manifest.tablespaces, tablespaces);
  return new Map<number | null, string>([
    [null, pgdata],
    ...mapped.map(({ tablespace, folder }) => [tablespace.oid, folder] as const),
  ]);
}

/**
 * Looks at everything that can be known before a byte is written.
 *
 * @returns the programs of the server's version
 * @throws HoldfastError USAGE, WRONG_USER, NO_SPACE, TOOL_TOO_OLD
 */
export async function checkPitr(context: RepositoryContext, plan: PitrPlan, request: PitrRequest) {
  const { manifest } = plan.base;
  const { pgdata, startPort } = request;
  if (isRoot()) {
    throw new HoldfastError('WRONG_USER', 'no server runs as root, so a cluster is not its files', {
      hint: 'Run this as the user that will run the server, for example with sudo -u postgres.',
    });
  }
  const folders = mapTablespaces(manifest.tablespaces, request.tablespaces).map((m) => m.folder);
  for (const folder of [pgdata, ...folders]) await requireFree(folder);
  const all = [pgdata, ...folders];
  const nested = all.find((one) =>
    all.some((other) => other !== one && one.startsWith(`${other}/`)),
  );
  if (nested !== undefined || new Set(all).size < all.length) {
    throw new HoldfastError('USAGE', 'the folders of the restore lie within each other', {
      hint: 'Name folders beside each other.',
    });
  }
  if (startPort !== null) socketFolder(pgdata);
  await requireRoom(plan, foldersOf(plan, request));
  const { environment, signal, config } = context;
  const major = Math.floor(manifest.server.version_num / 10_000);
  const pgBinDir = config.settings.pg_bin_dir;
  const tool = await findServerPrograms({ environment, pgBinDir, signal, major });
  if (plan.chain.length > 1) await findCombine(tool);
  return tool;
}

/** Tells the server where the tablespaces are (manual, "Low-Level Base Backup", tablespace_map). */
function tablespaceMap(mapped: ReturnType<typeof mapTablespaces>): string {
  return mapped
    .map(({ tablespace, folder }) => `${tablespace.oid} ${folder.replace(/[\\\n\r]/g, '\\$&')}\n`)
    .join('');
}

/** Unpacks all. @returns what pg_combinebackup warns of */
async function unpackAll(
  context: RepositoryContext,
  tool: Tool,
  plan: PitrPlan,
  request: PitrRequest,
): Promise<string[]> {
  const { pgdata } = request;
  const mapped = mapTablespaces(plan.base.manifest.tablespaces, request.tablespaces);
  const tablespaces = mapped.map(({ tablespace, folder }) => ({ oid: tablespace.oid, folder }));
  const warnings = await unpackBase(context, tool, plan.chain, { pgdata, tablespaces });
  if (mapped.length > 0) {
    await writeFile(join(pgdata, 'tablespace_map'), tablespaceMap(mapped), { mode: fileMode });
  }
  return warnings;
}

/** Makes the folders and what is in them. @returns what pg_combinebackup warns of */
async function fill(
  context: RepositoryContext,
  plan: PitrPlan,
  request: PitrRequest,
  cluster: RestoredCluster,
): Promise<string[]> {
  const { pgdata } = request;
  const mapped = mapTablespaces(plan.base.manifest.tablespaces, request.tablespaces);
  const begun: string[] = [];
  try {
    for (const folder of [pgdata, ...mapped.map((each) => each.folder)]) {
      await begin(folder);
      begun.push(folder);
    }
    // Before there is a pg_control: with it and without a restore_command no server starts.
    await writeFile(join(pgdata, 'recovery.signal'), '', { mode: fileMode });
    const warnings = await unpackAll(context, cluster.tool, plan, request);
    const control = await readControlData(cluster);
    const { notes } = await configurePitr(context, plan, request, { cluster, control });
    for (const note of notes) context.log.warn(note);
    const { folder: mode } = await modesOf(pgdata);
    for (const folder of begun) await chmod(folder, mode);
    const { environment } = context;
    await runChecked('sync', [], { environment, timeoutMs: syncTimeoutMs });
    // The data directory last: a server may run on it when all is there.
    for (const folder of begun.toReversed()) await finish(folder);
    return [...warnings, ...notes];
  } catch (error) {
    for (const folder of begun.toReversed()) await empty(folder);
    throw error;
  }
}

/**
 * Restores as planned. When it fails before the files are complete, it removes what it has begun;
 * killed, it leaves a marked folder.
 *
 * @throws HoldfastError DAMAGED, NO_SPACE, RESTORE_FAILED when the server does not get to the
 *   target, and what {@link checkPitr} throws
 */
export async function restorePitr(
  context: RepositoryContext,
  plan: PitrPlan,
  request: PitrRequest,
): Promise<PitrResult> {
  const tool = await checkPitr(context, plan, request);
  const { pgdata, startPort } = request;
  const { environment, signal } = context;
  const cluster: RestoredCluster = { pgdata, tool, environment, signal };
  const warnings = await holdBackups(context.repository, plan.chain, () =>
    fill(context, plan, request, cluster),
  );
  if (startPort === null) return { socket: null, report: null, warnings };
  const report = await startAndWait(cluster, startPort, (state) => context.log.step(state));
  return { socket: socketFolder(pgdata), report, warnings };
}
