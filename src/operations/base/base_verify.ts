/**
 * Verifies the bytes of a base backup: every file against its digests, SHA256SUMS and the manifest
 * against each other, the archives read to their ends and every file in them compared with
 * PostgreSQL's own list.
 */

import { buffer } from 'node:stream/consumers';
import { type BaseEntry, baseMisplacement, listBaseBackups } from '../../catalog/base_catalog.ts';
import { writeCheck } from '../../catalog/checks.ts';
import { chainOf } from '../../core/base_chain.ts';
import {
  type BaseManifest,
  type BaseManifestFile,
  serverManifestName,
} from '../../core/base_manifest.ts';
import { parseBaseManifest } from '../../core/base_manifest_codec.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { manifestName, signatureName, sumsName } from '../../core/manifest.ts';
import { parseSums, sumsOf } from '../../core/sums.ts';
import { mayDecrypt } from '../../pipeline/encryption_check.ts';
import { createByteCounter } from '../../pipeline/measure.ts';
import { flowContext, type RepositoryContext } from '../context.ts';
import { holdBackup, requireThere } from '../hold_backup.ts';
import { findUnsigned } from '../require_signature.ts';
import {
  compareBytes,
  type Finding,
  findingOf,
  isLockedError,
  type VerifyTarget,
  verifyStored,
} from '../verify_file.ts';
import {
  type ArchiveContents,
  compareContents,
  emptyContents,
  readArchive,
} from './base_archives.ts';
import { type StoredChain, verifyDeep } from './base_deep.ts';
import { readServerManifest, type StoredBase } from './unpack_archive.ts';

/** How much of it is read. */
export interface BaseVerifyOptions {
  /** `stored`: the stored bytes are hashed; `plain`: the archives are also read. */
  readonly depth: 'stored' | 'plain';
  /** Whether PostgreSQL also checks what a restore would make of it. */
  readonly deep: boolean;
  /** Told of stored bytes as they are read. */
  readonly onBytes?: (bytes: number) => void;
}

/** What a verification has found; `ok` is the absence of findings. */
export interface BaseVerifyResult {
  readonly entry: BaseEntry;
  readonly ok: boolean;
  readonly findings: readonly Finding[];
  /** Files that are encrypted, and whose inside nobody here can look at. */
  readonly locked: readonly string[];
  /** The labels of what PostgreSQL has checked put together; `null` where it was not asked. */
  readonly deep: readonly string[] | null;
  readonly seconds: number;
  /** Stored bytes that were read. */
  readonly bytes: number;
  /** Why the result could not be kept in the repository; `null` when it was. */
  readonly notRecorded: HoldfastError | null;
}

/** Reads a small document; what is wrong with it is a finding. */
async function readDocument(
  target: VerifyTarget,
  name: string,
  present: ReadonlyMap<string, number>,
  findings: Finding[],
): Promise<Buffer | null> {
  if (!present.has(name)) {
    findings.push({ file: name, check: 'missing', message: 'is not there' });
    return null;
  }
  const bytes = await buffer(await target.storage.get(`${target.folder}/${name}`));
  target.onBytes(bytes.length);
  return bytes;
}

/** What can be said by SHA256SUMS alone, where the manifest is lost. */
async function verifyBySums(
  target: VerifyTarget,
  sumsBytes: Buffer,
  present: ReadonlyMap<string, number>,
  findings: Finding[],
): Promise<void> {
  try {
    for (const { name, sha256 } of parseSums(sumsBytes.toString('utf8'))) {
      if (present.has(name)) findings.push(...(await verifyStored(target, name, sha256)));
      else findings.push({ file: name, check: 'missing', message: 'is not there' });
    }
  } catch (error) {
    findings.push({ file: sumsName, check: 'sums', message: toHoldfastError(error).message });
  }
}

/** Where a base backup lies, and what of it nobody here can decrypt. */
interface BaseTarget extends VerifyTarget {
  readonly context: RepositoryContext;
  readonly locked: string[];
}

/** Verifies one archive, and gathers what is in it. */
async function verifyArchive(
  target: BaseTarget,
  manifest: BaseManifest,
  file: BaseManifestFile,
  contents: ArchiveContents,
): Promise<Finding[]> {
  const { context, storage, folder, onBytes } = target;
  const oid = manifest.tablespaces.find((each) => each.file === file.name)?.oid ?? null;
  const archive = { name: file.name, oid, filters: file.filters };
  try {
    const body = await storage.get(`${folder}/${file.name}`);
    const storedObservers = [createByteCounter(onBytes)];
    const measured = await readArchive(context, archive, body, contents, { storedObservers });
    return [
      ...compareBytes(file.name, 'stored', file.stored, measured.stored),
      ...compareBytes(file.name, 'plain', file.plain, measured.plain),
    ];
  } catch (error) {
    if (!isLockedError(error)) return [findingOf(error, file.name)];
    target.locked.push(file.name);
    return verifyStored(target, file.name, file.stored.sha256);
  }
}

