/**
 * Verifies the bytes of a backup: every file against its digests, SHA256SUMS and the manifest byte
 * for byte against each other, decompression to the end, the structure of the archive. Nothing is
 * restored: that is what a proof does.
 */

import { basename } from 'node:path/posix';
import { buffer } from 'node:stream/consumers';
import { isDeepStrictEqual } from 'node:util';
import { type CatalogEntry, type EntryPlace, misplacement } from '../../catalog/entry.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import {
  type Manifest,
  type ManifestFile,
  manifestName,
  signatureName,
  sumsName,
} from '../../core/manifest.ts';
import { parseManifest } from '../../core/manifest_codec.ts';
import { parseSums, type Sum, sha256Of, sumsOf } from '../../core/sums.ts';
import type { Storage } from '../../storage/storage.ts';
import type { Context, RepositoryContext } from '../context.ts';
import { holdBackup, requireThere } from '../hold_backup.ts';
import { findUnsigned } from '../require_signature.ts';
import { type Finding, type VerifyTarget, verifyFile, verifyStored } from '../verify_file.ts';

export type { Finding } from '../verify_file.ts';

export interface VerifyOptions {
  /** `stored`: the stored bytes are hashed; `plain`: they are also decompressed and read. */
  readonly depth: 'stored' | 'plain';
  /** Told of stored bytes as they are read, for a progress display. */
  readonly onBytes?: (bytes: number) => void;
  /**
   * A file that the caller reads whole itself, against these digests: here only its presence and
   * its size are looked at, as long as the manifest in the folder says the same of it.
   */
  readonly readByCaller?: ManifestFile | undefined;
}

/** What a verification has found; `ok` is the absence of findings. */
export interface VerifyResult {
  readonly entry: CatalogEntry;
  readonly ok: boolean;
  readonly findings: readonly Finding[];
  /** Files that are encrypted, and whose inside nobody here can look at. */
  readonly locked: readonly string[];
  /** How long it took. */
  readonly seconds: number;
  /** Stored bytes that were read. */
  readonly bytes: number;
  /** Why the result could not be kept in the repository; `null` when it was. */
  readonly notRecorded: HoldfastError | null;
}

/** Larger than any manifest: one with a million tables has about 250 MB. */
const documentBytesMax = 512 * 1024 * 1024;

/** What is wrong with a backup, as far as it was found. */
class Verification {
  readonly findings: Finding[] = [];
  readonly locked: string[] = [];
  bytes = 0;
  readonly #context: Context;
  readonly #storage: Storage;
  readonly #folder: string;
  /** Where the manifest has to lie; `null` for a copy, which may lie anywhere. */
  readonly #place: EntryPlace | null;
  readonly #options: VerifyOptions;

  constructor(context: Context, place: InspectedPlace, options: VerifyOptions) {
    this.#context = context;
    this.#storage = place.storage;
    this.#folder = place.folder;
    this.#place = place.entry;
    this.#options = options;
  }

  async run(): Promise<void> {
    const present = await this.#listFiles();
    const manifestBytes = await this.#readDocument(manifestName, present);
    const sumsBytes = await this.#readDocument(sumsName, present);
    const manifest = manifestBytes === null ? null : this.#parseManifest(manifestBytes);
    if (manifestBytes !== null) {
      const unsigned = await findUnsigned(this.#context, this.#target(), manifestBytes);
      if (unsigned !== null) this.findings.push(unsigned);
    }
    const sums = sumsBytes === null ? null : this.#parseSums(sumsBytes);
    if (manifestBytes !== null && sums !== null) this.#compareManifestDigest(manifestBytes, sums);
    if (manifest === null) {
      await this.#verifyBySums(sums ?? [], present);
      return;
    }
    if (manifestBytes !== null && sumsBytes !== null) {
      this.#compareSums(sumsOf(manifest, manifestBytes), sumsBytes);
    }
    await this.#verifyByManifest(manifest, present);
  }

  #target(): VerifyTarget {
    return {
      context: this.#context,
      storage: this.#storage,
      folder: this.#folder,
      onBytes: this.#count,
      onLocked: (name) => this.locked.push(name),
    };
  }

