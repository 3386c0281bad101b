/**
 * Puts one file of the WAL into its archive, by the rules of wal_push (templates/wal_push.sh): what
 * is there is whole, checked and durable; the same content again is no error, other content under
 * the same name is one, and nothing is ever overwritten.
 */

import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { storedSuffix, type WalArchive } from '../../catalog/wal_archive.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { parseSegmentName } from '../../core/lsn.ts';
import { printable } from '../../core/printable.ts';
import { sha256Of } from '../../core/sums.ts';
import { claimName, describeClaim, formatClaim, type WalClaim } from '../../core/wal_claim.ts';
import { formatDigests, type WalDigests } from '../../core/wal_digest.ts';
import { parseSegmentHeader, segmentHeaderBytes } from '../../core/wal_header.ts';
import {
  archivedPath,
  digestSuffix,
  isSegmentFile,
  pathBeside,
  segmentSuffix,
} from '../../core/wal_listing.ts';
import { type FileIdentity, fileIdentity, isSameFile } from '../../core/wal_marker.ts';
import type { StoredObject } from '../../storage/storage.ts';
import type { Context } from '../context.ts';
import { compressSegment } from './wal_compress.ts';
import { type WalEncryption, walEncryption } from './wal_encryption.ts';
import { compareHeader } from './wal_segment.ts';

/** Which file, and into which archive. */
export interface WalPutRequest {
  readonly archive: WalArchive;
  /** Whoever puts it: the archive must be claimed by exactly this one, until it is stored. */
  readonly claim: WalClaim;
  /** As PostgreSQL calls it. */
  readonly name: string;
  /** Of the file on this machine. */
  readonly path: string;
  /** Of the server; `null` where that is not known: then the header's own word counts. */
  readonly segmentBytes: number | null;
  /** Ends it: nothing is left that was being written. The context's unless told. */
  readonly signal?: AbortSignal;
}

/** What became of it. */
export interface WalPut {
  /** `already`: the same content was there. */
  readonly outcome: 'stored' | 'already';
  /** Of the file, the same before it was read and after. */
  readonly identity: FileIdentity;
  /** Of the plain bytes. */
  readonly sha256: string;
}

/** Whoever stores an encrypted segment writes its digests right after it. */
const digestPolls = 300;
const digestPollMs = 100;
/** Read at once. */
const pieceBytes = 1024 * 1024;
/** History and backup files are a few lines. */
const documentBytesMax = 16 * 1024 * 1024;

/** A file that is being put. */
interface Source {
  readonly context: Context;
  readonly request: WalPutRequest;
  readonly handle: FileHandle;
  readonly signal: AbortSignal;
  /** Before anything was read. */
  readonly identity: FileIdentity;
  /** The key of the file in the archive, where it is not there yet. */
  readonly key: string;
  /** How a segment is encrypted. */
  readonly encryption: WalEncryption | null;
}

/** What was read of the claims of archives, by the identity of the object. */
const readClaims = new WeakMap<WalArchive, { identity: string; claim: WalClaim | null }>();

/** The claim of an archive, `null` when nobody has it; it is read again only when it is new. */
export async function currentClaim(archive: WalArchive): Promise<WalClaim | null> {
  const identity = await archive.storage.identity(`${archive.folder}/${claimName}`);
  if (identity === null) return null;
  const known = readClaims.get(archive);
  if (known?.identity === identity) return known.claim;
  const claim = await archive.claim();
  readClaims.set(archive, { identity, claim });
  return claim;
}

/** @throws HoldfastError ARCHIVE_CLAIMED when the archive is not, or no longer, whoever puts's */
async function requireClaim({
  archive,
  claim,
}: Pick<WalPutRequest, 'archive' | 'claim'>): Promise<void> {
  const found = await currentClaim(archive);
  if (found !== null && formatClaim(found) === formatClaim(claim)) return;
  const who =
    found === null
      ? 'nobody has claimed this archive, or it is not mounted'
      : `another server has claimed this archive: ${describeClaim(found)}`;
  throw new HoldfastError('ARCHIVE_CLAIMED', who, {
    hint: 'After a failover or a move, on the new server: setup_archiving.ts take-over.',
  });
}