/** Which of its archives nobody here can decrypt, as far as that is known without trying. */
async function lockedArchives({ context }: BaseTarget, { files }: BaseManifest): Promise<string[]> {
  const archives = files.filter(({ role }) => role === 'base' || role === 'tablespace');
  const filters = archives.flatMap((file) => file.filters);
  const isReadable = await mayDecrypt(filters, flowContext(context));
  return isReadable ? [] : archives.map(({ name }) => name);
}

async function verifyFiles(
  target: BaseTarget,
  backup: StoredBase,
  present: ReadonlyMap<string, number>,
  wanted: 'stored' | 'plain',
): Promise<Finding[]> {
  const { manifest } = backup;
  if (wanted === 'plain') target.locked.push(...(await lockedArchives(target, manifest)));
  const depth = target.locked.length === 0 ? wanted : 'stored';
  const findings: Finding[] = [];
  const contents = emptyContents();
  for (const file of manifest.files) {
    const bytes = present.get(file.name);
    const isArchive = file.role === 'base' || file.role === 'tablespace';
    if (bytes === undefined) {
      findings.push({ file: file.name, check: 'missing', message: 'is not there' });
    } else if (bytes !== file.stored.bytes) {
      const message = `has ${bytes} bytes instead of ${file.stored.bytes}`;
      findings.push({ file: file.name, check: 'size', message });
    } else if (isArchive && depth === 'plain') {
      findings.push(...(await verifyArchive(target, manifest, file, contents)));
    } else findings.push(...(await verifyStored(target, file.name, file.stored.sha256)));
  }
  // Once the bytes differ, what can be read in them says nothing more.
  if (findings.length > 0 || depth === 'stored' || target.locked.length > 0) return findings;
  const { wal_segment_bytes: segmentBytes } = manifest.server;
  try {
    const listed = await readServerManifest(target.context, backup);
    const differing = compareContents(contents, listed, segmentBytes);
    return differing.map((message) => ({ file: manifestName, check: 'archive', message }));
  } catch (error) {
    return [findingOf(error, serverManifestName)];
  }
}

async function inspect(
  target: BaseTarget,
  entry: BaseEntry,
  depth: 'stored' | 'plain',
): Promise<Finding[]> {
  const findings: Finding[] = [];
  const present = new Map<string, number>();
  for await (const page of target.storage.list(target.folder)) {
    for (const { key, bytes } of page) present.set(key.slice(target.folder.length + 1), bytes);
  }
  const manifestBytes = await readDocument(target, manifestName, present, findings);
  const sumsBytes = await readDocument(target, sumsName, present, findings);
  let manifest: BaseManifest | null = null;
  try {
    manifest = manifestBytes === null ? null : parseBaseManifest(manifestBytes);
    const misplaced = manifest === null ? null : baseMisplacement(manifest, entry);
    if (misplaced !== null) {
      findings.push({ file: manifestName, check: 'manifest', message: misplaced });
    }
  } catch (error) {
    const { message } = toHoldfastError(error);
    findings.push({ file: manifestName, check: 'manifest', message });
  }
  if (manifest === null || manifestBytes === null) {
    if (sumsBytes !== null) await verifyBySums(target, sumsBytes, present, findings);
    return findings;
  }
  if (sumsBytes !== null && !Buffer.from(sumsOf(manifest, manifestBytes)).equals(sumsBytes)) {
    const message = 'differs from what the manifest says';
    findings.push({ file: sumsName, check: 'sums', message });
  }
  const unsigned = await findUnsigned(target.context, target, manifestBytes);
  if (unsigned !== null) findings.push(unsigned);
  const beside = [manifestName, signatureName, sumsName];
  const known = new Set([...manifest.files.map(({ name }) => name), ...beside]);
  for (const name of present.keys()) {
    if (known.has(name)) continue;
    findings.push({ file: name, check: 'extra', message: 'does not belong to the backup' });
  }
  const backup = { label: entry.label, folder: target.folder, manifest };
  findings.push(...(await verifyFiles(target, backup, present, depth)));
  return findings;
}

/** What it needs, with every other check as it is; what was found of itself before is over. */
async function readChain(context: RepositoryContext, entry: BaseEntry) {
  const { cluster, label } = entry;
  const all = await listBaseBackups(context.repository.storage, { cluster });
  const now = all.map((each) => (each.label === label ? { ...each, check: null } : each));
  const { links, broken } = chainOf(now, label);
  const found: readonly BaseEntry[] = links ?? [];
  const [first, ...rest] = found.filter(
    (link): link is BaseEntry & StoredBase => link.manifest !== null,
  );
  const chain: StoredChain | null = first === undefined ? null : [first, ...rest];
  return { chain, broken };
}

