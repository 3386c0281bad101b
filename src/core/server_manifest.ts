/**
 * PostgreSQL's own manifest of a base backup, `backup_manifest`: every file with its size and
 * digest, and the WAL that makes them consistent (manual, "Backup Manifest Format").
 */

import { createHash } from 'node:crypto';
import { HoldfastError } from './errors.ts';
import { parseLsn, previousSegmentNumber, segmentName, segmentNumber } from './lsn.ts';

/** A file as the server read it. */
export interface ServerFile {
  readonly bytes: number;
  /** In lower-case hexadecimal. */
  readonly sha256: string;
}

/** A file as the server lists it. */
export interface ListedFile extends ServerFile {
  /** When it was last written: seconds since 1970; `null` where that is not told. */
  readonly modifiedSeconds: number | null;
}

/** The WAL of one timeline that is needed. */
export interface ServerWalRange {
  readonly timeline: number;
  readonly start_lsn: string;
  readonly end_lsn: string;
}

/** What the manifest tells. */
export interface ServerManifest {
  /** By their paths below the data directory; see {@link pathText}. */
  readonly files: ReadonlyMap<string, ListedFile>;
  /** Oldest first; never empty. */
  readonly walRanges: readonly [ServerWalRange, ...ServerWalRange[]];
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** A path in a backup as text: UTF-8 where it is that, else its bytes as hexadecimal. */
export function pathText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    return `\0${Buffer.from(bytes).toString('hex')}`;
  }
}

/** The bytes of a path that {@link pathText} gave. */
export function pathBytes(text: string): Buffer {
  return text.startsWith('\0') ? Buffer.from(text.slice(1), 'hex') : Buffer.from(text, 'utf8');
}

const invalid = (why: string, cause?: unknown): HoldfastError =>
  new HoldfastError('DAMAGED', `backup_manifest ${why}`, { cause });

/** The last line holds the digest of everything before it. */
function requireOwnDigest(bytes: Buffer): void {
  const mark = '"Manifest-Checksum": "';
  const at = bytes.lastIndexOf(mark);
  const digest = bytes.toString('latin1', at + mark.length, at + mark.length + 64);
  if (at === -1 || !/^[0-9a-f]{64}$/.test(digest)) throw invalid('is cut: its digest is missing');
  const actual = createHash('sha256').update(bytes.subarray(0, at)).digest('hex');
  if (actual !== digest) throw invalid('differs from its own digest');
}

function textOf(record: Record<string, unknown>, key: string): string {
  const value = record[key];
  if (typeof value !== 'string') throw invalid(`lacks ${key}`);
  return value;
}

function numberOf(record: Record<string, unknown>, key: string): number {
  const value = record[key];
  if (!Number.isSafeInteger(value)) throw invalid(`lacks ${key}`);
  return value as number;
}

function listOf(document: Record<string, unknown>, key: string): Record<string, unknown>[] {
  const value = document[key];
  if (!Array.isArray(value)) throw invalid(`lacks ${key}`);
  return value as Record<string, unknown>[];
}

function readFile(record: Record<string, unknown>): [path: string, file: ListedFile] {
  const encoded = record['Encoded-Path'];
  const path =
    typeof encoded === 'string' ? pathText(Buffer.from(encoded, 'hex')) : textOf(record, 'Path');
  if (textOf(record, 'Checksum-Algorithm') !== 'SHA256') {
    throw invalid('has digests that are not SHA-256');
  }
  const modified = Date.parse(String(record['Last-Modified'])) / 1000;
  const modifiedSeconds = Number.isFinite(modified) ? modified : null;
  const [bytes, sha256] = [numberOf(record, 'Size'), textOf(record, 'Checksum')];
  return [path, { bytes, sha256, modifiedSeconds }];
}

function readRange(record: Record<string, unknown>): ServerWalRange {
  const [start_lsn, end_lsn] = [textOf(record, 'Start-LSN'), textOf(record, 'End-LSN')];
  if (parseLsn(start_lsn) === null || parseLsn(end_lsn) === null) throw invalid('lacks an LSN');
  return { timeline: numberOf(record, 'Timeline'), start_lsn, end_lsn };
}

/**
 * Reads the manifest, which has to agree with its own digest.
 *
 * @throws HoldfastError DAMAGED
 */
export function parseServerManifest(bytes: Uint8Array): ServerManifest {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  requireOwnDigest(buffer);
  let document: Record<string, unknown>;
  try {
    document = JSON.parse(buffer.toString('utf8'));
  } catch (cause) {
    throw invalid('is no JSON', cause);
  }
  // The server tells the newest timeline first.
  const ranges = listOf(document, 'WAL-Ranges').map(readRange);
  const [first, ...rest] = ranges.sort((a, b) => a.timeline - b.timeline);
  if (first === undefined) throw invalid('names no WAL');
  const files = new Map(listOf(document, 'Files').map(readFile));
  return { files, walRanges: [first, ...rest] };
}

/** The parts of the WAL that the ranges need, as names of segments that may hold each. */
export function neededSegments(
  ranges: readonly ServerWalRange[],
  segmentBytes: number,
): readonly (readonly string[])[] {
  const numbers = new Set<bigint>();
  for (const { start_lsn, end_lsn } of ranges) {
    const first = segmentNumber(parseLsn(start_lsn) ?? 0n, segmentBytes);
    const last = previousSegmentNumber(parseLsn(end_lsn) ?? 0n, segmentBytes);
    for (let number = first; number <= last; number += 1n) numbers.add(number);
  }
  // Where a timeline ends within a segment, only the next one's copy of it is there.
  return [...numbers].map((number) =>
    ranges.map(({ timeline }) => segmentName(timeline, number, segmentBytes)),
  );
}

/** Files that a backup has and the server's list leaves out: the list itself, and WAL. */
const unlisted = /^(?:backup_manifest|pg_wal\/[0-9A-F]{24})$/;

/** So many differences are told. */
const findingsMax = 20;

/**
 * Compares the files of a backup with the server's list.
 *
 * @param seen every file of every archive in the backup, by its path below the data directory
 * @returns what is wrong, to be read after the backup's name; at most 20 sentences
 */
export function compareWithServer(
  manifest: ServerManifest,
  seen: ReadonlyMap<string, ServerFile>,
  segmentBytes: number,
): string[] {
  const findings: string[] = [];
  const add = (text: string) => {
    if (findings.length < findingsMax) findings.push(text);
  };
  for (const [path, expected] of manifest.files) {
    const found = seen.get(path);
    const name = JSON.stringify(path);
    if (found === undefined) add(`lacks the file ${name}`);
    else if (found.bytes !== expected.bytes) {
      add(`has ${found.bytes} bytes of the file ${name} instead of ${expected.bytes}`);
    } else if (found.sha256 !== expected.sha256) add(`has other bytes of the file ${name}`);
  }
  for (const path of seen.keys()) {
    if (!manifest.files.has(path) && !unlisted.test(path)) {
      add(`has a file that the server did not list: ${JSON.stringify(path)}`);
    }
  }
  for (const names of neededSegments(manifest.walRanges, segmentBytes)) {
    const found = names.map((name) => seen.get(`pg_wal/${name}`)).find((file) => file);
    if (found?.bytes !== segmentBytes) add(`lacks the WAL segment ${names.at(-1)}`);
  }
  return findings;
}