/** @throws HoldfastError DAMAGED when it is no segment of that name and server */
async function requireHeader({ handle, identity, request }: Source): Promise<void> {
  const { name, claim } = request;
  const damaged = (why: string) => new HoldfastError('DAMAGED', `${name} ${why}`);
  const { buffer, bytesRead } = await handle.read(
    Buffer.alloc(segmentHeaderBytes),
    0,
    segmentHeaderBytes,
    0,
  );
  const header = parseSegmentHeader(buffer.subarray(0, bytesRead));
  const segmentBytes = request.segmentBytes ?? header.segmentBytes;
  const parsed = parseSegmentName(name.slice(0, 24), segmentBytes);
  if (parsed === null) throw damaged(`is no name of a segment of ${segmentBytes} bytes`);
  const { system_identifier: systemIdentifier } = claim;
  const expected = { segmentBytes, systemIdentifier, way: null };
  const message = compareHeader({ name, ...parsed }, header, expected);
  if (message !== null) throw damaged(message);
  if (header.timeline === 0) throw damaged('is of timeline 0');
  if (identity.bytes !== BigInt(segmentBytes)) {
    throw damaged(`has ${identity.bytes} bytes instead of ${segmentBytes}`);
  }
}

/** The SHA-256 of a file, in one buffer. The handle stays where it stands. */
async function digestOf({ handle, signal }: Source): Promise<string> {
  const buffer = Buffer.allocUnsafeSlow(pieceBytes);
  const hash = createHash('sha256');
  for (let position = 0; ; ) {
    signal.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, pieceBytes, position);
    if (bytesRead === 0) return hash.digest('hex');
    hash.update(buffer.subarray(0, bytesRead));
    position += bytesRead;
  }
}

/** @throws HoldfastError ARCHIVING_FAILED when it is not what it was before it was read */
async function requireUnchanged({ handle, identity, request }: Source): Promise<void> {
  const opened = fileIdentity(await handle.stat({ bigint: true }));
  const named = await stat(request.path, { bigint: true }).then(fileIdentity, () => null);
  if (named !== null && isSameFile(opened, identity) && isSameFile(named, identity)) return;
  throw new HoldfastError('ARCHIVING_FAILED', `${request.name} changed while it was read`);
}

/** Stores a segment. @returns the digests of its bytes; `null` when the name is taken */
async function storeSegment(source: Source): Promise<WalDigests | null> {
  const { context, request, key, handle, identity, signal, encryption } = source;
  const digest = digestOf(source);
  // Whoever awaits it hears of its failure.
  digest.catch(() => undefined);
  const stored = encryption === null ? null : createHash('sha256');
  try {
    const body = compressSegment({
      context,
      input: handle,
      bytes: identity.bytes,
      encryption,
      stored,
      signal,
      beforeEnd: async () => {
        await digest;
        await requireUnchanged(source);
        await requireClaim(request);
      },
    });
    await request.archive.storage.put(key, Readable.from(body, { objectMode: false }));
    return { plain: await digest, stored: stored?.digest('hex') ?? null };
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'STORE_EXISTS') return null;
    throw error;
  } finally {
    await digest.catch(() => undefined);
  }
}

/** The same for a history or backup file. */
async function storeDocument(source: Source): Promise<WalDigests | null> {
  const { handle, request, key, identity } = source;
  if (identity.bytes > documentBytesMax) {
    throw new HoldfastError('DAMAGED', `${request.name} has ${identity.bytes} bytes`);
  }
  const bytes = await handle.readFile();
  await requireUnchanged(source);
  await requireClaim(request);
  try {
    await request.archive.storage.put(key, bytes);
    return { plain: sha256Of(bytes), stored: null };
  } catch (error) {
    if (error instanceof HoldfastError && error.code === 'STORE_EXISTS') return null;
    throw error;
  }
}

function storedDamaged(name: string, found: StoredObject, why: string, cause?: unknown) {
  return new HoldfastError('DAMAGED', `the archive holds ${name} damaged: ${why}`, {
    hint: `Move ${found.key} away, and it is archived again.`,
    cause,
  });
}

/** The SHA-256 of all pieces. */
async function sha256OfAll(pieces: AsyncIterable<Buffer>): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of pieces) hash.update(piece);
  return hash.digest('hex');
}

/**
 * The digest of the plain bytes that the archive holds under a name. What is encrypted nobody here
 * can read: its digests tell.
 */
async function digestOfStored({ archive, name }: WalPutRequest, found: StoredObject) {
  const isEncrypted = isSegmentFile(name) && storedSuffix(found) !== segmentSuffix;
  try {
    if (!isEncrypted) return await sha256OfAll(await archive.read(name));
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== 'DAMAGED') throw error;
    throw storedDamaged(name, found, error.message, error);
  }
  const digests = await archive.digests(name);
  const stored = await sha256OfAll(await archive.storage.get(found.key));
  if (digests?.stored === stored) return digests.plain;
  throw storedDamaged(name, found, 'its stored bytes differ from their digest');
}

