/** Streams what pg_basebackup gives into the folder of a backup. */

import { createReadStream } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BaseEstimate } from '../../core/base_estimate.ts';
import { serverManifestName } from '../../core/base_manifest.ts';
import { HoldfastError } from '../../core/errors.ts';
import type { FilterSpec, MeasuredBytes } from '../../core/manifest.ts';
import { formatBytes } from '../../core/units.ts';
import { canDecryptOwn } from '../../pipeline/encryption_check.ts';
import type { Filter } from '../../pipeline/filter.ts';
import { createByteCounter } from '../../pipeline/measure.ts';
import { newBackupFilters } from '../../pipeline/new_backup_filters.ts';
import { store } from '../../pipeline/pipeline.ts';
import {
  type BaseBackupOptions,
  baseBackupArguments,
  baseBackupWarnings,
  clientCompressionMajor,
  damagedPageOf,
  describeBaseBackupFailure,
  isChecksumFailure,
  whyNoIncrement,
} from '../../postgres/base_backup.ts';
import {
  type ConnectionParameters,
  programEnvironment,
  withDatabase,
} from '../../postgres/connection.ts';
import type { Tool } from '../../postgres/tools.ts';
import { type ChildExit, type DataChild, type Outlet, startChild } from '../../process/stream.ts';
import type { FolderWriter } from '../../storage/storage.ts';
import { type Context, flowContext } from '../context.ts';
import { createScratchFolder } from '../scratch_folder.ts';
import { type ArchiveContents, createArchiveObserver, emptyContents } from './base_archives.ts';

/** What is run, and where its output goes. */
export interface BaseRun {
  readonly context: Context;
  readonly signal: AbortSignal;
  readonly parameters: ConnectionParameters;
  readonly tool: Tool;
  readonly folder: FolderWriter;
  readonly label: string;
  /** The path of the parent's backup_manifest; `null`: a whole backup. */
  readonly parentManifest: string | null;
  /** With tablespaces everything lies in the temporary folder for a while. */
  readonly hasTablespaces: boolean;
  /** How large it will be, about. */
  readonly estimate: BaseEstimate;
  /** Told of stored bytes as they pass. */
  readonly onBytes: (bytes: number) => void;
}

/** One archive of a base backup, as it lies in the folder. */
export interface WrittenArchive {
  readonly name: string;
  /** Of its tablespace; `null`: the data directory. */
  readonly oid: number | null;
  readonly filters: readonly FilterSpec[];
  readonly stored: MeasuredBytes;
  /** `null` where only who reads it back will see them. */
  readonly plain: MeasuredBytes | null;
}

/** What came of pg_basebackup. */
export interface WrittenBase {
  readonly archives: readonly WrittenArchive[];
  /** PostgreSQL's own list of the files; `null`: it is in the archive. */
  readonly serverManifest: Buffer | null;
  /**
   * What was in the archives as they were written, where nobody will see it afterwards: what is
   * stored cannot be decrypted here, or is not read back. Else `null`.
   */
  readonly seen: ArchiveContents | null;
  /** What the server said of pages with a wrong checksum. */
  readonly damagedPages: readonly string[];
  readonly warnings: readonly string[];
}

/** Who compresses: pg_basebackup by itself where it can, else one of our filters. */
interface Compressing {
  readonly own: BaseBackupOptions['zstd'];
  readonly filters: readonly Filter[];
  readonly specs: readonly FilterSpec[];
  readonly extension: string;
  /** Takes what is in the archives as it passes; `null`: nobody looks. */
  readonly seen: ArchiveContents | null;
}

const damagedPagesMax = 100;
const stagedPrefix = 'holdfast-base-';
const stagedHint = 'Set TMPDIR to an existing folder: a cluster with tablespaces is staged there.';
const kbPerMb = 1024;

async function compressing({ context, tool }: BaseRun): Promise<Compressing> {
  const { settings } = context.config;
  const { compression, compression_level: level, threads } = settings;
  const filters = await newBackupFilters(settings, context.environment);
  const specs = filters.map(({ spec }) => spec);
  const extension = filters.map((filter) => filter.extension).join('');
  // A machine with public keys alone sees what is in the archives now, or never; and so does one
  // that reads nothing back.
  const isSeenNow =
    settings.read_back === 'none' || !(await canDecryptOwn(specs, flowContext(context)));
  const seen = isSeenNow ? emptyContents() : null;
  const isOwn = compression === 'zstd' && tool.major >= clientCompressionMajor && !isSeenNow;
  return isOwn
    ? { own: { level, threads }, filters: filters.slice(1), specs, extension, seen }
    : { own: null, filters, specs, extension, seen };
}

