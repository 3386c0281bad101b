/** Verifies one file of a backup: its digests, its decompression, the archive in it. */

import type { Readable } from 'node:stream';
import { HoldfastError } from '../core/errors.ts';
import type { Manifest, ManifestFile, MeasuredBytes } from '../core/manifest.ts';
import { mayDecrypt } from '../pipeline/encryption_check.ts';
import { createByteCounter } from '../pipeline/measure.ts';
import { type Measurements, readBack } from '../pipeline/read_back.ts';
import { type ArchiveReading, createArchiveReader } from '../postgres/archive.ts';
import type { Storage } from '../storage/storage.ts';
import { type Context, flowContext } from './context.ts';

/** Something that is wrong with a file of a backup. */
export interface Finding {
  /** Its name in the backup's folder. */
  readonly file: string;
  /** Which check it did not pass. */
  readonly check:
    | 'missing'
    | 'extra'
    | 'size'
    | 'stored'
    | 'plain'
    | 'archive'
    | 'sums'
    | 'manifest'
    /** Nobody whose signature counts has signed it. */
    | 'signature'
    /** It needs another backup that is missing or damaged. */
    | 'chain'
    /** PostgreSQL's own check of what is restored from it. */
    | 'deep';
  /** What is wrong, to be read after the file's name. */
  readonly message: string;
}

/** Where the file lies, and who counts the bytes. */
export interface VerifyTarget {
  readonly context: Context;
  readonly storage: Storage;
  readonly folder: string;
  readonly onBytes: (bytes: number) => void;
  /** Told of a file that is encrypted and whose key is not here: its inside was not looked at. */
  readonly onLocked?: ((name: string) => void) | undefined;
}

/** Errors that are about the file; any other says that nothing can be known about it now. */
const damageCodes = new Set<string>(['DAMAGED', 'BACKUP_NOT_FOUND', 'PATH_REFUSED']);

/** Damage as a finding. @throws any other error, which says nothing about the file */
export function findingOf(error: unknown, file: string): Finding {
  if (!(error instanceof HoldfastError) || !damageCodes.has(error.code)) throw error;
  const check = error.code === 'BACKUP_NOT_FOUND' ? 'missing' : 'stored';
  return { file, check, message: error.message };
}

async function measureFile(
  { context, storage, folder, onBytes }: VerifyTarget,
  file: Pick<ManifestFile, 'name' | 'filters'>,
  observers: Parameters<typeof readBack>[0]['observers'] = [],
): Promise<Measurements> {
  return readBack({
    body: await storage.get(`${folder}/${file.name}`),
    filters: file.filters,
    observers,
    storedObservers: [createByteCounter(onBytes)],
    context: flowContext(context),
  });
}

/** Hashes a file as it is stored, where there is no manifest to say more. */
export async function verifyStored(
  target: VerifyTarget,
  name: string,
  sha256: string,
): Promise<Finding[]> {
  try {
    const { stored } = await measureFile(target, { name, filters: [] });
    if (stored.sha256 === sha256) return [];
    return [{ file: name, check: 'stored', message: 'differs from its digest' }];
  } catch (error) {
    return [findingOf(error, name)];
  }
}

/** What is wrong with bytes that were read, or nothing. */
export function compareBytes(
  file: string,
  check: 'stored' | 'plain',
  expected: MeasuredBytes,
  actual: MeasuredBytes,
): Finding[] {
  const when = check === 'plain' ? ' when decompressed' : '';
  if (actual.bytes !== expected.bytes) {
    const message = `has ${actual.bytes} bytes instead of ${expected.bytes}${when}`;
    return [{ file, check, message }];
  }
  if (actual.sha256 === expected.sha256) return [];
  return [{ file, check, message: `differs from its digest${when}` }];
}

/** What is wrong with the plain bytes; nothing where the manifest does not know them. */
export function comparePlain(file: ManifestFile, actual: MeasuredBytes): Finding[] {
  return file.plain === null ? [] : compareBytes(file.name, 'plain', file.plain, actual);
}

/** An archive that breaks off or makes no sense, not one that the parser does not know. */
const brokenKinds = new Set<string>(['not-an-archive', 'truncated', 'malformed']);

