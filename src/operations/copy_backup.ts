/** Copies a backup from a store to another: every digest is held, and the manifest goes last. */

import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import {
  type CopiesWriter,
  settleMsOf,
  stalledError,
  stallMsOf,
} from '../catalog/copies_writer.ts';
import { whileReading } from '../catalog/in_use.ts';
import { beginRun } from '../catalog/runs.ts';
import type { StoreSpec } from '../config/stores.ts';
import { parseBaseManifest } from '../core/base_manifest_codec.ts';
import { HoldfastError } from '../core/errors.ts';
import { parseBaseLabel, parseLabel } from '../core/label.ts';
import { type ManifestFile, manifestName, signatureName, sumsName } from '../core/manifest.ts';
import { parseManifest } from '../core/manifest_codec.ts';
import { sumsOf } from '../core/sums.ts';
import { createMeasure, observe } from '../pipeline/measure.ts';
import { within } from '../process/within.ts';
import type { FolderFacts, Storage } from '../storage/storage.ts';
import { readBackFiles } from './backup_read_back.ts';
import { beginCopies } from './begin_copies.ts';
import type { RepositoryContext } from './context.ts';
import type { ReadyStore } from './ready_stores.ts';

/** A store that can be read. */
export interface SourceStore {
  readonly spec: StoreSpec;
  readonly storage: Storage;
}

/** Which backup, from where to where. */
export interface CopyRequest {
  readonly label: string;
  /** The key of its folder, the same in every store. */
  readonly folder: string;
  readonly from: SourceStore;
  readonly to: ReadyStore;
  readonly signal: AbortSignal;
}

/** As much as the store in a folder reads at once. */
const pieceBytes = 1024 * 1024;
/** Documents larger than any that we have written. */
const documentBytesMax = 512 * 1024 * 1024;

/** What the source says of the backup. */
export interface CopySource {
  readonly manifestBytes: Buffer;
  readonly sumsBytes: Buffer;
  /** `null`: it is not signed. */
  readonly signature: Buffer | null;
  readonly files: readonly Omit<ManifestFile, 'role'>[];
  /** Of an incremental base backup: what it builds upon. */
  readonly parent: string | null;
  readonly facts: FolderFacts;
}

function damaged({ label, from }: CopyRequest, what: string): HoldfastError {
  const where = JSON.stringify(from.spec.name);
  return new HoldfastError('DAMAGED', `${label} in the store ${where} is damaged: ${what}`, {
    hint: 'scripts/verify_backups.ts tells more.',
  });
}

/** Reads a small object whole. @returns `null` where it is not there */
async function readDocument(request: CopyRequest, name: string): Promise<Buffer | null> {
  const { storage, spec } = request.from;
  const key = `${request.folder}/${name}`;
  const read = async () => {
    const found = await storage.stat(key);
    if (found === null) return null;
    if (found.bytes > documentBytesMax) throw damaged(request, `${name} is too large`);
    return buffer(await storage.get(key));
  };
  return within(settleMsOf(spec, documentBytesMax), read(), () =>
    stalledError(spec, `reading ${key}`),
  );
}

/**
 * Reads the manifest of a backup and holds SHA256SUMS against it.
 *
 * @throws HoldfastError DAMAGED, MANIFEST_INVALID, BACKUP_NOT_FOUND when it is gone, STORE_…
 */
export async function readCopySource(request: CopyRequest): Promise<CopySource> {
  const { label, folder } = request;
  const manifestBytes = await readDocument(request, manifestName);
  if (manifestBytes === null) {
    throw new HoldfastError('BACKUP_NOT_FOUND', `there is no ${folder}/${manifestName}`);
  }
  const sumsBytes = await readDocument(request, sumsName);
  const signature = await readDocument(request, signatureName);
  const full = parseLabel(label);
  const manifest = full === null ? parseBaseManifest(manifestBytes) : parseManifest(manifestBytes);
  const startedAt = full?.startedAt ?? parseBaseLabel(label)?.startedAt;
  if (manifest.label !== label || startedAt === undefined) {
    throw damaged(request, `its manifest is that of ${manifest.label}`);
  }
  const expected = Buffer.from(sumsOf(manifest, manifestBytes), 'utf8');
  if (sumsBytes?.equals(expected) !== true) {
    throw damaged(request, `${sumsName} and ${manifestName} do not belong together`);
  }
  const database = 'database' in manifest ? manifest.database : null;
  return {
    manifestBytes,
    sumsBytes,
    signature,
    files: manifest.files,
    parent: 'parent' in manifest ? manifest.parent : null,
    facts: { tier: full?.tier ?? null, database, startedAt },
  };
}

