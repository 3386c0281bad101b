/**
 * A base backup of a cluster, from the lock to the commit. The order of the steps is that of
 * REPOSITORY.md, "Committing": nothing is a backup before its manifest is in place.
 */

import { baseBackupFolder, baseFolder } from '../../catalog/base_catalog.ts';
import type { CopiesWriter, StoredCopy } from '../../catalog/copies_writer.ts';
import { whileUsingCluster } from '../../catalog/in_use.ts';
import { beginRun } from '../../catalog/runs.ts';
import {
  type BaseConfigFile,
  type BaseManifest,
  type BaseManifestFile,
  baseManifestFormat,
  serverManifestName,
} from '../../core/base_manifest.ts';
import { serializeBaseManifest } from '../../core/base_manifest_codec.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import {
  type ManifestWarning,
  manifestName,
  restoreScriptName,
  sumsName,
} from '../../core/manifest.ts';
import { totalBytes } from '../../core/manifest_sizes.ts';
import { encryptionOf } from '../../core/recipients.ts';
import { parseServerManifest, type ServerManifest } from '../../core/server_manifest.ts';
import { sumsOf } from '../../core/sums.ts';
import {
  acquireDatabaseLock,
  baseLockKey,
  type DatabaseLock,
} from '../../postgres/advisory_lock.ts';
import { formatLockHolder } from '../../postgres/lock_holder.ts';
import { readBackFiles } from '../backup_read_back.ts';
import { beginCopies, copyWarnings } from '../begin_copies.ts';
import { beginLabel } from '../begin_label.ts';
import { cleanUp } from '../clean_up.ts';
import type { RepositoryContext } from '../context.ts';
import { notDecrypted, requireEncryption } from '../encryption_ready.ts';
import { holdBackups } from '../hold_backup.ts';
import { manifestServer } from '../manifest_server.ts';
import { connectMaintenance } from '../open_database.ts';
import { putSignature } from '../sign_manifest.ts';
import { stopOnLostLock } from '../stop_on_lost_lock.ts';
import { noIncrementReason, type WrittenBase, writeBase } from './base_files.ts';
import type { PreparedParent } from './base_parent.ts';
import { type BasePreparation, prepareBase } from './base_prepare.ts';
import { readBackArchives } from './base_read_back.ts';
import type { BaseBackupRequest, BaseBackupResult } from './base_request.ts';
import { renderBaseScript } from './base_restore_script.ts';
import { putConfig, putSmallFile } from './base_small_files.ts';
import { keepServerManifest } from './kept_manifest.ts';

/** A backup that is being written. */
interface Begun {
  readonly label: string;
  readonly startedAt: Date;
  readonly startedSeconds: number;
  readonly parent: PreparedParent | null;
}

/** What has been written and read back. */
interface Written {
  readonly base: WrittenBase;
  readonly files: BaseManifestFile[];
  readonly config: readonly BaseConfigFile[];
  /** PostgreSQL's own list of the files, understood and as it is. */
  readonly listed: ServerManifest;
  readonly bytes: Uint8Array;
  readonly readBackSeconds: number;
}