/** A pg_basebackup that runs, and what it has said of damaged pages. */
interface RunningBackup {
  readonly child: DataChild;
  readonly damagedPages: string[];
}

async function start(
  run: BaseRun,
  own: BaseBackupOptions['zstd'],
  folder: string | null,
): Promise<(into?: Outlet) => RunningBackup> {
  const { context, tool, label, parentManifest, signal } = run;
  const { settings } = context.config;
  const rate = settings.base_backup_max_rate_mb;
  const args = baseBackupArguments({
    major: tool.major,
    label,
    checkpoint: settings.base_backup_checkpoint,
    maxRateKb: rate === null ? null : rate * kbPerMb,
    zstd: own,
    folder,
    parentManifest,
  });
  // libpq looks a password for replication up under that word.
  const parameters = await withDatabase(run.parameters, 'replication');
  return (into) => {
    const damagedPages: string[] = [];
    const environment = programEnvironment(parameters, context.environment, 'holdfast base backup');
    // Its messages are read.
    const child = startChild(tool.path, args, {
      environment: { ...environment, LC_ALL: 'C' },
      signal,
      into,
      onStderrLine: (line) => {
        const page = damagedPageOf(line);
        if (page !== null && damagedPages.length < damagedPagesMax) damagedPages.push(page);
      },
    });
    child.stdin.end();
    return { child, damagedPages };
  };
}

function endOf(run: BaseRun, child: DataChild, exit: ChildExit) {
  return { stderr: child.stderrTail(), ...exit, role: run.parameters.user };
}

/** The same child, for which damaged pages of the server are no failure: the stream is whole. */
function toleratingDamage(run: BaseRun, child: DataChild): DataChild {
  const exited = child.exited.then((exit) =>
    isChecksumFailure(endOf(run, child, exit)) ? { status: 0, signal: null } : exit,
  );
  exited.catch(() => undefined);
  return { ...child, exited };
}

/** pg_basebackup's own words where it is it that failed; else the error as it is. */
async function failureOf(run: BaseRun, child: DataChild, error: unknown): Promise<unknown> {
  if (run.signal.aborted) return error;
  if (!(error instanceof HoldfastError) || error.code !== 'CHILD_FAILED') return error;
  const exit = await child.exited;
  if (exit.status === 0 || !error.message.startsWith(child.program)) return error;
  return describe(run, child, exit);
}

function describe(run: BaseRun, child: DataChild, exit: ChildExit): HoldfastError {
  const end = endOf(run, child, exit);
  const failure = describeBaseBackupFailure(end);
  const reason = run.parentManifest === null ? null : whyNoIncrement(end.stderr);
  if (reason === null) return failure;
  const { message, hint, details } = failure;
  return new HoldfastError(failure.code, message, {
    hint,
    details: { ...details, no_increment: reason },
  });
}

/** Why the server gives no increment, where an error says that; or `null`. */
export function noIncrementReason(error: unknown): string | null {
  const reason = error instanceof HoldfastError ? error.details?.no_increment : undefined;
  return typeof reason === 'string' ? reason : null;
}

/** The data directory alone: one stream into the store, nothing is staged. */
async function streamBase(run: BaseRun, how: Compressing): Promise<WrittenBase> {
  const { context, signal, folder } = run;
  const { own, filters, specs, extension, seen } = how;
  const begin = await start(run, own, null);
  const name = `base.tar${extension}`;
  const started: RunningBackup[] = [];
  const reader = seen === null ? null : createArchiveObserver(null, seen);
  try {
    const { stored, plain } = await store({
      source: (into) => {
        const running = begin(into);
        started.push(running);
        return toleratingDamage(run, running.child);
      },
      filters,
      observers: reader === null ? [] : [reader],
      plainUnseen: reader === null,
      storedObservers: [createByteCounter(run.onBytes)],
      sinks: [(body) => folder.put(name, body)],
      context: flowContext(context, signal),
    });
    reader?.finish();
    const [running] = started;
    const known = reader === null ? null : plain;
    return {
      archives: [{ name, oid: null, filters: specs, stored, plain: known }],
      serverManifest: null,
      seen,
      damagedPages: running?.damagedPages ?? [],
      warnings: baseBackupWarnings(running?.child.stderrTail() ?? ''),
    };
  } catch (error) {
    const [running] = started;
    throw running === undefined ? error : await failureOf(run, running.child, error);
  }
}