  #add(file: string, check: Finding['check'], message: string): void {
    this.findings.push({ file, check, message });
  }

  /** Names below the backup's folder, with their sizes. */
  async #listFiles(): Promise<Map<string, number>> {
    const files = new Map<string, number>();
    const folder = this.#folder;
    for await (const page of this.#storage.list(folder)) {
      for (const { key, bytes } of page) files.set(key.slice(folder.length + 1), bytes);
    }
    return files;
  }

  async #readDocument(
    name: string,
    present: ReadonlyMap<string, number>,
  ): Promise<Uint8Array | null> {
    const bytes = present.get(name);
    if (bytes === undefined) {
      this.#add(name, 'missing', 'is not there');
      return null;
    }
    if (bytes > documentBytesMax) {
      this.#add(name, 'size', `has ${bytes} bytes, which none has`);
      return null;
    }
    const document = await buffer(await this.#storage.get(`${this.#folder}/${name}`));
    this.#count(document.length);
    return document;
  }

  readonly #count = (bytes: number): void => {
    this.bytes += bytes;
    this.#options.onBytes?.(bytes);
  };

  #parseManifest(bytes: Uint8Array): Manifest | null {
    try {
      const manifest = parseManifest(bytes);
      const misplaced = this.#place === null ? null : misplacement(manifest, this.#place);
      if (misplaced !== null) this.#add(manifestName, 'manifest', misplaced);
      return manifest;
    } catch (error) {
      this.#add(manifestName, 'manifest', toHoldfastError(error).message);
      return null;
    }
  }

  #parseSums(bytes: Uint8Array): Sum[] | null {
    try {
      return parseSums(Buffer.from(bytes).toString('utf8'));
    } catch (error) {
      this.#add(sumsName, 'sums', toHoldfastError(error).message);
      return null;
    }
  }

  #compareManifestDigest(manifestBytes: Uint8Array, sums: readonly Sum[]): void {
    const listed = sums.find(({ name }) => name === manifestName);
    if (listed !== undefined && listed.sha256 !== sha256Of(manifestBytes)) {
      this.#add(manifestName, 'stored', `differs from its digest in ${sumsName}`);
    }
  }

  #compareSums(expected: string, bytes: Uint8Array): void {
    if (Buffer.from(expected, 'utf8').equals(bytes)) return;
    this.#add(sumsName, 'sums', 'differs from what the manifest says');
  }

  /** What can still be said where the manifest is lost. */
  async #verifyBySums(sums: readonly Sum[], present: ReadonlyMap<string, number>): Promise<void> {
    for (const { name, sha256 } of sums) {
      if (name === manifestName) continue;
      if (!present.has(name)) {
        this.#add(name, 'missing', 'is not there');
        continue;
      }
      const target = this.#target();
      this.findings.push(...(await verifyStored(target, name, sha256)));
    }
    this.#findExtra(
      sums.map(({ name }) => name),
      present,
    );
  }

  async #verifyByManifest(manifest: Manifest, present: ReadonlyMap<string, number>): Promise<void> {
    for (const file of manifest.files) {
      const bytes = present.get(file.name);
      if (bytes === undefined) {
        this.#add(file.name, 'missing', 'is not there');
      } else if (bytes !== file.stored.bytes) {
        this.#add(file.name, 'size', `has ${bytes} bytes instead of ${file.stored.bytes}`);
      } else if (!isDeepStrictEqual(file, this.#options.readByCaller)) {
        const { depth } = this.#options;
        const target = this.#target();
        this.findings.push(...(await verifyFile(target, file, manifest, depth)));
      }
    }
    this.#findExtra(
      manifest.files.map(({ name }) => name),
      present,
    );
  }

  #findExtra(known: readonly string[], present: ReadonlyMap<string, number>): void {
    const expected = new Set([...known, manifestName, signatureName, sumsName]);
    for (const name of present.keys()) {
      if (!expected.has(name)) this.#add(name, 'extra', 'does not belong to the backup');
    }
  }
}

