/**
 * Reads a backup whole before a restore touches anything. The dump is read once: its stored and its
 * plain digest are taken while it is unpacked for those who want it unpacked.
 */

import { type FileHandle, open } from 'node:fs/promises';
import { HoldfastError } from '../../core/errors.ts';
import { createByteCounter, type Observer } from '../../pipeline/measure.ts';
import { type Measurements, readBack } from '../../pipeline/read_back.ts';
import { type ArchiveReading, createArchiveReader } from '../../postgres/archive.ts';
import { type ArchivePatch, createPlaceFinder } from '../../postgres/archive_places.ts';
import { createSqlScanner, type SqlReading } from '../../postgres/sql_scanner.ts';
import type { BackupSource } from '../backup_source.ts';
import { type Context, flowContext } from '../context.ts';
import { damageError, inspectBackup } from '../full/verify.ts';
import { compareBytes, comparePlain } from '../verify_file.ts';
import { describeSql, requireSql } from './restore_sql.ts';
import { createUnpackedFile } from './restore_unpack.ts';

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
  readonly sql: SqlReading | null;
  readonly plainSha256: string;
  /**
   * The plain archive, where it was unpacked for several jobs, with the places of its data told as
   * in one that pg_dump has written into a file; else `null`.
   */
  readonly file: string | null;
  /** Removes the unpacked file. */
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

/** @throws HoldfastError DAMAGED when the dump's bytes are not those that its manifest tells */
function requireRecorded(source: BackupSource, measured: Measurements): void {
  const expected = source.manifest?.files.find(({ role }) => role === 'dump');
  if (expected === undefined) return;
  const findings = [
    ...compareBytes(expected.name, 'stored', expected.stored, measured.stored),
    ...comparePlain(expected, measured.plain),
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

/**
 * Reads the dump to its end: decompressed, digested, and where that is wished understood.
 *
 * @param file takes the plain bytes, while they are read anyway
 */
async function readDump(
  context: Context,
  source: BackupSource,
  wish: VerifyWish,
  file?: FileHandle,
): Promise<Omit<VerifiedSource, 'file' | 'remove'>> {
  const { dump, manifest, plainBytes } = source;
  const scanner = source.format === 'sql' ? createSqlScanner() : null;
  const wantsArchive = scanner === null && (manifest === null || wish.structure === true);
  const archive = wantsArchive ? createArchiveReader() : null;
  const progress = await context.log.progress(`reading ${dump.name}`, plainBytes);
  try {
    const measured = await readBack({
      body: await dump.open(),
      filters: dump.filters,
      observers: [
        ...(archive === null ? [] : [archive]),
        ...(scanner === null ? [] : [scanner]),
        ...(wish.observers ?? []),
        createByteCounter(progress.add),
      ],
      file,
      context: flowContext(context),
    }).catch((error: unknown) => {
      throw explainDamage(error, source);
    });
    requireRecorded(source, measured);
    const reading = archive?.finish() ?? null;
    if (manifest === null && reading !== null) requireDump(dump.name, reading);
    const sql = scanner?.finish() ?? null;
    if (sql !== null) {
      requireSql(dump.name, sql);
      context.log.step(`${dump.name} ${describeSql(sql)}`);
    }
    const { bytes, sha256 } = measured.plain;
    return { reading, sql, plainBytes: bytes, plainSha256: sha256 };
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
  await verifyOthers(context, source);
  const verified = await (wish.jobs > 1 ? unpackDump : readOnly)(context, source, wish);
  context.log.step(
    source.manifest === null
      ? `read: ${source.description} is whole; no digests tell whether it is as it was written`
      : `verified: every byte of ${source.description} is as it was written`,
  );
  return verified;
}

async function readOnly(
  context: Context,
  source: BackupSource,
  wish: VerifyWish,
): Promise<VerifiedSource> {
  const told = await readDump(context, source, wish);
  return { ...told, file: null, remove: () => Promise.resolve() };
}

/** Writes into the unpacked dump where its data lies. */
async function tellPlaces(path: string, patches: readonly ArchivePatch[]): Promise<void> {
  if (patches.length === 0) return;
  const file = await open(path, 'r+');
  try {
    for (const { position, bytes } of patches) {
      await file.write(bytes, 0, bytes.length, position);
    }
  } finally {
    await file.close();
  }
}

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
    await tellPlaces(file, places.finish());
    return { ...told, file, remove };
  } catch (error) {
    await remove();
    throw error;
  } finally {
    await handle.close();
  }
}
