/** Writes an object once: the condition where a server has it, checksums, a look at the result. */

import { createHash, randomUUID } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { DeleteObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { HoldfastError } from '../core/errors.ts';
import { attributesOf, type S3Attributes, writeIdName } from './s3_attributes.ts';
import type { S3Connection } from './s3_connection.ts';
import type { S3Doing } from './s3_errors.ts';
import { isConditionFailed, isNotImplemented, readFailure } from './s3_failure.ts';
import { headObject } from './s3_head.ts';
import { identityOf } from './s3_keys.ts';
import type { FolderFacts, StoredObject } from './storage.ts';
import { existsError } from './store_errors.ts';

export interface WriteOptions {
  readonly connection: S3Connection;
  /** The key of the port. */
  readonly key: string;
  readonly facts: FolderFacts | null;
}

/** One object that is being written. */
export interface Upload extends WriteOptions {
  readonly writeId: string;
  readonly doing: S3Doing;
  readonly place: { readonly Bucket: string; readonly Key: string };
}

/** Begins to write an object; nothing is sent yet. */
export function beginUpload(options: WriteOptions): Upload {
  const { connection, key } = options;
  return {
    ...options,
    writeId: randomUUID(),
    doing: { verb: 'writing', key, permission: 's3:PutObject' },
    place: { Bucket: connection.options.bucket, Key: connection.keyOf(key) },
  };
}

/** What is told of the object besides its bytes. @param bytes `null`: more than one part */
export function attributes(
  { connection, facts, writeId }: Upload,
  bytes: number | null,
): S3Attributes {
  const now = new Date();
  return attributesOf({ options: connection.options, facts, bytes, writeId, now });
}

/** CRC32 as S3 writes it: four bytes in base64. */
export function checksumOf(bytes: Uint8Array): string {
  const sum = Buffer.allocUnsafe(4);
  sum.writeUInt32BE(crc32(bytes));
  return sum.toString('base64');
}

/**
 * Does something with checksums as long as the server takes them: one that answers 501 gets none
 * any more.
 */
export async function withChecksums<T>(
  { connection }: Upload,
  work: (areSent: boolean) => Promise<T>,
): Promise<T> {
  const { abilities } = connection;
  try {
    return await work(abilities.checksums);
  } catch (error) {
    if (!abilities.checksums || !isNotImplemented(readFailure(error))) throw error;
    const answer = await work(false);
    abilities.checksums = false;
    return answer;
  }
}

/** The same for the condition that nothing of that key is there. */
export async function withCondition<T>(
  { connection }: Upload,
  work: (condition: { IfNoneMatch?: string }) => Promise<T>,
): Promise<T> {
  const { abilities } = connection;
  if (abilities.conditions === 'refused') return work({});
  try {
    return await work({ IfNoneMatch: '*' });
  } catch (error) {
    const failure = readFailure(error);
    if (isConditionFailed(failure)) abilities.conditions = 'honoured';
    if (!isNotImplemented(failure)) throw error;
    const answer = await work({});
    abilities.conditions = 'refused';
    return answer;
  }
}

/** Where the server does not keep us from overwriting, we look first. */
export async function refuseExisting(upload: Upload): Promise<void> {
  const { connection, key } = upload;
  if (connection.abilities.conditions === 'honoured') return;
  if ((await headObject(connection, key)) !== null) throw existsError(key, connection.description);
}

/** Looks at what was written: it is ours, and as long as what was sent. */
export async function written(upload: Upload, bytes: number): Promise<StoredObject> {
  const { connection, key, writeId } = upload;
  const found = await headObject(connection, key);
  const where = `${key} in ${connection.description}`;
  if (found === null) {
    throw new HoldfastError('STORE_REFUSED', `${where} was written, and is not there`, {
      hint: 'Check that nothing removes objects from this bucket, and that it is consistent.',
    });
  }
  const writer = found.Metadata?.[writeIdName];
  if (writer !== undefined && writer !== writeId) throw existsError(key, connection.description);
  if (found.ContentLength !== bytes) {
    const text = `${where} has ${found.ContentLength} bytes; ${bytes} were sent`;
    await connection
      .trySend((client) => client.send(new DeleteObjectCommand(upload.place)))
      .catch(() => undefined);
    throw new HoldfastError('DAMAGED', text, { hint: 'Run it again; then look at the server.' });
  }
  const modifiedAt = found.LastModified ?? new Date(0);
  return { key, bytes, modifiedAt, identity: identityOf(found.ETag, bytes, modifiedAt) };
}

/**
 * A failure of the last request of an upload. Its answer may have been lost: what was refused or
 * is gone when it was sent again may be there, from us.
 */
export async function settle(upload: Upload, error: unknown, bytes: number): Promise<StoredObject> {
  const { connection, key, doing } = upload;
  const failure = readFailure(error);
  const maybeOurs = isConditionFailed(failure) || failure.code === 'NoSuchUpload';
  if (!maybeOurs) throw connection.error(error, doing);
  const found = await headObject(connection, key);
  if (found?.Metadata?.[writeIdName] === upload.writeId) return written(upload, bytes);
  if (isConditionFailed(failure)) throw existsError(key, connection.description, error);
  throw connection.error(error, doing);
}

/** What a server can hold the bytes against; with a lock it wants to, on pain of refusal. */
function sumsOf({ connection }: Upload, bytes: Uint8Array, isSummed: boolean) {
  if (isSummed) return { ChecksumAlgorithm: 'CRC32', ChecksumCRC32: checksumOf(bytes) } as const;
  if (connection.options.objectLock === null) return {};
  return { ContentMD5: createHash('md5').update(bytes).digest('base64') };
}

/** Writes bytes that are all there, in one request. */
export async function putWhole(upload: Upload, bytes: Uint8Array): Promise<StoredObject> {
  const { connection, place } = upload;
  await refuseExisting(upload);
  const about = attributes(upload, bytes.length);
  const send = (condition: { IfNoneMatch?: string }, isSummed: boolean) =>
    connection.trySend((client) =>
      client.send(
        new PutObjectCommand({
          ...place,
          ...about,
          ...condition,
          Body: bytes,
          ContentLength: bytes.length,
          ...sumsOf(upload, bytes, isSummed),
        }),
      ),
    );
  try {
    await withChecksums(upload, (isSummed) =>
      withCondition(upload, (condition) => send(condition, isSummed)),
    );
  } catch (error) {
    return settle(upload, error, bytes.length);
  }
  return written(upload, bytes.length);
}
