/**
 * The folder of a cluster's stream: pg_receivewal's own files, plain and on this machine, and the
 * claim that says which server they come from (REPOSITORY.md).
 */

import { createReadStream } from 'node:fs';
import { type FileHandle, lstat, open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { HoldfastError } from '../core/errors.ts';
import { encodeComponent } from '../core/names.ts';
import { parseStreamClaim, type StreamClaim, streamClaimName } from '../core/stream_claim.ts';
import { type StreamContent, type StreamFile, sortStream } from '../core/stream_files.ts';
import { parseHistory } from '../core/timeline.ts';
import { parseSegmentHeader, type SegmentHeader, segmentHeaderBytes } from '../core/wal_header.ts';
import type { ArchivedHistory } from '../core/wal_listing.ts';
import { errorNumber } from '../process/durable.ts';
import { incrementalFolder } from './wal_archive.ts';

/** What an unfinished segment's name ends in. */
const partialSuffix = '.partial';
/** So much of a page is looked at: one without a byte in it was not written. */
const pageBytes = 8192;

/** The path of the folder, whether or not it is there. @param root of the repository */
export function streamFolder(root: string, cluster: string): string {
  return join(root, incrementalFolder, encodeComponent(cluster), 'stream');
}

function isMissing(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR'].includes(errorNumber(error) ?? '');
}

/** Gives `fallback` for what is not there. */
async function ifThere<T>(work: Promise<T>, fallback: T): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (isMissing(error)) return fallback;
    throw error;
  }
}

/** The regular files there; none where there is no folder. @throws Node's errors */
export async function listStream(folder: string): Promise<StreamFile[]> {
  const files: StreamFile[] = [];
  for (const name of await ifThere(readdir(folder), [])) {
    const stats = await ifThere(lstat(join(folder, name)), null);
    if (stats?.isFile() === true) files.push({ name, bytes: stats.size });
  }
  return files;
}

/** Which server is streamed, `null` when none is. @throws HoldfastError DAMAGED */
export async function readStreamClaim(folder: string): Promise<StreamClaim | null> {
  const bytes = await ifThere(readFile(join(folder, streamClaimName)), null);
  return bytes === null ? null : parseStreamClaim(bytes);
}

/** The header of a segment, `null` where nothing is written yet, or it is gone. */
async function readHeader(path: string): Promise<SegmentHeader | null> {
  const handle = await ifThere(open(path, 'r'), null);
  if (handle === null) return null;
  try {
    const head = Buffer.alloc(segmentHeaderBytes);
    const { bytesRead } = await handle.read(head, 0, segmentHeaderBytes, 0);
    return parseSegmentHeader(head.subarray(0, bytesRead));
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'DAMAGED') return null;
    throw error;
  } finally {
    await handle.close();
  }
}

/** A history file that the archive does not have yet. */
async function readHistory(folder: string, name: string): Promise<ArchivedHistory | null> {
  const timeline = Number.parseInt(name.slice(0, 8), 16);
  const text = await ifThere(readFile(join(folder, name), 'utf8'), null);
  if (text === null) return null;
  const history = { name, timeline, hasDigest: false, ancestors: null, problem: null };
  try {
    return { ...history, ancestors: parseHistory(text, timeline) };
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'DAMAGED') throw error;
    return { ...history, problem: error.message };
  }
}

/** What a stream holds. */
export interface StreamReading extends StreamContent {
  /** Of its segments; `null` where there is none. */
  readonly segmentBytes: number | null;
}

/**
 * Reads what a stream holds: only segments in which something is written, of one size.
 *
 * @throws Node's errors
 */
export async function readStream(folder: string): Promise<StreamReading> {
  const files = await listStream(folder);
  const written = new Set<string>();
  let segmentBytes: number | null = null;
  for (const { name } of files) {
    if (!/^[0-9A-F]{24}(\.partial)?$/.test(name)) continue;
    const header = await readHeader(join(folder, name));
    if (header === null) continue;
    segmentBytes ??= header.segmentBytes;
    if (header.segmentBytes === segmentBytes) written.add(name);
  }
  // Without a segment the size decides nothing: the names of histories do not depend on it.
  const sorted = sortStream(files, segmentBytes ?? 1024 * 1024);
  const histories: ArchivedHistory[] = [];
  for (const { name } of sorted.histories) {
    const history = await readHistory(folder, name);
    if (history !== null) histories.push(history);
  }
  const segments = sorted.segments.filter(
    ({ name, bytes }) => written.has(name) && bytes === segmentBytes,
  );
  return { segmentBytes, segments, histories };
}

/**
 * Opens a segment of the stream, also where an unfinished one has been completed meanwhile.
 *
 * @returns `null` when it is gone: then the archive has it
 * @throws Node's errors
 */
export async function openStreamed(path: string): Promise<Readable | null> {
  const whole = path.endsWith(partialSuffix) ? path.slice(0, -partialSuffix.length) : path;
  for (const candidate of path === whole ? [path] : [path, whole]) {
    const handle = await ifThere(open(candidate, 'r'), null);
    if (handle !== null) return createReadStream('', { fd: handle });
  }
  return null;
}

async function isZeroFrom(handle: FileHandle, start: number): Promise<boolean> {
  const buffer = Buffer.alloc(1024 * 1024);
  for (let position = start; ; ) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, position);
    if (bytesRead === 0) return true;
    if (buffer.subarray(0, bytesRead).some((byte) => byte !== 0)) return false;
    position += bytesRead;
  }
}

/**
 * Whether a file of the stream holds nothing from an offset on, rounded up to a whole page.
 *
 * @throws Node's errors
 */
export async function isEmptyFrom(path: string, offset: number): Promise<boolean> {
  const handle = await open(path, 'r');
  try {
    return await isZeroFrom(handle, Math.ceil(offset / pageBytes) * pageBytes);
  } finally {
    await handle.close();
  }
}
