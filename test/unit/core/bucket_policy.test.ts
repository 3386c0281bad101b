import { describe, expect, it } from 'vitest';
import {
  accessPolicy,
  lifecycleRules,
  type PolicyBucket,
} from '../../../src/core/bucket_policy.ts';

const bare: PolicyBucket = {
  bucket: 'acme-backups',
  prefix: null,
  isLocked: false,
  isTagged: false,
  kmsKeyId: null,
};
const whole: PolicyBucket = {
  bucket: 'acme-backups',
  prefix: 'holdfast/main',
  isLocked: true,
  isTagged: true,
  kmsKeyId: '1234abcd',
};

const actionsOf = (policy: ReturnType<typeof accessPolicy>) =>
  policy.Statement.flatMap(({ Action }) => Action);

describe('what a key has to be allowed', () => {
  it('is little for a plain bucket', () => {
    const policy = accessPolicy(bare, true);
    expect(actionsOf(policy).sort()).toEqual([
      's3:AbortMultipartUpload',
      's3:DeleteObject',
      's3:GetObject',
      's3:ListBucket',
      's3:ListBucketMultipartUploads',
      's3:ListMultipartUploadParts',
      's3:PutObject',
    ]);
    expect(new Set(policy.Statement.map(({ Resource }) => Resource))).toEqual(
      new Set(['arn:aws:s3:::acme-backups', 'arn:aws:s3:::acme-backups/*']),
    );
    expect(JSON.stringify(policy)).not.toContain('Condition');
  });

  it('ends at the prefix, and grows with locks, tags and a key of its own', () => {
    const policy = accessPolicy(whole, true);
    expect(actionsOf(policy)).toEqual(
      expect.arrayContaining([
        's3:PutObjectTagging',
        's3:GetObjectRetention',
        's3:PutObjectRetention',
        'kms:GenerateDataKey',
      ]),
    );
    expect(policy.Statement.map(({ Resource }) => Resource)).toEqual([
      'arn:aws:s3:::acme-backups',
      'arn:aws:s3:::acme-backups',
      'arn:aws:s3:::acme-backups/holdfast/main/*',
      'arn:aws:kms:*:*:key/1234abcd',
    ]);
    expect(policy.Statement[0]?.Condition).toEqual({
      StringLike: { 's3:prefix': ['holdfast/main/*'] },
    });
  });

  it('is not to delete, where nobody shall be able to', () => {
    const actions = actionsOf(accessPolicy(whole, false));
    expect(actions.filter((action) => action.includes('Delete'))).toEqual([]);
    expect(actions).toContain('s3:PutObject');
  });

  it.each([
    ['*', '*'],
    ['arn:aws:kms:eu-central-1:1:key/x', 'arn:aws:kms:eu-central-1:1:key/x'],
    ['alias/backups', 'arn:aws:kms:*:*:alias/backups'],
  ])('names the key %s', (kmsKeyId, resource) => {
    const { Statement } = accessPolicy({ ...bare, kmsKeyId }, true);
    expect(Statement.at(-1)?.Resource).toBe(resource);
  });
});

describe('what a bucket does by itself', () => {
  it('never removes a backup that is there', () => {
    for (const place of [bare, whole]) {
      const text = JSON.stringify(lifecycleRules(place));
      expect(text).toContain('AbortIncompleteMultipartUpload');
      expect(text).not.toContain('"Expiration"');
      for (const rule of lifecycleRules(place).Rules) expect(rule.Status).toBe('Enabled');
    }
    expect(JSON.stringify(lifecycleRules(bare))).not.toContain('Transitions');
    expect(JSON.stringify(lifecycleRules(whole))).toContain('"Prefix":"holdfast/main/"');
  });
});