/** `base.tar.zst` and `16389.tar.zst`: which archive it is; `null` for another file. */
function archiveOf(name: string): { readonly oid: number | null; readonly stem: string } | null {
  const match = /^(base|\d+)\.tar(?:\.zst)?$/.exec(name);
  if (match?.[1] === undefined) return null;
  const oid = match[1] === 'base' ? null : Number(match[1]);
  return { oid, stem: `${match[1]}.tar` };
}

function requireRoom(parent: string, freeBytes: number, needed: number): void {
  if (freeBytes >= needed) return;
  throw new HoldfastError(
    'NO_SPACE',
    `a cluster with tablespaces is staged in ${parent}: it needs about ${formatBytes(needed)}, ` +
      `and ${formatBytes(freeBytes)} are free`,
    { hint: 'Set TMPDIR to a larger folder.' },
  );
}

/** What pg_basebackup has put into a folder goes into the store, and from the folder. */
async function moveStaged(run: BaseRun, staged: string, how: Compressing) {
  const { context, signal, folder } = run;
  const archives: WrittenArchive[] = [];
  for (const file of (await readdir(staged)).sort()) {
    const archive = archiveOf(file);
    if (archive === null) continue;
    const path = join(staged, file);
    const name = `${archive.stem}${how.extension}`;
    const reader = how.seen === null ? null : createArchiveObserver(archive.oid, how.seen);
    const { stored, plain } = await store({
      source: createReadStream(path, { highWaterMark: 1024 * 1024 }),
      filters: how.filters,
      observers: reader === null ? [] : [reader],
      storedObservers: [createByteCounter(run.onBytes)],
      sinks: [(body) => folder.put(name, body)],
      context: flowContext(context, signal),
    });
    reader?.finish();
    await rm(path);
    const known = reader === null ? null : plain;
    archives.push({ name, oid: archive.oid, filters: how.specs, stored, plain: known });
  }
  return archives;
}

/** All archives: pg_basebackup takes a folder only, and then they go into the store. */
async function stageBase(run: BaseRun, how: Compressing): Promise<WrittenBase> {
  const { context, estimate } = run;
  const { temp_dir: parent } = context.config.settings;
  const scratch = await createScratchFolder(parent, stagedPrefix, stagedHint);
  try {
    const needed = how.own === null ? estimate.plainBytes : estimate.storedBytes;
    requireRoom(parent, scratch.freeBytes, needed);
    context.log.step(`the cluster has tablespaces: the backup is staged in ${parent} first`);
    const staged = join(scratch.path, 'base');
    const { child, damagedPages } = (await start(run, how.own, staged))();
    child.stdout.resume();
    const exit = await child.exited;
    if (run.signal.aborted) throw run.signal.reason;
    const isDamage = isChecksumFailure(endOf(run, child, exit));
    if (exit.status !== 0 && !isDamage) throw describe(run, child, exit);
    // It leaves the name for unfinished work where it has found damaged pages.
    const listed = join(staged, `${serverManifestName}${isDamage ? '.tmp' : ''}`);
    const serverManifest = await readFile(listed);
    const archives = await moveStaged(run, staged, how);
    const warnings = baseBackupWarnings(child.stderrTail());
    return { archives, serverManifest, seen: how.seen, damagedPages, warnings };
  } finally {
    await scratch.remove();
  }
}

/**
 * Runs pg_basebackup and stores what it gives.
 *
 * @throws HoldfastError with pg_basebackup's own words; {@link noIncrementReason} knows where a
 *   whole backup would do
 */
export async function writeBase(run: BaseRun): Promise<WrittenBase> {
  const how = await compressing(run);
  return run.hasTablespaces ? stageBase(run, how) : streamBase(run, how);
}
