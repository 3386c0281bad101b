import { describe, expect, it } from 'vitest';
import { attributesOf } from '../../../src/storage/s3_attributes.ts';
import { type S3Options, s3Defaults } from '../../../src/storage/s3_options.ts';
import type { FolderFacts } from '../../../src/storage/storage.ts';

const now = new Date('2026-11-21T02:00:00Z');
const large = 1_000_000;

function of(
  more: Partial<S3Options>,
  tier: FolderFacts['tier'] = 'weekly',
  bytes: number | null = large,
) {
  const options: S3Options = { ...s3Defaults, bucket: 'acme', ...more };
  const facts = { tier, database: 'app', startedAt: now };
  return attributesOf({ options, facts, bytes, writeId: 'w', now });
}

describe('what an object is told to be', () => {
  it('is a cheaper class for large files of long-kept backups, on Amazon S3 alone', () => {
    expect(of({}).StorageClass).toBe('STANDARD_IA');
    expect(of({}, 'monthly', null).StorageClass).toBe('STANDARD_IA');
    expect(of({}, 'daily').StorageClass).toBeUndefined();
    expect(of({}, 'weekly', 1000).StorageClass).toBeUndefined();
    expect(of({ endpoint: 'http://s3' }).StorageClass).toBeUndefined();
    expect(of({ endpoint: 'http://s3', storageClass: 'COLD' }, 'daily').StorageClass).toBe('COLD');
  });

  it('is encrypted on Amazon S3, elsewhere where it is asked for, with whose key it says', () => {
    expect(of({}).ServerSideEncryption).toBe('AES256');
    expect(of({ endpoint: 'http://s3' }).ServerSideEncryption).toBeUndefined();
    expect(of({ serverSideEncryption: 'none' }).ServerSideEncryption).toBeUndefined();
    const kms = of({ serverSideEncryption: 'aws:kms', kmsKeyId: 'key' });
    expect(kms).toMatchObject({ ServerSideEncryption: 'aws:kms', SSEKMSKeyId: 'key' });
    expect(of({ serverSideEncryption: 'aws:kms' }).SSEKMSKeyId).toBeUndefined();
  });

  it('is locked until so many days after now', () => {
    expect(of({ objectLock: { mode: 'GOVERNANCE', days: 10 } })).toMatchObject({
      ObjectLockMode: 'GOVERNANCE',
      ObjectLockRetainUntilDate: new Date('2026-12-01T02:00:00Z'),
    });
  });

  it('has the tier among its tags where there are tags at all', () => {
    expect(of({}).Tagging).toBeUndefined();
    expect(of({ tags: {} }).Tagging).toBe('tier=weekly');
    expect(of({ tags: {} }, null).Tagging).toBeUndefined();
  });
});
