/** What was begun in a bucket and never finished. */

import type { S3Bucket } from './s3_bucket.ts';
import { indexEntryOf, parentOf, uploadKey } from './s3_keys.ts';
import { writerOf } from './s3_marks.ts';
import { arrivedParts, type BegunUpload, begunUploads } from './s3_uploads.ts';
import type { StoredObject, Survey, UnfinishedFolder, UnfinishedObject } from './storage.ts';

/**
 * A folder that was begun: who writes it, and its latest change, be it of its mark, its objects, or
 * parts of uploads.
 */
async function describe(
  { connection, marks }: S3Bucket,
  { folder, modifiedAt }: UnfinishedFolder,
  objects: readonly StoredObject[],
  uploads: readonly BegunUpload[],
): Promise<UnfinishedFolder> {
  const isInside = ({ key }: { readonly key: string }) => key.startsWith(`${folder}/`);
  const dates = [modifiedAt, ...objects.filter(isInside).map((object) => object.modifiedAt)];
  for (const upload of uploads.filter(isInside)) {
    dates.push((await arrivedParts(connection, upload)).modifiedAt);
  }
  const writer = writerOf((await marks.read(folder)) ?? '');
  const latest = new Date(Math.max(...dates.map((date) => date.getTime())));
  return { folder, modifiedAt: latest, ...(writer === null ? {} : { writer }) };
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
      const inside: StoredObject[] = [];
      for await (const page of listing.pages(begun, 'tree')) inside.push(...page.objects);
      const uploads = await begunUploads(bucket.connection, begun);
      found.push(await describe(bucket, { folder: begun, modifiedAt }, inside, uploads));
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

/** {@link Storage.survey}: one walk, and one look at the uploads where a folder was begun. */
export async function survey(bucket: S3Bucket, folder: string): Promise<Survey> {
  const objects: StoredObject[] = [];
  const hidden: StoredObject[] = [];
  const begun: UnfinishedFolder[] = [];
  for await (const page of bucket.listing.walk(folder)) {
    objects.push(...page.shown);
    hidden.push(...page.hidden);
    begun.push(...page.begun);
  }
  const uploads = begun.length === 0 ? [] : await begunUploads(bucket.connection, folder);
  const unfinished = begun.map((each) => describe(bucket, each, hidden, uploads));
  return { objects, unfinishedFolders: await Promise.all(unfinished) };
}
