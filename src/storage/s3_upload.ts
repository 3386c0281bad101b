/**
 * Writes one object of any length: in one request when it is small, else in parts, several of them
 * on their way at once. Every request can be sent again: its bytes are kept until it was answered.
 */

import type { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
} from '@aws-sdk/client-s3';
import { HoldfastError, toHoldfastError } from '../core/errors.ts';
import { objectBytesMax, partBytes, partsMax } from '../core/part_sizes.ts';
import { formatBytes } from '../core/units.ts';
import { BodyFailure, endBody } from './body.ts';
import { type PartBuffers, PartFiller } from './part_buffers.ts';
import { Flight } from './s3_flight.ts';
import {
  attributes,
  beginUpload,
  putWhole,
  refuseExisting,
  settle,
  type Upload,
  type WriteOptions,
  withChecksums,
  withCondition,
  written,
} from './s3_write.ts';
import type { StoredObject } from './storage.ts';

/** Bytes that are all there are sent in one request up to this. */
const wholeBytesMax = 64 * 1024 * 1024;

/** The chunks of a body; what it fails with is told from what the store fails with. */
async function* chunksOf(body: Readable | Uint8Array): AsyncGenerator<Uint8Array | string> {
  if (body instanceof Uint8Array) {
    yield body;
    return;
  }
  try {
    yield* body;
  } catch (error) {
    throw new BodyFailure(error);
  }
}

/** An upload in parts that the server knows of. */
interface Begun {
  readonly upload: Upload;
  readonly uploadId: string;
  readonly hasChecksums: boolean;
}

async function begin(upload: Upload): Promise<Begun> {
  const { connection, doing, place } = upload;
  await refuseExisting(upload);
  const create = (isSummed: boolean) =>
    connection.trySend(async (client) => {
      const sum = isSummed ? ({ ChecksumAlgorithm: 'CRC32' } as const) : {};
      const command = { ...place, ...attributes(upload, null), ...sum };
      const answer = await client.send(new CreateMultipartUploadCommand(command));
      return { uploadId: answer.UploadId ?? '', hasChecksums: isSummed };
    });
  try {
    return { upload, ...(await withChecksums(upload, create)) };
  } catch (error) {
    throw connection.error(error, doing);
  }
}

/** Makes the object of its parts. */
async function complete({ upload, uploadId }: Begun, flight: Flight): Promise<StoredObject> {
  const { connection, place } = upload;
  const parts = { ...place, UploadId: uploadId, MultipartUpload: { Parts: flight.parts } };
  try {
    await withCondition(upload, (condition) =>
      connection.trySend((client) =>
        client.send(new CompleteMultipartUploadCommand({ ...parts, ...condition })),
      ),
    );
  } catch (error) {
    return settle(upload, error, flight.bytes);
  }
  return written(upload, flight.bytes);
}

/** Takes back what the server has; what cannot be taken back is found by the next prune. */
async function abort({ upload, uploadId }: Begun): Promise<void> {
  const { connection, place } = upload;
  await connection
    .trySend((client) =>
      client.send(new AbortMultipartUploadCommand({ ...place, UploadId: uploadId })),
    )
    .catch(() => undefined);
}

function sizeOf({ connection }: Upload, number: number): number {
  const { partBytesMin, hasEqualParts } = connection.options;
  return partBytes(number, partBytesMin, hasEqualParts);
}

function tooLarge({ connection, key }: Upload): HoldfastError {
  const { partBytesMin, hasEqualParts } = connection.options;
  const most = formatBytes(objectBytesMax(partBytesMin, hasEqualParts));
  const text = `${key} is larger than ${connection.description} can take: ${most}`;
  return new HoldfastError('STORE_REFUSED', text, { hint: 'Set S3_PART_MB to more.' });
}

/** The first part, which has been read already. */
interface FirstPart {
  readonly buffer: Buffer;
  readonly filled: number;
}

async function putInParts(
  upload: Upload,
  buffers: PartBuffers,
  filler: PartFiller,
  first: FirstPart,
): Promise<StoredObject> {
  const begun = await begin(upload);
  const flight = new Flight(upload, begun.uploadId, begun.hasChecksums);
  try {
    let part = first;
    for (let number = 1; ; number += 1) {
      const { buffer, filled } = part;
      const done = () => buffers.give(buffer);
      await flight.launch(number, buffer.subarray(0, filled), buffer.length, done);
      if (filler.isDone) break;
      if (number === partsMax) throw tooLarge(upload);
      const next = buffers.take(sizeOf(upload, number + 1));
      part = { buffer: next, filled: await flight.unlessFailed(filler.fill(next)) };
    }
    await flight.land();
    return await complete(begun, flight);
  } catch (error) {
    await flight.crash(error);
    await abort(begun);
    throw error;
  }
}

async function putStream(
  upload: Upload,
  buffers: PartBuffers,
  body: Readable | Uint8Array,
): Promise<StoredObject> {
  const filler = new PartFiller(chunksOf(body));
  const buffer = buffers.take(sizeOf(upload, 1));
  const filled = await filler.fill(buffer);
  if (!filler.isDone) return putInParts(upload, buffers, filler, { buffer, filled });
  try {
    return await putWhole(upload, buffer.subarray(0, filled));
  } finally {
    buffers.give(buffer);
  }
}

/**
 * Writes an object that must not exist yet. When the body or the store fails nothing stays: an
 * upload in parts is aborted on the server too.
 *
 * @param body is consumed, or ended
 * @throws HoldfastError STORE_EXISTS, STORE_REFUSED, STORE_UNREACHABLE, DAMAGED; the body's own
 */
export async function uploadObject(
  options: WriteOptions,
  buffers: PartBuffers,
  body: Readable | Uint8Array,
): Promise<StoredObject> {
  const upload = beginUpload(options);
  try {
    const isShort = body instanceof Uint8Array && body.length <= wholeBytesMax;
    return isShort ? await putWhole(upload, body) : await putStream(upload, buffers, body);
  } catch (error) {
    endBody(body);
    if (!(error instanceof BodyFailure)) throw error;
    const where = `writing ${options.key} in ${options.connection.description}`;
    throw toHoldfastError(error.cause, where);
  }
}