/** Copies one file, while its bytes are held against their digest. */
async function copyFile(
  request: CopyRequest,
  copies: CopiesWriter,
  { name, stored }: Omit<ManifestFile, 'role'>,
): Promise<void> {
  const { from, to, signal } = request;
  const key = `${request.folder}/${name}`;
  const late = () => stalledError(from.spec, `reading ${key}`);
  const body = await within(stallMsOf(from.spec), from.storage.get(key), late);
  const interrupt = () => body.destroy(signal.reason);
  // The one that reads waits for the one that writes, too.
  const limitMs = stallMsOf(from.spec) + stallMsOf(to.spec);
  const timer = setTimeout(() => body.destroy(late()), limitMs);
  const measure = createMeasure();
  observe(body, [measure, { update: () => timer.refresh() }]);
  signal.addEventListener('abort', interrupt, { once: true });
  try {
    if (signal.aborted) interrupt();
    // The observers make it flow at once, and a store may need a moment before it reads.
    const through = new PassThrough({ highWaterMark: pieceBytes });
    await Promise.all([pipeline(body, through), copies.put(name, through)]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', interrupt);
  }
  const measured = measure.result();
  if (measured.bytes !== stored.bytes || measured.sha256 !== stored.sha256) {
    throw damaged(request, `${name} differs from its digest`);
  }
}

/** Writes the backup and commits it. */
async function copyInto(
  context: RepositoryContext,
  request: CopyRequest,
  source: CopySource,
  copies: CopiesWriter,
): Promise<void> {
  const { signal } = request;
  const { files, manifestBytes, sumsBytes, signature } = source;
  for (const file of files) await copyFile(request, copies, file);
  const isRead = context.config.settings.read_back !== 'none';
  await readBackFiles(context, copies, files, isRead ? 'stored' : 'none', signal);
  await copies.put(sumsName, sumsBytes);
  if (signature !== null) await copies.put(signatureName, signature);
  signal.throwIfAborted();
  await copies.commit(manifestName, manifestBytes);
}

/**
 * Copies a backup. While it is read nobody removes it, and a run that is killed leaves nothing that
 * looks like a backup: the next one begins anew.
 *
 * @param source what {@link readCopySource} has read
 * @returns bytes that were written
 * @throws HoldfastError DAMAGED where the source has other bytes than its manifest says; STORE_…,
 *   NO_SPACE
 */
export async function copyBackup(
  context: RepositoryContext,
  request: CopyRequest,
  source: CopySource,
): Promise<number> {
  const { label, folder, to } = request;
  const { stateDir } = context.repository;
  const run = await beginRun({
    stateDir,
    runId: `${context.runId}-${to.spec.name}-${label}`,
    command: 'copy of a backup',
    cluster: null,
    database: source.facts.database,
    folder,
    startedAt: context.clock(),
  });
  let isDiscarded = true;
  try {
    return await whileReading(stateDir, label, async () => {
      const copies = await beginCopies(context, [to], folder, source.facts);
      try {
        await copyInto(context, request, source, copies);
        return copies.report()[0]?.bytes ?? 0;
      } catch (error) {
        await copies.abort();
        throw error;
      } finally {
        isDiscarded = copies.isDiscarded;
      }
    });
  } finally {
    // Of a run that is not forgotten the next one removes what it has left.
    if (isDiscarded) await run.end();
  }
}