/** Compares what the dump itself tells with what was written down when it was made. */
function compareArchive(
  { name: file, plain }: ManifestFile,
  manifest: Pick<Manifest, 'tables' | 'large_objects'>,
  { problem, ...reading }: ArchiveReading,
): Finding[] {
  const message = `cannot be read as an archive: ${problem?.message}`;
  if (manifest.tables === null) {
    // A version that the parser did not know then costs the counts, never the backup. But where no
    // digest of the plain bytes says that they are pg_dump's, their structure has to.
    const isBroken = plain === null && problem !== null && brokenKinds.has(problem.kind);
    return isBroken ? [{ file, check: 'archive', message }] : [];
  }
  if (problem !== null) return [{ file, check: 'archive', message }];
  const findings: Finding[] = [];
  const add = (message: string) => findings.push({ file, check: 'archive', message });
  const keyOf = ({ schema, name }: { schema: string; name: string }) =>
    JSON.stringify([schema, name]);
  const actual = new Map(reading.tables.map((table) => [keyOf(table), table]));
  for (const table of manifest.tables) {
    const name = JSON.stringify(`${table.schema}.${table.name}`);
    const found = actual.get(keyOf(table));
    actual.delete(keyOf(table));
    if (found === undefined) add(`lacks the table ${name}`);
    else if (found.rows !== table.rows) {
      add(`has ${found.rows} rows of ${name} instead of ${table.rows}`);
    } else if (found.sha256 !== table.sha256 || found.bytes !== table.bytes) {
      add(`has other data of the table ${name}`);
    }
  }
  for (const extra of actual.values()) {
    add(
      `has a table that is not in the manifest: ${JSON.stringify(`${extra.schema}.${extra.name}`)}`,
    );
  }
  const before = manifest.large_objects;
  const now = reading.largeObjects;
  if (before?.sha256 !== now?.sha256 || before?.count !== now?.count) {
    add('has other large objects');
  }
  return findings;
}

/**
 * A key that does not fit says nothing about a file whose bytes may have changed since: so the
 * stored ones are looked at.
 *
 * @param open gives the stored bytes, from their beginning
 * @returns what is wrong with them; nothing where they are as they were written
 */
export async function judgeLocked(
  context: Context,
  file: Pick<ManifestFile, 'name' | 'stored'>,
  open: () => Promise<Readable>,
): Promise<Finding[]> {
  const { stored } = await readBack({
    body: await open(),
    filters: [],
    context: flowContext(context),
  });
  return compareBytes(file.name, 'stored', file.stored, stored);
}

/** Whether an error means that the key at hand is not the right one, or that there is none. */
export function isLockedError(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === 'WRONG_KEY';
}

/**
 * Verifies a file that is there and has the right size.
 *
 * @param wanted `stored`: its stored bytes alone; so it is too where nobody here can decrypt it
 */
export async function verifyFile(
  target: VerifyTarget,
  file: ManifestFile,
  manifest: Manifest,
  wanted: 'stored' | 'plain',
): Promise<Finding[]> {
  const mayRead =
    wanted === 'stored' || (await mayDecrypt(file.filters, flowContext(target.context)));
  if (!mayRead) target.onLocked?.(file.name);
  const depth = mayRead ? wanted : 'stored';
  const archive = depth === 'plain' && file.role === 'dump' ? createArchiveReader() : null;
  try {
    const filters = depth === 'plain' ? file.filters : [];
    const observers = archive === null ? [] : [archive];
    const measured = await measureFile(target, { name: file.name, filters }, observers);
    const stored = compareBytes(file.name, 'stored', file.stored, measured.stored);
    if (depth === 'stored') return stored;
    const findings = [...stored, ...comparePlain(file, measured.plain)];
    // Once the bytes differ, what can be read in them says nothing more.
    if (findings.length > 0 || archive === null) return findings;
    return compareArchive(file, manifest, archive.finish());
  } catch (error) {
    if (!isLockedError(error)) return [findingOf(error, file.name)];
    target.onLocked?.(file.name);
    return verifyStored(target, file.name, file.stored.sha256);
  }
}
