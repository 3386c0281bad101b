/**
 * What it takes to open a bucket as a store. Plain values: open.ts makes them of the settings, and
 * whoever needs these types alone does not load the SDK.
 */

import type { Secret } from '../core/secret.ts';

/** A key that was given to us; without one the SDK's own chain of sources is asked. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  /** Of a temporary key. */
  readonly sessionToken: Secret | null;
}

/** How objects are locked against removal (S3 Object Lock). */
export interface S3ObjectLock {
  readonly mode: 'GOVERNANCE' | 'COMPLIANCE';
  /** For how many days after it was written. */
  readonly days: number;
}

/** A bucket as a store, and how it is spoken to. */
export interface S3Options {
  readonly bucket: string;
  /** What all keys begin with, without a slash at either end; `''`: nothing. */
  readonly prefix: string;
  /** `null`: that of the SDK's own configuration, else us-east-1. */
  readonly region: string | null;
  /** A URL; `null`: Amazon S3. */
  readonly endpoint: string | null;
  /** The bucket in the path of a URL, not in the host's name; `null`: with an endpoint only. */
  readonly pathStyle: boolean | null;
  /** A file of certificates in PEM; `null`: those of the operating system and of Node. */
  readonly caFile: string | null;
  readonly credentials: S3Credentials | null;
  /** A profile of the SDK's shared files; `null`: AWS_PROFILE, else `default`. */
  readonly profile: string | null;
  /** `null`: AES256 on Amazon S3, none elsewhere, where servers answer 400 to it. */
  readonly serverSideEncryption: 'none' | 'AES256' | 'aws:kms' | null;
  /** For `aws:kms`; `null`: the account's own key. */
  readonly kmsKeyId: string | null;
  /**
   * Of the large objects of backups. `null`: STANDARD_IA for weekly and monthly ones on Amazon S3,
   * else what the bucket does by itself.
   */
  readonly storageClass: string | null;
  /** Tags of the objects of backups, and `tier` beside them; `null`: none (a permission less). */
  readonly tags: Readonly<Record<string, string>> | null;
  readonly objectLock: S3ObjectLock | null;
  /** The size of the first parts of an upload; the lower limit of most stores is 5 MiB. */
  readonly partBytesMin: number;
  /** Parts never grow: Cloudflare R2 takes none of different sizes. Then 10,000 of them are all. */
  readonly hasEqualParts: boolean;
  /** How many parts of one object are on their way at once, as far as memory allows. */
  readonly connections: number;
  /** How many keys a page of a listing has at the most; no server gives more than 1000. */
  readonly pageObjects: number;
  /** In each direction; `null`: no limit. */
  readonly maxBytesPerSecond: number | null;
  /** After so long without a byte in either direction a request has failed. */
  readonly idleMs: number;
  /** How often a request is sent, all in all, before the store counts as unreachable. */
  readonly attemptsMax: number;
}

/** What most buckets need; a bucket's name is all that is missing. */
export const s3Defaults: Omit<S3Options, 'bucket'> = {
  prefix: '',
  region: null,
  endpoint: null,
  pathStyle: null,
  caFile: null,
  credentials: null,
  profile: null,
  serverSideEncryption: null,
  kmsKeyId: null,
  storageClass: null,
  tags: null,
  objectLock: null,
  partBytesMin: 8 * 1024 * 1024,
  hasEqualParts: false,
  connections: 4,
  pageObjects: 1000,
  maxBytesPerSecond: null,
  idleMs: 60_000,
  attemptsMax: 8,
};
