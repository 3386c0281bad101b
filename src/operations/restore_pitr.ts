/**
 * Restores a whole cluster to a point in time: a base backup into a new folder, and the settings
 * with which a server replays the WAL to the target by itself (PostgreSQL manual, "Recovering Using
 * a Continuous Archive Backup").
 */

import { appendFile, chmod, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { walFolder } from '../catalog/wal_archive.ts';
import type { BaseManifestFile, BaseTablespace } from '../core/base_manifest.ts';
import { HoldfastError } from '../core/errors.ts';
import type { RecoveryRequest } from '../core/recovery.ts';
import {
  findServerPrograms,
  type RestoredCluster,
  readControlData,
  socketFolder,
  startAndWait,
} from '../postgres/recovery_cluster.ts';
import {
  minimalConfiguration,
  type RecoveryReport,
  recoverySettings,
  type TargetAction,
  withoutTargets,
} from '../postgres/recovery_settings.ts';
import { settingLines } from '../postgres/setting_lines.ts';
import { fileMode, folderMode } from '../process/durable.ts';
import { freeBytesAt } from '../process/file_facts.ts';
import { runChecked } from '../process/run.ts';
import { isRoot } from '../process/user.ts';
import type { RepositoryContext } from './context.ts';
import { begin, empty, finish, requireFree } from './pitr_folder.ts';
import type { PitrPlan } from './pitr_plan.ts';
import { unpackArchive } from './unpack_archive.ts';
import {
  hookFile,
  hookPath,
  recoveryEndCommand,
  renderWalFetch,
  restoreCommand,
  writeHook,
} from './wal_hooks.ts';

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
}

/** What came of it. */
export interface PitrResult {
  /** The folder of the server's socket; `null` where it was not started. */
  readonly socket: string | null;
  readonly report: RecoveryReport | null;
}

/** Unpacked so many bytes need a little more on a disk. */
const spaceFactor = 1.02;
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
  const wanted = Math.ceil(manifest.cluster_bytes * spaceFactor);
  const free = await freeBytesAt(pgdata);
  if (free !== null && free < wanted) {
    const text = `${dirname(pgdata)} has ${free} bytes left, and the cluster needs ${wanted}`;
    throw new HoldfastError('NO_SPACE', text, { hint: 'Restore onto a larger file system.' });
  }
  const { environment, signal, config } = context;
  const major = Math.floor(manifest.server.version_num / 10_000);
  const pgBinDir = config.settings.pg_bin_dir;
  return findServerPrograms({ environment, pgBinDir, signal, major });
}

function fileOf(plan: PitrPlan, name: string): BaseManifestFile {
  const file = plan.base.manifest.files.find((each) => each.name === name);
  if (file !== undefined) return file;
  throw new HoldfastError('MANIFEST_INVALID', `the manifest does not list ${name}`);
}

/** Tells the server where the tablespaces are (manual, "Low-Level Base Backup", tablespace_map). */
function tablespaceMap(mapped: ReturnType<typeof mapTablespaces>): string {
  return mapped
    .map(({ tablespace, folder }) => `${tablespace.oid} ${folder.replace(/[\\\n\r]/g, '\\$&')}\n`)
    .join('');
}

/** The tablespaces before the data directory: without its pg_control no server starts. */
async function unpackAll(context: RepositoryContext, plan: PitrPlan, request: PitrRequest) {
  const { manifest } = plan.base;
  const mapped = mapTablespaces(manifest.tablespaces, request.tablespaces);
  const base = manifest.files.find(({ role }) => role === 'base')?.name ?? 'base.tar';
  const archives = [
    ...mapped.map(({ tablespace, folder }) => ({ file: fileOf(plan, tablespace.file), folder })),
    { file: fileOf(plan, base), folder: request.pgdata },
  ];
  const bytes = archives.reduce((sum, { file }) => sum + file.stored.bytes, 0);
  const progress = await context.log.progress(`unpacking ${plan.base.label}`, bytes);
  try {
    for (const { file, folder } of archives) {
      await unpackArchive(context, plan.base.folder, file, folder, progress.add);
      await chmod(folder, folderMode);
    }
  } finally {
    progress.end();
  }
  if (mapped.length > 0) {
    await writeFile(join(request.pgdata, 'tablespace_map'), tablespaceMap(mapped), {
      mode: fileMode,
    });
  }
}

