/** The one place that knows which stores there are. */

import type { StoreSpec } from '../config/stores.ts';
import { HoldfastError } from '../core/errors.ts';
import { limitStorage } from './limited.ts';
import { createLocalStorage } from './local.ts';
import { type S3Credentials, type S3Options, s3Defaults } from './s3_options.ts';
import type { Storage } from './storage.ts';

type BucketSpec = Extract<StoreSpec, { kind: 's3' }>;

const bytesPerMb = 1024 * 1024;

/**
 * Opens the store in a folder of this machine.
 *
 * @param path absolute
 */
export function openFolder(path: string): Storage {
  return createLocalStorage({ root: path });
}

function credentialsOf({ name, s3 }: BucketSpec): S3Credentials | null {
  const { access_key_id: accessKeyId, secret_access_key: secretAccessKey, session_token } = s3;
  if (accessKeyId === null && secretAccessKey === null) return null;
  if (accessKeyId !== null && secretAccessKey !== null) {
    return { accessKeyId, secretAccessKey, sessionToken: session_token };
  }
  throw new HoldfastError('CONFIG_INVALID', `the store ${name} has half of an access key`, {
    hint: 'Set both access_key_id and secret_access_key (AWS_SECRET_ACCESS_KEY), or neither.',
  });
}

function objectLockOf({ name, s3 }: BucketSpec): S3Options['objectLock'] {
  const { object_lock_mode: mode, object_lock_days: days } = s3;
  if (mode === null && days === null) return null;
  if (mode !== null && days !== null) return { mode, days };
  throw new HoldfastError('CONFIG_INVALID', `the store ${name} has half of an object lock`, {
    hint: 'Set both object_lock_mode and object_lock_days, or neither.',
  });
}

/**
 * From the settings of a bucket to what it is opened with.
 *
 * @throws HoldfastError CONFIG_INVALID
 */
function s3OptionsOf(spec: BucketSpec): S3Options {
  const { s3, bytesPerSecondMax, stallMs } = spec;
  return {
    ...s3Defaults,
    bucket: s3.bucket,
    prefix: s3.prefix ?? '',
    region: s3.region,
    endpoint: s3.endpoint,
    pathStyle: s3.path_style,
    caFile: s3.ca_file,
    credentials: credentialsOf(spec),
    profile: s3.profile,
    serverSideEncryption: s3.server_side_encryption,
    kmsKeyId: s3.kms_key_id,
    storageClass: s3.storage_class,
    tags: s3.tags ? {} : null,
    objectLock: objectLockOf(spec),
    partBytesMin: s3.part_mb * bytesPerMb,
    hasEqualParts: s3.equal_parts,
    connections: s3.connections,
    maxBytesPerSecond: bytesPerSecondMax,
    idleMs: Math.min(s3Defaults.idleMs, stallMs),
  };
}

/**
 * Opens a store; the SDK that speaks to a bucket is loaded for a bucket only (a sixth of a second
 * and 35 MB, measured).
 *
 * @throws HoldfastError CONFIG_INVALID
 */
export async function openStore(spec: StoreSpec): Promise<Storage> {
  if (spec.kind === 'folder') {
    const folder = openFolder(spec.path);
    const { bytesPerSecondMax } = spec;
    return bytesPerSecondMax === null ? folder : limitStorage(folder, bytesPerSecondMax);
  }
  const options = s3OptionsOf(spec);
  const { createS3Storage } = await import('./s3.ts');
  return createS3Storage(options);
}
