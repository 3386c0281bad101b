/** Uploads in parts that were begun in a bucket and neither finished nor aborted. */

import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
} from '@aws-sdk/client-s3';
import type { S3Connection } from './s3_connection.ts';
import type { S3Doing } from './s3_errors.ts';
import { isMissing, readFailure } from './s3_failure.ts';
import { bucketFolder } from './s3_keys.ts';

/** One of them. */
export interface BegunUpload {
  /** The key that the object would have. */
  readonly key: string;
  readonly uploadId: string;
  readonly begunAt: Date;
}

/** What has arrived of one. */
export interface ArrivedParts {
  readonly bytes: number;
  /** When the last part has arrived; when it was begun, as long as none has. */
  readonly modifiedAt: Date;
}

/** It was finished or aborted since it was listed. */
function isGone(error: unknown): boolean {
  const failure = readFailure(error);
  return failure.code === 'NoSuchUpload' || isMissing(failure);
}

/** All uploads of objects below a folder. */
export async function begunUploads(
  connection: S3Connection,
  folder: string,
): Promise<BegunUpload[]> {
  const { bucket, prefix } = connection.options;
  const permission = 's3:ListBucketMultipartUploads';
  const doing: S3Doing = { verb: 'listing', key: folder, permission };
  const before = bucketFolder(prefix, '').length;
  const decode = (text: string | undefined) =>
    decodeURIComponent((text ?? '').replaceAll('+', ' '));
  const found: BegunUpload[] = [];
  for (let marker: { KeyMarker?: string; UploadIdMarker?: string } = {}; ; ) {
    const answer = await connection.send(doing, (client) =>
      client.send(
        new ListMultipartUploadsCommand({
          Bucket: bucket,
          Prefix: bucketFolder(prefix, folder),
          EncodingType: 'url',
          ...marker,
        }),
      ),
    );
    for (const { Key, UploadId, Initiated } of answer.Uploads ?? []) {
      const key = decode(Key).slice(before);
      found.push({ key, uploadId: UploadId ?? '', begunAt: Initiated ?? new Date(0) });
    }
    const { NextKeyMarker, NextUploadIdMarker } = answer;
    if (answer.IsTruncated !== true || NextKeyMarker === undefined) return found;
    marker = {
      KeyMarker: decode(NextKeyMarker),
      ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }),
    };
  }
}

/** What has arrived of an upload; nothing when it is gone. */
export async function arrivedParts(
  connection: S3Connection,
  { key, uploadId, begunAt }: BegunUpload,
): Promise<ArrivedParts> {
  const permission = 's3:ListMultipartUploadParts';
  const doing: S3Doing = { verb: 'listing', key, permission };
  const place = {
    Bucket: connection.options.bucket,
    Key: connection.keyOf(key),
    UploadId: uploadId,
  };
  let [bytes, modifiedAt] = [0, begunAt];
  for (let after: string | undefined; ; ) {
    const from = after === undefined ? {} : { PartNumberMarker: after };
    const answer = await connection
      .trySend((client) => client.send(new ListPartsCommand({ ...place, ...from })))
      .catch((error: unknown) => {
        if (isGone(error)) return null;
        throw connection.error(error, doing);
      });
    for (const { Size, LastModified } of answer?.Parts ?? []) {
      bytes += Size ?? 0;
      if (LastModified !== undefined && LastModified > modifiedAt) modifiedAt = LastModified;
    }
    after = answer?.NextPartNumberMarker;
    if (answer?.IsTruncated !== true || after === undefined) return { bytes, modifiedAt };
  }
}

/** Removes what has arrived of an upload; it is no error when it is gone. */
export async function abortUpload(
  connection: S3Connection,
  { key, uploadId }: Pick<BegunUpload, 'key' | 'uploadId'>,
): Promise<void> {
  const permission = 's3:AbortMultipartUpload';
  const doing: S3Doing = { verb: 'removing', key, permission };
  const place = { Bucket: connection.options.bucket, Key: connection.keyOf(key) };
  await connection
    .trySend((client) =>
      client.send(new AbortMultipartUploadCommand({ ...place, UploadId: uploadId })),
    )
    .catch((error: unknown) => {
      if (!isGone(error)) throw connection.error(error, doing);
    });
}