/** Puts the command that takes WAL out of the archive in its place. */
async function prepareFetch(context: RepositoryContext, plan: PitrPlan) {
  // The backup has all that it needs; a command has to be there.
  if (plan.segments.length === 0) return { restoreCommand: 'false', recoveryEndCommand: null };
  const { root } = context.repository;
  const hook = hookFile(root, plan.cluster, 'wal_fetch');
  const text = renderWalFetch({
    archive: join(root, walFolder(plan.cluster)),
    systemIdentifier: plan.base.manifest.server.system_identifier,
    segmentBytes: plan.segmentBytes,
    path: await hookPath(context.environment),
    jobs: context.config.settings.threads,
  });
  await writeHook(hook, text);
  return { restoreCommand: restoreCommand(hook), recoveryEndCommand: recoveryEndCommand(hook) };
}

async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null)) !== null;
}

async function configure(
  context: RepositoryContext,
  plan: PitrPlan,
  request: PitrRequest,
  cluster: RestoredCluster,
): Promise<void> {
  const { pgdata, action } = request;
  const { recovery } = request;
  // A backup of a standby has it, and a server with both would stay a standby for ever.
  await rm(join(pgdata, 'standby.signal'), { force: true });
  const isOwnTimeline = plan.timeline === plan.base.manifest.start_timeline;
  const settings = recoverySettings({
    target: recovery.target,
    isInclusive: recovery.isInclusive,
    timeline: isOwnTimeline ? null : plan.timeline,
    action,
    ...(await prepareFetch(context, plan)),
  });
  const auto = join(pgdata, 'postgresql.auto.conf');
  const original = withoutTargets((await isThere(auto)) ? await readFile(auto, 'utf8') : '');
  const text = `${original}\n# Written by restore_pitr.ts.\n${settings}`;
  await writeFile(auto, text, { mode: fileMode });
  const conf = join(pgdata, 'postgresql.conf');
  if (!(await isThere(conf))) {
    const minimal = minimalConfiguration(await readControlData(cluster), action);
    await writeFile(conf, minimal, { mode: fileMode, flag: 'wx' });
    for (const [name, text] of [
      ['pg_hba.conf', 'local all all peer\n'],
      ['pg_ident.conf', ''],
    ] as const) {
      const path = join(pgdata, name);
      if (!(await isThere(path))) await writeFile(path, text, { mode: fileMode, flag: 'wx' });
    }
  } else if (action !== 'pause') {
    // A limit that was raised meanwhile would stop a server that answers queries.
    await appendFile(auto, settingLines({ hot_standby: 'off' }));
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
  const mapped = mapTablespaces(plan.base.manifest.tablespaces, request.tablespaces);
  const begun: string[] = [];
  try {
    for (const folder of [pgdata, ...mapped.map((each) => each.folder)]) {
      await begin(folder);
      begun.push(folder);
    }
    // Before there is a pg_control: with it and without a restore_command no server starts.
    await writeFile(join(pgdata, 'recovery.signal'), '', { mode: fileMode });
    await unpackAll(context, plan, request);
    await configure(context, plan, request, cluster);
    await runChecked('sync', [], { environment, timeoutMs: syncTimeoutMs });
    // The data directory last: a server may run on it when all is there.
    for (const folder of begun.toReversed()) await finish(folder);
  } catch (error) {
    for (const folder of begun.toReversed()) await empty(folder);
    throw error;
  }
  if (startPort === null) return { socket: null, report: null };
  const report = await startAndWait(cluster, startPort, (state) => context.log.step(state));
  return { socket: socketFolder(pgdata), report };
}
