/** The way to a bucket: requests that are sent again, failures in words, what the server can do. */

import type { S3Client } from '@aws-sdk/client-s3';
import { Rate } from './rate.ts';
import { withRetries } from './retry.ts';
import { openClient } from './s3_client.ts';
import { type S3Doing, type S3Place, s3Error } from './s3_errors.ts';
import { judge, readFailure } from './s3_failure.ts';
import { bucketKey } from './s3_keys.ts';
import type { S3Options } from './s3_options.ts';

/** What is found out about a server while it is used. */
export interface S3Abilities {
  /**
   * `If-None-Match: *` of a PUT: whether a key that exists is refused. `unknown` until it was seen
   * to work, or not to; `refused`: the server answers 501, and it is not sent any more.
   */
  conditions: 'unknown' | 'honoured' | 'ignored' | 'refused';
  /** Whether checksums (CRC32) are taken; no server is asked twice. */
  checksums: boolean;
}

/** How many requests wait for their answers at once; more wait for their turn. */
const requestsMax = 32;

/** A bucket, and all that is shared by those who work on it. */
export class S3Connection {
  readonly options: S3Options;
  readonly description: string;
  readonly abilities: S3Abilities;
  /** What may be received. */
  readonly receiving: Rate;
  readonly #sending: Rate;
  #opening: ReturnType<typeof openClient> | null = null;
  #region: string;
  #hasAnswered = false;
  #clockAheadMs: number | null = null;
  #underWay = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: S3Options) {
    this.options = options;
    const { bucket, prefix, endpoint, maxBytesPerSecond } = options;
    const at = endpoint === null ? '' : ` at ${endpoint}`;
    this.description = `bucket s3://${prefix === '' ? bucket : `${bucket}/${prefix}`}${at}`;
    this.#region = options.region ?? 'the region';
    // Amazon S3 has both (since 2024); of others it is found out.
    this.abilities = { conditions: this.isAmazon ? 'honoured' : 'unknown', checksums: true };
    this.receiving = new Rate(maxBytesPerSecond);
    this.#sending = new Rate(maxBytesPerSecond);
  }

  /** Whether it is Amazon's own S3, of which more is known than of others. */
  get isAmazon(): boolean {
    return this.options.endpoint === null;
  }

  /** By how much our clock was ahead when the server answered last; `null`: not known. */
  get clockAheadMs(): number | null {
    return this.#clockAheadMs;
  }

  #onAnswer(date: string | undefined): void {
    this.#hasAnswered = true;
    const theirs = date === undefined ? Number.NaN : Date.parse(date);
    // The header has whole seconds, cut off.
    if (Number.isFinite(theirs)) this.#clockAheadMs = Date.now() - (theirs + 500);
  }

  async #client(): Promise<S3Client> {
    this.#opening ??= openClient(this.options, {
      sending: this.#sending,
      onAnswer: (date) => this.#onAnswer(date),
    }).catch((error: unknown) => {
      this.#opening = null;
      throw error;
    });
    const { client, region } = await this.#opening;
    this.#region = region;
    return client;
  }

  /** Waits for a turn, so that a thousand small objects do not open a thousand connections. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#underWay >= requestsMax) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else {
      this.#underWay += 1;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#underWay -= 1;
      else next();
    }
  }

  /** The key of an object in the bucket. */
  keyOf(key: string): string {
    return bucketKey(this.options.prefix, key);
  }

  /** The error of the port for what the SDK has thrown. */
  error(thrown: unknown, doing: S3Doing): Error {
    const place: S3Place = {
      description: this.description,
      bucket: this.options.bucket,
      objectKey: this.keyOf(doing.key),
      region: this.#region,
      endpoint: this.options.endpoint,
      clockAheadMs: this.#clockAheadMs,
    };
    return s3Error(thrown, doing, place);
  }

  /**
   * Sends a request until it is answered or that is hopeless.
   *
   * @param attempt sends it, with a body that can be sent again
   * @param signal breaks it off
   * @throws what the SDK throws; the signal's reason
   */
  async trySend<T>(
    attempt: (client: S3Client, signal: AbortSignal | undefined) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const client = await this.#client();
    return withRetries(() => this.#inTurn(() => attempt(client, signal)), {
      attemptsMax: this.options.attemptsMax,
      judge: (error, number) => {
        this.#noteFailure(error);
        return judge(error, number, this.#hasAnswered);
      },
      random: Math.random,
      signal,
    });
  }

  #noteFailure(error: unknown): void {
    const { status, headers } = readFailure(error);
    if (status !== null) this.#onAnswer(headers.date);
  }

  /** The same, with failures in the words of the port. */
  async send<T>(
    doing: S3Doing,
    attempt: (client: S3Client, signal: AbortSignal | undefined) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    try {
      return await this.trySend(attempt, signal);
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason;
      throw this.error(error, doing);
    }
  }

  /** Ends the connections that are kept open; it can be used again. */
  async close(): Promise<void> {
    const opened = await this.#opening?.catch(() => null);
    this.#opening = null;
    opened?.client.destroy();
  }
}