/** Everything but the manifest: archives, the server's list, configuration, restore.sh. */
async function writeFiles(
  context: RepositoryContext,
  prepared: BasePreparation,
  folder: CopiesWriter,
  begun: Begun,
  signal: AbortSignal,
): Promise<Written> {
  const { label, parent } = begun;
  const progress = await context.log.progress('base backup', null);
  let base: WrittenBase;
  try {
    base = await writeBase({
      context,
      signal,
      parameters: prepared.parameters,
      tool: prepared.tool,
      folder,
      label,
      parentManifest: parent?.serverManifestPath ?? null,
      hasTablespaces: prepared.cluster.tablespaces.length > 0,
      estimate: prepared.estimates[parent === null ? 'base' : 'incr'],
      onBytes: progress.add,
    });
  } finally {
    progress.end();
  }
  const readBackStarted = context.stopwatch();
  const { wal_segment_bytes: segmentBytes } = prepared.server;
  const read = await readBackArchives(context, segmentBytes, folder, base, signal);
  const { files: archives, serverManifest: bytes } = read;
  const listed = parseServerManifest(bytes);
  const to = { context, folder, signal, filters: archives.flatMap(({ filters }) => filters) };
  const small = [
    await putSmallFile(to, { name: serverManifestName, role: 'backup_manifest', bytes }),
  ];
  const config = await putConfig(to, prepared.config.saved);
  small.push(...config.files);
  const script = renderBaseScript({
    label,
    chain: [...(parent?.chain.map((link) => link.label) ?? []), label],
    filters: [...(parent?.filters ?? []), ...to.filters],
    createdAt: begun.startedAt.toISOString(),
    serverVersion: prepared.server.version,
    serverMajor: prepared.server.major,
    toolVersion: context.toolVersion,
    clusterBytes: clusterBytes(prepared, begun, listed),
    backupBytes: totalBytes({ files: archives }, 'stored'),
    damagedPages: base.damagedPages.length,
    tablespaces: prepared.cluster.tablespaces,
    savedConfig: config.entries.map(({ file }) => file),
  });
  const text = { name: restoreScriptName, role: 'restore_script', isPublic: true } as const;
  small.push(await putSmallFile(to, { ...text, bytes: Buffer.from(script) }));
  const { read_back: wanted } = context.config.settings;
  await readBackFiles(context, folder, small, wanted === 'none' ? 'none' : 'stored', signal);
  const readBackSeconds = round(context.stopwatch() - readBackStarted);
  const files = [...archives, ...small];
  return { base, files, config: config.entries, listed, bytes, readBackSeconds };
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

/** Of an increment the files tell what has changed, and the server how large the databases are. */
function clusterBytes(
  { cluster }: BasePreparation,
  { parent }: Begun,
  { files }: ServerManifest,
): number {
  let sum = 0;
  for (const { bytes } of files.values()) sum += bytes;
  return parent === null ? sum : Math.max(sum, cluster.bytes);
}

function collectWarnings(
  { config, log }: RepositoryContext,
  prepared: BasePreparation,
  base: WrittenBase,
): ManifestWarning[] {
  const warnings = [...prepared.warnings, ...prepared.config.warnings];
  if (config.settings.read_back === 'plain' && base.seen !== null) {
    const warning = notDecrypted(base.archives.flatMap(({ filters }) => filters));
    log.warn(warning.message);
    warnings.push(warning);
  }
  for (const message of base.warnings) warnings.push({ code: 'program', message });
  const damaged = base.damagedPages.length;
  if (damaged > 0) {
    const more = damaged > 1 ? `, and ${damaged - 1} more` : '';
    const message =
      'THE CLUSTER IS DAMAGED: the server found pages with wrong checksums ' +
      `(${base.damagedPages[0]}${more}); this backup holds them as they are, ` +
      'older backups may have them whole and are kept: look at the disk, and at pg_amcheck';
    warnings.unshift({ code: 'damaged-pages', message });
  }
  return warnings;
}

function buildManifest(
  context: RepositoryContext,
  prepared: BasePreparation,
  begun: Begun,
  written: Written,
): BaseManifest {
  const { server, tool, cluster } = prepared;
  const { base, files, listed } = written;
  const [first] = listed.walRanges;
  const last = listed.walRanges.at(-1) ?? first;
  const archives = new Map(base.archives.map(({ oid, name }) => [oid, name]));
  return {
    format: baseManifestFormat,
    label: begun.label,
    kind: begun.parent === null ? 'base' : 'incr',
    parent: begun.parent?.label ?? null,
    engine: 'postgres',
    tool: { name: 'holdfast', version: context.toolVersion },
    pg_basebackup: { version: tool.version, major: tool.major },
    cluster: prepared.clusterName,
    host: context.host,
    server: manifestServer(server),
    started_at: begun.startedAt.toISOString(),
    finished_at: context.clock().toISOString(),
    duration_seconds: round(context.stopwatch() - begun.startedSeconds),
    checkpoint: context.config.settings.base_backup_checkpoint,
    start_lsn: first.start_lsn,
    start_timeline: first.timeline,
    stop_lsn: last.end_lsn,
    stop_timeline: last.timeline,
    wal_ranges: [...listed.walRanges],
    cluster_bytes: clusterBytes(prepared, begun, listed),
    cluster_files: listed.files.size,
    tablespaces: cluster.tablespaces.flatMap(({ oid, name }) => {
      const file = archives.get(oid);
      return file === undefined ? [] : [{ oid, name, file }];
    }),
    page_checksums: cluster.pageChecksums,
    damaged_pages: [...base.damagedPages],
    files,
    config: [...written.config],
    warnings: collectWarnings(context, prepared, base),
    read_back: readBackOf(context, written),
  };
}

/** How it was read back; no depth: whole. */
function readBackOf(
  { config }: RepositoryContext,
  { base, readBackSeconds: seconds }: Written,
): BaseManifest['read_back'] {
  if (config.settings.read_back === 'none') return { depth: 'none', seconds: 0 };
  return base.seen === null ? { seconds } : { depth: 'stored', seconds };
}

/** Writes, reads back and commits one backup into its folder. */
async function writeBackup(
  context: RepositoryContext,
  prepared: BasePreparation,
  lock: DatabaseLock,
  folder: CopiesWriter,
  begun: Begun,
): Promise<BaseManifest> {
  const { signal } = stopOnLostLock(context, lock);
  const written = await writeFiles(context, prepared, folder, begun, signal);
  const manifest = buildManifest(context, prepared, begun, written);
  const manifestBytes = serializeBaseManifest(manifest);
  await folder.put(sumsName, Buffer.from(sumsOf(manifest, manifestBytes)));
  await putSignature(context, folder, manifestBytes, signal);
  await lock.verify();
  if (signal.aborted) throw signal.reason;
  await folder.commit(manifestName, manifestBytes);
  await keepList(context, prepared, written);
  return manifest;
}

/** What the next incremental one is built upon, where nobody here can decrypt the stored one. */
async function keepList(
  { repository, log }: RepositoryContext,
  { clusterName }: BasePreparation,
  { files, bytes }: Written,
): Promise<void> {
  if (encryptionOf(files.flatMap(({ filters }) => filters)) === null) return;
  try {
    await keepServerManifest(repository.stateDir, clusterName, bytes);
  } catch (error) {
    log.warn(`the next base backup will be a whole one: ${toHoldfastError(error).message}`);
  }
}

/** A backup that is committed. */
interface Attempt {
  readonly manifest: BaseManifest;
  readonly folder: string;
  readonly copies: readonly StoredCopy[];
}

/** One attempt: a label and a folder of its own. */
async function attempt(
  context: RepositoryContext,
  prepared: BasePreparation,
  lock: DatabaseLock,
  parent: PreparedParent | null,
): Promise<Attempt> {
  const { clusterName: cluster, ready } = prepared;
  const above = baseFolder(cluster);
  const kind = parent === null ? 'base' : 'incr';
  const { label, startedAt } = await beginLabel(context, ready.stores, above, kind);
  const key = baseBackupFolder(cluster, label);
  const run = await beginRun({
    stateDir: context.repository.stateDir,
    runId: `${context.runId}-${label}`,
    command: 'base backup',
    cluster,
    database: null,
    folder: key,
    startedAt,
  });
  let isDiscarded = true;
  try {
    const facts = { tier: null, database: null, startedAt };
    const folder = await beginCopies(context, ready.stores, key, facts);
    try {
      const begun = { label, startedAt, startedSeconds: context.stopwatch(), parent };
      const manifest = await writeBackup(context, prepared, lock, folder, begun);
      return { manifest, folder: key, copies: folder.report() };
    } catch (error) {
      await folder.abort();
      throw error;
    } finally {
      isDiscarded = folder.isDiscarded;
    }
  } finally {
    // Of a run that is not forgotten the next one removes what it has left.
    if (isDiscarded) await run.end();
  }
}

/** Why there is nothing to build upon any more, where an error says that; or `null`. */
function removedReason(error: unknown, { label }: PreparedParent): string | null {
  const isGone = error instanceof HoldfastError && error.code === 'BACKUP_NOT_FOUND';
  return isGone ? `${label}, or one that it needs, was removed just now` : null;
}

/** An incremental one where that is wanted and possible, else a whole one with the reason. */
async function backupLocked(
  context: RepositoryContext,
  prepared: BasePreparation,
  lock: DatabaseLock,
): Promise<BaseBackupResult> {
  await cleanUp(context, prepared.ready.stores, baseFolder(prepared.clusterName));
  let fullInstead = prepared.fullInstead;
  const tell = ({ manifest, folder, copies }: Attempt): BaseBackupResult => {
    const warnings = [...manifest.warnings.map(({ message }) => message), ...copyWarnings(copies)];
    return { manifest, folder, copies, warnings, fullInstead };
  };
  const { parent } = prepared;
  if (parent !== null) {
    try {
      // Until it is committed nothing else says that its parents are needed.
      const taken = await holdBackups(context.repository, parent.chain, () =>
        attempt(context, prepared, lock, parent),
      );
      return tell(taken);
    } catch (error) {
      fullInstead = noIncrementReason(error) ?? removedReason(error, parent);
      if (fullInstead === null) throw error;
    }
  }
  if (fullInstead !== null) {
    context.log.step(`a whole base backup in place of an incremental one: ${fullInstead}`);
  }
  return tell(await attempt(context, prepared, lock, null));
}

/**
 * Takes a base backup. What it leaves behind is a whole backup or nothing that looks like one. A
 * cluster with damaged pages is backed up as it is: the manifest's `damaged_pages` and a warning
 * tell it.
 *
 * @throws HoldfastError LOCKED when another run takes one of the same server, LOCK_LOST,
 *   DUMP_FAILED, DAMAGED when what was read back differs, NO_SPACE, TOOL_TOO_OLD, DATABASE_…,
 *   STORE_…, INTERRUPTED
 */
export async function takeBaseBackup(
  context: RepositoryContext,
  request: BaseBackupRequest,
): Promise<BaseBackupResult> {
  const { target, waitMs } = request;
  const { host, pid, log, signal } = context;
  await requireEncryption(context);
  const holder = formatLockHolder({ operation: 'base', startedAt: context.clock(), host, pid });
  const { client, parameters } = await connectMaintenance(context, target, holder);
  try {
    const onWait = (who: string) => log.step(`waiting for ${who}`);
    const key = baseLockKey();
    const lock = await acquireDatabaseLock({ client, key, holder, waitMs, signal, onWait });
    try {
      const prepared = await prepareBase(context, parameters, request.mode);
      try {
        const { stateDir } = context.repository;
        // No prune meanwhile: it does not know yet what this backup will need.
        return await whileUsingCluster(stateDir, prepared.clusterName, () =>
          backupLocked(context, prepared, lock),
        );
      } finally {
        await prepared.parent?.remove();
      }
    } finally {
      await lock.release();
    }
  } finally {
    await client.end();
  }
}