/** Keeps the result beside the repository's tree; a store that is read-only is told, not thrown. */
async function record(
  context: RepositoryContext,
  entry: CatalogEntry,
  facts: Readonly<Record<string, unknown>>,
  ok: boolean,
): Promise<HoldfastError | null> {
  try {
    const check = { kind: ok ? 'verified' : 'damaged', at: context.clock() } as const;
    await context.catalog.recordCheck(entry, check, facts);
    return null;
  } catch (error) {
    return toHoldfastError(error, 'recording the result');
  }
}

/** A folder with a backup in it, in a repository or elsewhere. */
export interface InspectedPlace {
  readonly storage: Storage;
  readonly folder: string;
  /** Where the catalog says that it lies; `null` for a copy, which may lie anywhere. */
  readonly entry: EntryPlace | null;
}

/** What an inspection found, and how many stored bytes it read. */
export interface Inspection {
  readonly findings: readonly Finding[];
  /** Files that are encrypted, and whose inside nobody here can look at. */
  readonly locked: readonly string[];
  readonly bytes: number;
}

/**
 * Verifies a backup as {@link verifyBackup} does and records nothing.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND when it was removed meanwhile, and what a store throws
 */
export async function inspectBackup(
  context: Context,
  place: InspectedPlace,
  options: VerifyOptions,
): Promise<Inspection> {
  const verification = new Verification(context, place, options);
  await verification.run();
  const { findings, locked, bytes } = verification;
  const { storage, folder } = place;
  if (findings.length > 0) await requireThere(storage, { label: basename(folder), folder });
  return { findings, locked, bytes };
}

/**
 * Verifies one backup and records the result under `checks/`.
 *
 * @returns what is wrong as findings: a missing, extra, cut or changed file, a manifest that cannot
 *   be read
 * @throws HoldfastError STORE_UNREACHABLE, STORE_REFUSED, INTERRUPTED, BACKUP_NOT_FOUND when it was
 *   removed meanwhile: then nothing is known and nothing is recorded
 */
export async function verifyBackup(
  context: RepositoryContext,
  entry: CatalogEntry,
  options: VerifyOptions,
): Promise<VerifyResult> {
  return holdBackup(context.repository, entry, () => verifyHeld(context, entry, options));
}

async function verifyHeld(
  context: RepositoryContext,
  entry: CatalogEntry,
  options: VerifyOptions,
): Promise<VerifyResult> {
  const started = context.stopwatch();
  const { storage } = context.repository;
  const place = { storage, folder: entry.folder, entry };
  const { findings, locked, bytes } = await inspectBackup(context, place, options);
  const seconds = context.stopwatch() - started;
  const ok = findings.length === 0;
  const facts = {
    run_id: context.runId,
    host: context.host,
    depth: locked.length > 0 ? 'stored' : options.depth,
    bytes,
    duration_seconds: Math.round(seconds * 1000) / 1000,
    findings: findings.slice(0, 100),
  };
  const notRecorded = await record(context, entry, facts, ok);
  return { entry, ok, findings, locked, seconds, bytes, notRecorded };
}

/**
 * The error of a backup that did not pass, for commands that end with it.
 *
 * @param backup its label, or the path of its folder
 */
export function damageError(backup: string, findings: readonly Finding[]): HoldfastError {
  const [first] = findings;
  const more = findings.length > 1 ? ` (and ${findings.length - 1} more findings)` : '';
  const what = first === undefined ? 'is damaged' : `${first.file} ${first.message}${more}`;
  return new HoldfastError('DAMAGED', `the backup ${backup} is damaged: ${what}`, {
    hint: 'Use another backup, or another copy of this one.',
    details: { backup, findings },
  });
}
