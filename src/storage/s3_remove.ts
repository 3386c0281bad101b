/** Takes objects and folders out of a bucket. */

import { randomUUID } from 'node:crypto';
import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { HoldfastError } from '../core/errors.ts';
import { joinKey } from './key.ts';
import type { S3Connection } from './s3_connection.ts';
import type { S3Doing } from './s3_errors.ts';
import { indexEntryOf, markOf, parentOf, parseUploadKey, uploadKey } from './s3_keys.ts';
import type { S3Listing } from './s3_list.ts';
import type { S3Marks } from './s3_marks.ts';
import { abortUpload, arrivedParts, begunUploads } from './s3_uploads.ts';
import type { UnfinishedFolder, UnfinishedObject } from './storage.ts';

/** What it takes to work on a bucket. */
export interface S3Bucket {
  readonly connection: S3Connection;
  readonly listing: S3Listing;
  readonly marks: S3Marks;
}

/** Until a legal hold is lifted, which nobody knows. */
const forEver = new Date('9999-12-31T23:59:59Z');

/** Until when the store itself keeps an object; `null`: nothing holds it, or it is not there. */
export async function retainedUntil({ listing }: S3Bucket, key: string): Promise<Date | null> {
  const found = await listing.head(key);
  if (found?.ObjectLockLegalHoldStatus === 'ON') return forEver;
  const until = found?.ObjectLockRetainUntilDate ?? null;
  return until !== null && until.getTime() > Date.now() ? until : null;
}

/**
 * Removes one object; it is no error when it is not there. In a bucket with versions the bytes
 * stay as an old version until its lifecycle rule removes them.
 */
export async function removeObject({ connection }: S3Bucket, key: string): Promise<void> {
  const doing: S3Doing = { verb: 'removing', key, permission: 's3:DeleteObject' };
  const place = { Bucket: connection.options.bucket, Key: connection.keyOf(key) };
  await connection.send(doing, (client) => client.send(new DeleteObjectCommand(place)));
}

async function removeAll(bucket: S3Bucket, folder: string): Promise<void> {
  for (const upload of await begunUploads(bucket.connection, folder)) {
    await abortUpload(bucket.connection, upload);
  }
  for await (const { objects } of bucket.listing.pages(folder, 'tree')) {
    await Promise.all(objects.map(({ key }) => removeObject(bucket, key)));
  }
}

/** {@link Storage.removeFolder}: a mark hides what a crash would leave. */
export async function removeFolder(
  bucket: S3Bucket,
  folder: string,
  commitName: string,
): Promise<void> {
  const { connection, listing, marks } = bucket;
  const commit = joinKey(folder, commitName);
  const until = await retainedUntil(bucket, commit);
  if (until !== null) {
    const date = until.toISOString();
    throw new HoldfastError(
      'STORE_REFUSED',
      `${folder} in ${connection.description} is locked, and retained until ${date}`,
      { hint: 'It goes with a later prune.', details: { retained_until: date } },
    );
  }
  if ((await listing.head(commit)) === null && (await isBegun(bucket, folder))) return;
  const page = await listing.pages(folder, 'tree').next();
  if (page.value === undefined || page.value.objects.length === 0) return;
  await marks.take(folder, randomUUID());
  listing.note(folder, false);
  try {
    await removeObject(bucket, commit);
  } catch (error) {
    await marks.erase(folder).catch(() => undefined);
    throw error;
  }
  await removeAll(bucket, folder);
  await marks.erase(folder);
}

/** Whether there is a mark of the folder, committed or not. */
async function isBegun({ listing }: S3Bucket, folder: string): Promise<boolean> {
  const mark = await listing.head(markOf(folder));
  return mark !== null && (mark.ContentLength ?? 0) > 0;
}

/** When something last changed in a folder that was begun. */
async function lastChange({ connection, listing }: S3Bucket, folder: string, begunAt: Date) {
  let last = begunAt;
  for await (const { objects } of listing.pages(folder, 'tree')) {
    for (const { modifiedAt } of objects) if (modifiedAt > last) last = modifiedAt;
  }
  for (const upload of await begunUploads(connection, folder)) {
    const { modifiedAt } = await arrivedParts(connection, upload);
    if (modifiedAt > last) last = modifiedAt;
  }
  return last;
}

/** {@link Storage.unfinishedFolders}, from the index of those that were begun. */
export async function unfinishedFolders(
  bucket: S3Bucket,
  folder: string,
): Promise<UnfinishedFolder[]> {
  const { listing } = bucket;
  const index = indexEntryOf('');
  const found: UnfinishedFolder[] = [];
  const below = folder === '' ? index.slice(0, -1) : indexEntryOf(folder);
  for await (const { objects } of listing.pages(below, 'tree')) {
    for (const { key, bytes, modifiedAt } of objects) {
      const begun = key.slice(index.length);
      if (bytes === 0 || (await listing.isCommitted(begun))) continue;
      found.push({ folder: begun, modifiedAt: await lastChange(bucket, begun, modifiedAt) });
    }
  }
  return found;
}

/** {@link Storage.unfinishedObjects}: uploads in parts, each under a key of its own. */
export async function unfinishedObjects(
  { connection, listing }: S3Bucket,
  folder: string,
): Promise<UnfinishedObject[]> {
  const found: UnfinishedObject[] = [];
  for (const upload of await begunUploads(connection, folder)) {
    const { key, uploadId } = upload;
    if (await listing.isUnfinished(parentOf(key))) continue;
    const arrived = await arrivedParts(connection, upload);
    found.push({ key: uploadKey(key, uploadId), ...arrived });
  }
  return found;
}

/** {@link Storage.removeUnfinished}. */
export async function removeUnfinished(bucket: S3Bucket, key: string): Promise<void> {
  const { connection, listing, marks } = bucket;
  const upload = parseUploadKey(key);
  if (upload !== null) return abortUpload(connection, upload);
  const [entry, hasMark] = [await listing.head(indexEntryOf(key)), await isBegun(bucket, key)];
  if (!hasMark && (entry?.ContentLength ?? 0) === 0) return;
  if (await listing.isCommitted(key)) return;
  // Whoever still writes into it sees before his commit that it is his no more; and what he
  // committed before this is seen here.
  await marks.take(key, randomUUID());
  listing.note(key, false);
  if (await listing.isCommitted(key)) return;
  await removeAll(bucket, key);
  await marks.erase(key);
}