function chainFinding(message: string): Finding {
  return { file: manifestName, check: 'chain', message };
}

/** What is wrong with it, and (`foreign`) with another one that it needs. */
interface Verdict {
  readonly own: readonly Finding[];
  readonly foreign: readonly Finding[];
  readonly deep: readonly string[] | null;
}

async function lookDeep(
  context: RepositoryContext,
  entry: BaseEntry,
  chain: StoredChain,
): Promise<Verdict> {
  const deep = chain.map(({ label }) => label);
  const finding = (message: string): Finding => ({ file: manifestName, check: 'deep', message });
  try {
    return { own: (await verifyDeep(context, chain)).map(finding), foreign: [], deep };
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.code === 'RESTORE_FAILED')
      return { own: [finding(error.message)], foreign: [], deep };
    const label = error.details?.label;
    if (typeof label !== 'string') throw error;
    const { message } = findingOf(error, manifestName);
    return label === entry.label
      ? { own: [finding(message)], foreign: [], deep }
      : { own: [], foreign: [chainFinding(`needs ${label}: ${message}`)], deep };
  }
}

async function judge(
  target: BaseTarget,
  entry: BaseEntry,
  { depth, deep }: BaseVerifyOptions,
): Promise<Verdict> {
  const { context } = target;
  const own = await inspect(target, entry, depth);
  if (own.length > 0) return { own, foreign: [], deep: null };
  const { chain, broken } = await readChain(context, entry);
  if (chain === null) {
    const foreign = [chainFinding(`needs ${broken}, which is missing or damaged`)];
    return { own, foreign, deep: null };
  }
  return deep && target.locked.length === 0
    ? lookDeep(context, entry, chain)
    : { own, foreign: [], deep: null };
}

async function verifyHeld(
  context: RepositoryContext,
  entry: BaseEntry,
  options: BaseVerifyOptions,
): Promise<BaseVerifyResult> {
  const started = context.stopwatch();
  const { storage } = context.repository;
  let bytes = 0;
  const count = (more: number) => {
    bytes += more;
    options.onBytes?.(more);
  };
  const locked: string[] = [];
  const target = { context, storage, folder: entry.folder, onBytes: count, locked };
  const { own, foreign, deep } = await judge(target, entry, options);
  if (own.length > 0) await requireThere(storage, entry);
  const seconds = context.stopwatch() - started;
  const findings = [...own, ...foreign];
  const facts = {
    run_id: context.runId,
    host: context.host,
    depth: locked.length > 0 ? 'stored' : deep === null ? options.depth : 'deep',
    bytes,
    duration_seconds: Math.round(seconds * 1000) / 1000,
    findings: own.slice(0, 100),
  };
  let notRecorded: HoldfastError | null = null;
  try {
    // Damage of another backup is recorded beside that one, and may be mended there.
    const check = { kind: own.length === 0 ? 'verified' : 'damaged', at: context.clock() } as const;
    await writeCheck(storage, entry.folder, check, facts);
  } catch (error) {
    notRecorded = toHoldfastError(error, 'recording the result');
  }
  const ok = findings.length === 0;
  return { entry, ok, findings, locked, deep, seconds, bytes, notRecorded };
}

/**
 * Hashes the stored files of a base backup and holds its documents against each other; nothing is
 * recorded, and what it needs is not looked at.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND when it was removed meanwhile, and what a store throws
 */
export async function inspectBaseBackup(
  context: RepositoryContext,
  entry: BaseEntry,
  onBytes: (bytes: number) => void,
): Promise<readonly Finding[]> {
  const { storage } = context.repository;
  const target = { context, storage, folder: entry.folder, onBytes, locked: [] };
  const findings = await inspect(target, entry, 'stored');
  if (findings.length > 0) await requireThere(storage, entry);
  return findings;
}

/**
 * Verifies one base backup, and that all that it needs is there; records the result beside the
 * cluster's backups.
 *
 * @returns what is wrong as findings
 * @throws HoldfastError STORE_UNREACHABLE, STORE_REFUSED, INTERRUPTED, BACKUP_NOT_FOUND when it was
 *   removed meanwhile; deep: what verifyDeep throws that is no damage
 */
export async function verifyBaseBackup(
  context: RepositoryContext,
  entry: BaseEntry,
  options: BaseVerifyOptions,
): Promise<BaseVerifyResult> {
  return holdBackup(context.repository, entry, () => verifyHeld(context, entry, options));
}
