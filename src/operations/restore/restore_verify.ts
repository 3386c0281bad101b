/**
 * Reads a backup whole before a restore touches anything. The dump is read once, with its stored
 * and its plain digest. Where it is unpacked for several jobs the plain digest trails behind: it is
 * known before anything is done that stays.
 */

import type { FileHandle } from 'node:fs/promises';
import { HoldfastError } from '../../core/errors.ts';
import type { ManifestFile, MeasuredBytes } from '../../core/manifest.ts';
import { createByteCounter, createMeasure, type Observer } from '../../pipeline/measure.ts';
import { readBackStored } from '../../pipeline/read_back.ts';
import { type ArchiveReading, createArchiveReader } from '../../postgres/archive.ts';
import { createPlaceFinder } from '../../postgres/archive_places.ts';
import { createSqlScanner } from '../../postgres/sql_scanner.ts';
import type { BackupSource } from '../backup_source.ts';
import { type Context, flowContext } from '../context.ts';
import { damageError, inspectBackup } from '../full/verify.ts';
import { requireSignedSource } from '../require_signature.ts';
import { compareBytes, comparePlain, isLockedError, judgeLocked } from '../verify_file.ts';
import { describeSql, type ReadSql, requireSql } from './restore_sql.ts';
import { createUnpackedFile } from './restore_unpack.ts';
import { patchAndDigest } from './trailing_digest.ts';

/** What a restore, or who only verifies, wants of the one reading. */
export interface VerifyWish {
  /** With several the plain dump is unpacked into a temporary file while it is read. */
  readonly jobs: number;
  /** Whether the structure of a backup's archive is told; that of a bare file always is. */
  readonly structure?: boolean;
  /** See the plain bytes of the dump as they pass. */
  readonly observers?: readonly Observer[];
}

/** A source that was read whole. */
export interface VerifiedSource {
  readonly plainBytes: number;
  /** `null` where nobody wished it: the digests of a backup say more than its structure. */
  readonly reading: ArchiveReading | null;
  /** Of SQL as text; else `null`. */
  readonly sql: ReadSql | null;
  /**
   * The plain archive, where it was unpacked for several jobs, with the places of its data told as
   * in one that pg_dump has written into a file; else `null`.
   */
  readonly file: string | null;
  /**
   * Resolves when nothing is left to verify. That the stored bytes are good, and that they can be
   * decompressed by the checksum in them, is known before there is a source; of an unpacked dump
   * the digest of the plain bytes may still be missing. Rejects with DAMAGED when it differs: until
   * then nothing may be done that could not be taken back.
   */
  readonly proof: Promise<void>;
  /** Removes the unpacked file; whatever still reads it ends first. */
  remove(): Promise<void>;
}

/** A file from elsewhere has no digests: its own structure has to tell that it is whole. */
function requireDump(name: string, reading: ArchiveReading): void {
  const { problem } = reading;
  if (problem === null || problem.kind === 'compressed' || problem.kind === 'unknown-version')
    return;
  if (problem.kind === 'not-copy') return;
  const code = problem.kind === 'not-an-archive' ? 'NOT_A_DUMP' : 'DAMAGED';
  throw new HoldfastError(code, `${name}: ${problem.message}`, {
    hint:
      code === 'NOT_A_DUMP'
        ? "Give a dump in pg_dump's custom format, plain or compressed with zstd or gzip."
        : 'The file is cut or damaged: use another copy.',
  });
}

/** What the manifest tells of the dump; `null` of a file that has none. */
function recordedDump({ manifest }: BackupSource): ManifestFile | null {
  return manifest?.files.find(({ role }) => role === 'dump') ?? null;
}

/**
 * @param plain `null` where it is not known yet
 * @throws HoldfastError DAMAGED when the dump's bytes are not those that its manifest tells
 */
function requireRecorded(
  source: BackupSource,
  stored: MeasuredBytes | null,
  plain: MeasuredBytes | null,
): void {
  const expected = recordedDump(source);
  if (expected === null) return;
  const findings = [
    ...(stored === null ? [] : compareBytes(expected.name, 'stored', expected.stored, stored)),
    ...(plain === null ? [] : comparePlain(expected, plain)),
  ];
  if (findings.length > 0) throw damageError(source.description, findings);
}

/** Bytes that cannot even be decompressed, told with the names of the backup and of its file. */
function explainDamage(error: unknown, { description, dump, manifest }: BackupSource): unknown {
  if (!(error instanceof HoldfastError) || error.code !== 'DAMAGED') return error;
  const finding = { file: dump.name, check: 'stored', message: error.message } as const;
  if (manifest !== null) return damageError(description, [finding]);
  return new HoldfastError('DAMAGED', `${dump.name} ${error.message}`, {
    hint: 'The file is cut or damaged: use another copy.',
    cause: error,
  });
}

/** A key that does not fit says nothing where the bytes have changed: then they are damaged. */
async function explainLocked(
  context: Context,
  source: BackupSource,
  error: unknown,
): Promise<unknown> {
  const recorded = recordedDump(source);
  if (recorded === null || !isLockedError(error)) return error;
  const findings = await judgeLocked(context, recorded, source.dump.open);
  return findings.length === 0 ? error : damageError(source.description, findings);
}

