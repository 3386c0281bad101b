/** What is told of an object besides its bytes: class, encryption, lock, metadata, tags. */

import { encodeComponent } from '../core/names.ts';
import type { S3Options } from './s3_options.ts';
import type { FolderFacts } from './storage.ts';

/** The fields of PutObject and CreateMultipartUpload that say so. */
export interface S3Attributes {
  readonly Metadata: Record<string, string>;
  readonly ServerSideEncryption?: 'AES256' | 'aws:kms';
  readonly SSEKMSKeyId?: string;
  readonly StorageClass?: 'STANDARD_IA';
  readonly Tagging?: string;
  readonly ObjectLockMode?: 'GOVERNANCE' | 'COMPLIANCE';
  readonly ObjectLockRetainUntilDate?: Date;
}

/** Tells an object that was written by us just now from one that somebody else has written. */
export const writeIdName = 'holdfast-write';

/** Cheaper classes bill every object as if it had this much (S3's pricing, Infrequent Access). */
const billedBytesMin = 128 * 1024;

export interface AttributeOptions {
  readonly options: S3Options;
  /** Of the folder that the object is in; `null`: it is in none. */
  readonly facts: FolderFacts | null;
  /** `null`: more than a part. */
  readonly bytes: number | null;
  readonly writeId: string;
  readonly now: Date;
}

/** How the store is told to encrypt an object. */
export function encryptionOf(options: S3Options): Partial<S3Attributes> {
  const { serverSideEncryption, endpoint, kmsKeyId } = options;
  const method = serverSideEncryption ?? (endpoint === null ? 'AES256' : 'none');
  if (method === 'none') return {};
  if (method === 'AES256' || kmsKeyId === null) return { ServerSideEncryption: method };
  return { ServerSideEncryption: method, SSEKMSKeyId: kmsKeyId };
}

/** Only large files of backups get a class: manifests and WAL have to be read at any time. */
function classOf({ options, facts, bytes }: AttributeOptions): string | null {
  if (facts === null || (bytes !== null && bytes < billedBytesMin)) return null;
  if (options.storageClass !== null) return options.storageClass;
  const isLongKept = facts.tier === 'weekly' || facts.tier === 'monthly';
  return options.endpoint === null && isLongKept ? 'STANDARD_IA' : null;
}

function lockOf({ options, now }: AttributeOptions): Partial<S3Attributes> {
  if (options.objectLock === null) return {};
  const { mode, days } = options.objectLock;
  const until = new Date(now.getTime() + days * 24 * 3600 * 1000);
  return { ObjectLockMode: mode, ObjectLockRetainUntilDate: until };
}

function tagsOf({ options, facts }: AttributeOptions): Partial<S3Attributes> {
  if (options.tags === null) return {};
  const tier = facts === null || facts.tier === null ? {} : { tier: facts.tier };
  const text = new URLSearchParams({ ...tier, ...options.tags }).toString();
  return text === '' ? {} : { Tagging: text };
}

/** The attributes of one object. Metadata is ASCII, so a database's name is percent-encoded. */
export function attributesOf(about: AttributeOptions): S3Attributes {
  const { facts, writeId } = about;
  const storageClass = classOf(about);
  return {
    Metadata: {
      [writeIdName]: writeId,
      ...(facts === null ? {} : { 'backup-date': facts.startedAt.toISOString() }),
      ...(facts === null || facts.database === null
        ? {}
        : { database: encodeComponent(facts.database) }),
    },
    ...encryptionOf(about.options),
    // The SDK knows the classes of today by name; a server may have others.
    ...(storageClass === null ? {} : { StorageClass: storageClass as 'STANDARD_IA' }),
    ...tagsOf(about),
    ...lockOf(about),
  };
}
