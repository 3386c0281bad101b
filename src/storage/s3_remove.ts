/** Takes objects and folders out of a bucket. */

import { DeleteObjectCommand } from '@aws-sdk/client-s3';
import { HoldfastError } from '../core/errors.ts';
import { joinKey } from './key.ts';
import type { S3Bucket } from './s3_bucket.ts';
import type { S3Doing } from './s3_errors.ts';
import { indexEntryOf, markOf, parseUploadKey } from './s3_keys.ts';
import { newOwner } from './s3_marks.ts';
import { abortUpload, begunUploads } from './s3_uploads.ts';

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
  await marks.take(folder, newOwner());
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
  await marks.take(key, newOwner());
  listing.note(key, false);
  if (await listing.isCommitted(key)) return;
  await removeAll(bucket, key);
  await marks.erase(key);
}
