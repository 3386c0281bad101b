/** Reads a backup whole before a restore touches anything, and unpacks it where that is wanted. */

import { createWriteStream } from 'node:fs';
import { lstat, mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { HoldfastError } from '../core/errors.ts';
import { formatBytes } from '../core/units.ts';
import type { Sink } from '../pipeline/fan_out.ts';
import { createByteCounter } from '../pipeline/measure.ts';
import { readBack } from '../pipeline/pipeline.ts';
import { type ArchiveReading, createArchiveReader } from '../postgres/archive.ts';
import { identityName, ownIdentity, parseIdentityName, processState } from '../process/identity.ts';
import type { BackupSource } from './backup_source.ts';
import { type Context, flowContext } from './context.ts';
import { damageError, inspectBackup } from './verify.ts';

/** What reading the dump whole has told. */
export interface DumpReading {
  readonly reading: ArchiveReading;
  readonly plainBytes: number;
}

/**
 * Reads the dump to its end: decompressed, digested, its structure understood.
 *
 * @param sinks take the plain bytes, while they are read anyway
 * @throws HoldfastError DAMAGED when it differs from its manifest, NOT_A_DUMP when it is none
 */
async function readDump(
  context: Context,
  source: BackupSource,
  sinks: readonly Sink[] = [],
): Promise<DumpReading> {
  const { dump, manifest, plainBytes } = source;
  const archive = createArchiveReader();
  const progress = await context.log.progress(`reading ${dump.name}`, plainBytes);
  try {
    const measured = await readBack({
      body: await dump.open(),
      filters: dump.filters,
      observers: [archive, createByteCounter(progress.add)],
      sinks,
      context: flowContext(context),
    });
    const expected = manifest?.files.find(({ role }) => role === 'dump');
    for (const part of ['stored', 'plain'] as const) {
      if (expected !== undefined && measured[part].sha256 !== expected[part].sha256) {
        throw new HoldfastError('DAMAGED', `${dump.name}: its ${part} bytes are not the backup's`, {
          hint: 'This copy is damaged: restore another backup, or another copy of this one.',
        });
      }
    }
    const reading = archive.finish();
    if (manifest === null) requireDump(dump.name, reading);
    return { reading, plainBytes: measured.plain.bytes };
  } finally {
    progress.end();
  }
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

/** A source that was read whole. */
export interface VerifiedSource extends DumpReading {
  /** The plain archive, where it was unpacked for several jobs; else `null`. */
  readonly file: string | null;
  /** Removes the unpacked file. */
  remove(): Promise<void>;
}

/** Every file of the backup beside the dump, against the manifest and SHA256SUMS. */
async function verifyOthers(context: Context, source: BackupSource): Promise<void> {
  if (source.location === null || source.manifest === null) return;
  const place = { ...source.location, entry: null };
  const { findings } = await inspectBackup(context, place, { depth: 'stored' });
  if (findings.length > 0) throw damageError(source.description, findings);
}

/**
 * Reads the whole source. For one job nothing is written; for several the plain dump is unpacked
 * into a temporary file while it is read.
 *
 * @throws HoldfastError DAMAGED, NOT_A_DUMP; NO_SPACE when the folder for temporary files will not
 *   hold the unpacked dump
 */
export async function verifySource(
  context: Context,
  source: BackupSource,
  jobs: number,
): Promise<VerifiedSource> {
  await verifyOthers(context, source);
  const nothing = () => Promise.resolve();
  const verified =
    jobs > 1
      ? await unpackDump(context, source)
      : { ...(await readDump(context, source)), file: null, remove: nothing };
  context.log.step(`verified: every byte of ${source.description} is as it was written`);
  return verified;
}

/** Of a folder for an unpacked dump; the process that it belongs to follows. */
const unpackedPrefix = 'holdfast-restore-';

/** Removes the unpacked dumps that killed restores of this host and user have left. */
async function removeStaleUnpacked(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(unpackedPrefix)) continue;
    const owner = parseIdentityName(name.slice(unpackedPrefix.length));
    if (owner === null || processState(owner) !== 'dead') continue;
    const folder = join(parent, name);
    const stats = await lstat(folder).catch(() => null);
    if (stats?.isDirectory() !== true || stats.uid !== process.getuid?.()) continue;
    await rm(folder, { recursive: true, force: true });
  }
}

/** @throws HoldfastError CONFIG_INVALID when there is no such folder */
async function freeBytesIn(folder: string): Promise<number> {
  try {
    const { bavail, bsize } = await statfs(folder);
    return bavail * bsize;
  } catch (cause) {
    throw new HoldfastError('CONFIG_INVALID', `temp_dir (TMPDIR): ${folder} cannot be used`, {
      hint: 'Set TMPDIR to an existing folder, or restore with --jobs 1, which unpacks nothing.',
      cause,
    });
  }
}

async function unpackDump(context: Context, source: BackupSource): Promise<VerifiedSource> {
  const parent = context.config.settings.temp_dir;
  const free = await freeBytesIn(parent);
  await removeStaleUnpacked(parent);
  if (source.plainBytes !== null && source.plainBytes > free) {
    const [needed, there] = [formatBytes(source.plainBytes), formatBytes(free)];
    throw new HoldfastError(
      'NO_SPACE',
      `several jobs need ${needed} in ${parent} for the unpacked dump, and ${there} are free`,
      { hint: 'Restore with --jobs 1, which unpacks nothing, or set TMPDIR to a larger folder.' },
    );
  }
  const folder = await mkdtemp(join(parent, `${unpackedPrefix}${identityName(ownIdentity())}~`));
  const file = join(folder, 'database.dump');
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    context.log.step(`unpacking the dump into ${file} for several jobs`);
    const write: Sink = (body) => pipeline(body, createWriteStream(file, { mode: 0o600 }));
    return { ...(await readDump(context, source, [write])), file, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}
