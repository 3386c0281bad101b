/** Reads objects; a stream that breaks off goes on where it was. */

import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { GetObjectCommand, type GetObjectCommandOutput } from '@aws-sdk/client-s3';
import { HoldfastError } from '../core/errors.ts';
import { delayAfterMs } from './retry.ts';
import type { S3Connection } from './s3_connection.ts';
import type { S3Doing } from './s3_errors.ts';
import { isConditionFailed, isMissing, readFailure } from './s3_failure.ts';
import type { ByteRange } from './storage.ts';
import { notFoundError } from './store_errors.ts';

/** How often in a row a stream may break without having brought a byte. */
const breaksMax = 8;

function doingOf(key: string): S3Doing {
  return { verb: 'reading', key, permission: 's3:GetObject' };
}

/** Bytes of the object from `start` up to `end` (not included; `null`: to its end). */
interface Span {
  readonly start: number;
  readonly end: number | null;
}

function headerOf({ start, end }: Span): { Range?: string } {
  if (start === 0 && end === null) return {};
  return { Range: `bytes=${start}-${end === null ? '' : end - 1}` };
}

function request(connection: S3Connection, key: string, span: Span, etag?: string) {
  const place = { Bucket: connection.options.bucket, Key: connection.keyOf(key) };
  const same = etag === undefined ? {} : { IfMatch: etag };
  return connection.trySend((client) =>
    client.send(new GetObjectCommand({ ...place, ...headerOf(span), ...same })),
  );
}

/** The SDK's body: on Node a stream. */
function bodyOf(answer: GetObjectCommandOutput): Readable {
  return answer.Body instanceof Readable ? answer.Body : Readable.from([]);
}

/** One object that is being read. */
class Reading {
  readonly #connection: S3Connection;
  readonly #key: string;
  readonly #etag: string | undefined;
  readonly #end: number;
  #position: number;
  #body: Readable;
  #breaks = 0;

  constructor(
    connection: S3Connection,
    key: string,
    start: number,
    answer: GetObjectCommandOutput,
  ) {
    this.#connection = connection;
    this.#key = key;
    this.#etag = answer.ETag;
    this.#position = start;
    this.#end = start + (answer.ContentLength ?? 0);
    this.#body = bodyOf(answer);
  }

  /** Asks for the rest after a break. @throws HoldfastError when that is hopeless */
  async #goOn(broken: unknown): Promise<void> {
    this.#breaks += 1;
    const { code } = readFailure(broken);
    const doing = doingOf(this.#key);
    if (this.#breaks > breaksMax) throw this.#connection.error(broken, doing);
    if (this.#breaks > 1) await sleep(delayAfterMs(this.#breaks, Math.random()));
    const span = { start: this.#position, end: this.#end };
    try {
      this.#body = bodyOf(await request(this.#connection, this.#key, span, this.#etag));
    } catch (error) {
      if (!isConditionFailed(readFailure(error))) throw this.#connection.error(error, doing);
      const where = `${this.#key} in ${this.#connection.description}`;
      throw new HoldfastError(
        'STORE_REFUSED',
        `${where} was replaced while it was read (${code})`,
        {
          hint: 'Find out who writes into the bucket: no object of ours ever changes.',
          cause: error,
        },
      );
    }
  }

  async *chunks(): AsyncGenerator<Buffer> {
    try {
      while (this.#position < this.#end) {
        try {
          for await (const chunk of this.#body as AsyncIterable<Buffer>) {
            this.#breaks = 0;
            this.#position += chunk.length;
            await this.#connection.receiving.pass(chunk.length);
            yield chunk;
          }
          if (this.#position < this.#end) await this.#goOn(new Error('the answer was cut off'));
        } catch (error) {
          if (error instanceof HoldfastError) throw error;
          await this.#goOn(error);
        }
      }
    } finally {
      this.#body.destroy();
    }
  }
}

/**
 * Opens an object for reading.
 *
 * @throws HoldfastError BACKUP_NOT_FOUND, STORE_REFUSED, STORE_UNREACHABLE; so does the stream
 */
export async function readObject(
  connection: S3Connection,
  key: string,
  { start, bytes }: ByteRange,
): Promise<Readable> {
  const span = { start, end: bytes === undefined ? null : start + bytes };
  try {
    const answer = await request(connection, key, span);
    const reading = new Reading(connection, key, start, answer);
    return Readable.from(reading.chunks(), { objectMode: false, highWaterMark: 256 * 1024 });
  } catch (error) {
    const failure = readFailure(error);
    // Nothing of the range is in the object.
    if (failure.status === 416) return Readable.from([]);
    if (isMissing(failure)) throw notFoundError(key, connection.description, error);
    throw connection.error(error, doingOf(key));
  }
}