/**
 * Reads the dump to its end: decompressed, digested, and where that is wished understood.
 *
 * @param file takes the plain bytes, while they are read anyway; their digest is then left to the
 *   caller
 */
async function readDump(
  context: Context,
  source: BackupSource,
  wish: VerifyWish,
  file?: FileHandle,
): Promise<Omit<VerifiedSource, 'file' | 'proof' | 'remove'>> {
  const { dump, manifest, plainBytes } = source;
  const scanner = source.format === 'sql' ? createSqlScanner() : null;
  const wantsArchive = scanner === null && (manifest === null || wish.structure === true);
  const archive = wantsArchive ? createArchiveReader() : null;
  const progress = await context.log.progress(`reading ${dump.name}`, plainBytes);
  const measure = file === undefined ? createMeasure() : null;
  let bytes = 0;
  const count = (more: number) => {
    bytes += more;
    progress.add(more);
  };
  try {
    const stored = await readBackStored({
      body: await dump.open(),
      filters: dump.filters,
      observers: [
        ...(measure === null ? [] : [measure]),
        ...(archive === null ? [] : [archive]),
        ...(scanner === null ? [] : [scanner]),
        ...(wish.observers ?? []),
        createByteCounter(count),
      ],
      file,
      context: flowContext(context),
    }).catch(async (error: unknown) => {
      throw explainDamage(await explainLocked(context, source, error), source);
    });
    const plain = measure?.result() ?? null;
    requireRecorded(source, stored, plain);
    const reading = archive?.finish() ?? null;
    if (manifest === null && reading !== null) requireDump(dump.name, reading);
    if (scanner === null || plain === null) return { reading, sql: null, plainBytes: bytes };
    const sql = scanner.finish();
    requireSql(dump.name, sql);
    context.log.step(`${dump.name} ${describeSql(sql)}`);
    return { reading, sql: { ...sql, sha256: plain.sha256 }, plainBytes: bytes };
  } finally {
    progress.end();
  }
}

/**
 * Everything of the backup but the bytes of its dump: which files there are and their sizes, the
 * digests of the others, the manifest and SHA256SUMS against each other.
 */
async function verifyOthers(context: Context, source: BackupSource): Promise<void> {
  if (source.location === null || source.manifest === null) return;
  const place = { ...source.location, entry: null };
  const readByCaller = source.manifest.files.find(({ role }) => role === 'dump');
  const { findings } = await inspectBackup(context, place, { depth: 'stored', readByCaller });
  if (findings.length > 0) throw damageError(source.description, findings);
}

/**
 * Reads the whole source. For one job nothing is written; for several the plain dump is unpacked
 * into a temporary file while it is read.
 *
 * @throws HoldfastError DAMAGED when it differs from its manifest, NOT_A_DUMP when it is none;
 *   CONFIG_INVALID, NO_SPACE when the folder for temporary files will not hold the unpacked dump
 */
export async function verifySource(
  context: Context,
  source: BackupSource,
  wish: VerifyWish,
): Promise<VerifiedSource> {
  await requireSignedSource(context, source);
  await verifyOthers(context, source);
  const verified = await (wish.jobs > 1 ? unpackDump : readOnly)(context, source, wish);
  const proof = verified.proof.then(() =>
    context.log.step(
      source.manifest === null
        ? `read: ${source.description} is whole; no digests tell whether it is as it was written`
        : `verified: every byte of ${source.description} is as it was written`,
    ),
  );
  // Whoever wants to know awaits it; a restore that has failed already does not.
  proof.catch(() => undefined);
  return { ...verified, proof };
}

async function readOnly(
  context: Context,
  source: BackupSource,
  wish: VerifyWish,
): Promise<VerifiedSource> {
  const told = await readDump(context, source, wish);
  return { ...told, file: null, proof: Promise.resolve(), remove: () => Promise.resolve() };
}

/** Its place tells where its data lies, and its plain digest is what is left to prove. */
async function unpackDump(
  context: Context,
  source: BackupSource,
  wish: VerifyWish,
): Promise<VerifiedSource> {
  const unpacked = await createUnpackedFile(context.config.settings.temp_dir, source.plainBytes);
  const { path: file, handle, remove } = unpacked;
  try {
    context.log.step(`unpacking the dump into ${file} for several jobs`);
    const places = createPlaceFinder();
    const observers = [...(wish.observers ?? []), places];
    const told = await readDump(context, source, { ...wish, observers }, handle);
    const trailing = await patchAndDigest(file, places.finish(), context.signal);
    const isRecorded = (recordedDump(source)?.plain ?? null) !== null;
    if (!isRecorded) await trailing.stop();
    return {
      ...told,
      file,
      proof: isRecorded
        ? trailing.measured.then((plain) => requireRecorded(source, null, plain))
        : Promise.resolve(),
      async remove() {
        await trailing.stop();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  } finally {
    await handle.close();
  }
}
