/** Looks at one object without reading it. */

import {
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
} from '@aws-sdk/client-s3';
import type { S3Connection } from './s3_connection.ts';
import type { S3Doing } from './s3_errors.ts';
import { isMissing, readFailure } from './s3_failure.ts';

/** The answer to a HEAD has no words: a GET of the same is answered with some. */
async function inWords(connection: S3Connection, key: string, error: unknown): Promise<unknown> {
  const { status } = readFailure(error);
  if (status === null || status >= 500) return error;
  const place = { Bucket: connection.options.bucket, Key: connection.keyOf(key) };
  try {
    await connection.trySend(async (client) => {
      const { Body } = await client.send(new GetObjectCommand({ ...place, Range: 'bytes=0-0' }));
      await Body?.transformToByteArray();
    });
    return error;
  } catch (told) {
    return isMissing(readFailure(told)) ? error : told;
  }
}

/**
 * What HEAD tells of a key; `null`: nothing is there, or the bucket is not, which S3 does not tell.
 *
 * @throws HoldfastError STORE_REFUSED, STORE_UNREACHABLE
 */
export async function headObject(
  connection: S3Connection,
  key: string,
): Promise<HeadObjectCommandOutput | null> {
  const place = { Bucket: connection.options.bucket, Key: connection.keyOf(key) };
  try {
    return await connection.trySend((client) => client.send(new HeadObjectCommand(place)));
  } catch (error) {
    if (isMissing(readFailure(error))) return null;
    const doing: S3Doing = { verb: 'reading', key, permission: 's3:GetObject' };
    throw connection.error(await inWords(connection, key, error), doing);
  }
}