/** @returns the digest @throws HoldfastError STORE_EXISTS when other bytes lie under the name */
async function requireSameContent(source: Source, found: StoredObject): Promise<string> {
  const { request } = source;
  const [own, stored] = [await digestOf(source), await digestOfStored(request, found)];
  await requireUnchanged(source);
  if (own === stored) return own;
  throw new HoldfastError(
    'STORE_EXISTS',
    `the archive holds other bytes under the name ${request.name}; nothing was overwritten`,
    { hint: 'Two servers write into it, or a file was changed: find out which one is right.' },
  );
}

/**
 * Whether somebody has written, or writes just now, the digests of an encrypted segment. Without
 * them nobody knows what it is: it was left by a run that was killed before anybody was told that
 * it is safe, and goes.
 */
async function isAcknowledged({ request, signal }: Source, found: StoredObject): Promise<boolean> {
  const { archive, name } = request;
  if (!isSegmentFile(name) || storedSuffix(found) === segmentSuffix) return true;
  for (let poll = 0; poll < digestPolls; poll += 1) {
    if ((await archive.digests(name)) !== null) return true;
    await sleep(digestPollMs, undefined, { signal });
  }
  await archive.storage.remove(found.key);
  return false;
}

/**
 * Keeps the digest beside its file, where a killed run has left none.
 *
 * @param isNew the file was stored just now: a digest of something else belongs to nothing
 */
async function keepDigest(
  { request, key: stored }: Source,
  digests: WalDigests,
  isNew: boolean,
): Promise<void> {
  const { archive, name } = request;
  const key = `${archive.folder}/${pathBeside(name, digestSuffix)}`;
  const storedName = stored.slice(stored.lastIndexOf('/') + 1);
  const line = Buffer.from(formatDigests(name, storedName, digests), 'utf8');
  const kept = await archive.digests(name).catch((error: unknown) => {
    if (isNew && error instanceof HoldfastError && error.code === 'DAMAGED')
      return 'damaged' as const;
    throw error;
  });
  const isSame = kept !== null && kept !== 'damaged' && kept.plain === digests.plain;
  // Encrypted again, the same bytes are stored as others.
  if (isSame && (!isNew || kept.stored === digests.stored)) return;
  if (kept !== null) {
    if (!isNew) throw new HoldfastError('DAMAGED', `${name} is not what its digest says`);
    await archive.storage.remove(key);
  }
  try {
    await archive.storage.put(key, line);
  } catch (error) {
    // Another one has stored the same content and kept the digest meanwhile.
    if (error instanceof HoldfastError && error.code === 'STORE_EXISTS') return;
    throw error;
  }
}

async function putSource(source: Source): Promise<WalPut> {
  const { request, identity } = source;
  const { archive, name } = request;
  const isSegment = isSegmentFile(name);
  if (isSegment) await requireHeader(source);
  const store = isSegment ? storeSegment : storeDocument;
  for (;;) {
    const found = await archive.stat(name);
    if (found !== null && (await isAcknowledged(source, found))) {
      const plain = await requireSameContent(source, found);
      if (storedSuffix(found) === null || storedSuffix(found) === segmentSuffix) {
        await keepDigest(source, { plain, stored: null }, false);
      }
      return { outcome: 'already', identity, sha256: plain };
    }
    const stored = await store(source);
    if (stored === null) continue;
    await keepDigest(source, stored, true);
    return { outcome: 'stored', identity, sha256: stored.plain };
  }
}

/**
 * Puts a file into the archive. When it resolves, the file and its digest are durable there.
 *
 * Whether this process stands where the claim says (host, data directory) is for the caller.
 *
 * @throws HoldfastError ARCHIVE_CLAIMED; DAMAGED when it is no segment of that name and server, or
 *   the archive holds it damaged; STORE_EXISTS when the archive holds other content under its name;
 *   ARCHIVING_FAILED when it is gone or changes meanwhile; NO_SPACE and what else the store throws
 */
export async function putWalFile(context: Context, request: WalPutRequest): Promise<WalPut> {
  const { archive, name, path, signal = context.signal } = request;
  if (archivedPath(name) === null) {
    throw new HoldfastError('USAGE', `${JSON.stringify(name)} is no name of a file of the WAL`);
  }
  signal.throwIfAborted();
  await requireClaim(request);
  const encryption = isSegmentFile(name) ? await walEncryption(context) : null;
  const key = `${archive.folder}/${archivedPath(name, encryption?.suffix)}`;
  const handle = await open(path, 'r').catch((cause: unknown) => {
    const { message } = toHoldfastError(cause, `reading ${printable(path)}`);
    throw new HoldfastError('ARCHIVING_FAILED', message, { cause });
  });
  try {
    const identity = fileIdentity(await handle.stat({ bigint: true }));
    return await putSource({ context, request, handle, signal, identity, key, encryption });
  } finally {
    await handle.close();
  }
}
