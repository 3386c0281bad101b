import { describe, expect, it } from 'vitest';
import { type S3Doing, type S3Place, s3Error } from '../../../src/storage/s3_errors.ts';

const doing: S3Doing = { verb: 'writing', key: "a/it's", permission: 's3:PutObject' };
const place: S3Place = {
  description: 'bucket s3://acme/main',
  bucket: 'acme',
  objectKey: "main/a/it's",
  region: 'us-east-1',
  endpoint: null,
  clockAheadMs: 0,
};

function told(status: number | null, name: string, more: Partial<S3Place> = {}, headers = {}) {
  const failure =
    status === null
      ? Object.assign(new Error(`${name}: it failed`), { code: name })
      : {
          name,
          message: 'it failed',
          $metadata: { httpStatusCode: status },
          $response: { headers },
        };
  return s3Error(failure, doing, { ...place, ...more });
}

describe('what S3 says', () => {
  it.each<[number | null, string, Partial<S3Place>, string, RegExp]>([
    [403, 'AccessDenied', {}, 'STORE_REFUSED', /permission s3:PutObject/],
    [403, 'InvalidAccessKeyId', {}, 'STORE_REFUSED', /AWS_ACCESS_KEY_ID/],
    [403, 'SignatureDoesNotMatch', {}, 'STORE_REFUSED', /AWS_SECRET_ACCESS_KEY[^.]*\.$/],
    [403, 'SignatureDoesNotMatch', { endpoint: 'http://s3' }, 'STORE_REFUSED', /S3_PATH_STYLE/],
    [
      403,
      'SignatureDoesNotMatch',
      { clockAheadMs: -1_800_000 },
      'STORE_REFUSED',
      /30 minutes behind/,
    ],
    [
      403,
      'RequestTimeTooSkewed',
      { clockAheadMs: 960_000 },
      'STORE_REFUSED',
      /16 minutes ahead of/,
    ],
    [403, 'RequestTimeTooSkewed', { clockAheadMs: null }, 'STORE_REFUSED', /timedatectl/],
    [400, 'ExpiredToken', {}, 'STORE_REFUSED', /AWS_SESSION_TOKEN/],
    [
      404,
      'NoSuchBucket',
      { endpoint: 'http://s3' },
      'STORE_REFUSED',
      /aws s3 mb s3:\/\/acme --endpoint-url 'http:\/\/s3'/,
    ],
    [403, 'InvalidObjectState', {}, 'STORE_REFUSED', /--key 'main\/a\/it'\\''s' --restore-request/],
    [503, 'SlowDown', {}, 'STORE_UNREACHABLE', /later/],
    [null, 'ENOTFOUND', {}, 'STORE_UNREACHABLE', /AWS_REGION/],
    [null, 'ECONNREFUSED', { endpoint: 'http://s3' }, 'STORE_UNREACHABLE', /http:\/\/s3 is up/],
    [null, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', {}, 'STORE_UNREACHABLE', /AWS_CA_BUNDLE/],
    [400, 'SomethingNew', {}, 'STORE_REFUSED', /settings/],
  ])('%s %s is told with what to type', (status, name, more, code, hint) => {
    const error = told(status, name, more);
    expect(error.code).toBe(code);
    expect(error.hint).toMatch(hint);
    expect(error.message).toContain(`writing a/it's in bucket s3://acme/main: ${name}`);
  });

  it('names the region that the bucket is in, wherever it is told', () => {
    const inHeader = told(301, 'PermanentRedirect', {}, { 'x-amz-bucket-region': 'eu-west-3' });
    expect(inHeader.hint).toContain('Set AWS_REGION to eu-west-3');
    const inText = s3Error(
      {
        name: 'AuthorizationHeaderMalformed',
        message: "the region 'us-east-1' is wrong; expecting 'eu-central-1'",
        $metadata: { httpStatusCode: 400 },
      },
      doing,
      place,
    );
    expect(inText.hint).toContain('Set AWS_REGION to eu-central-1');
  });
});
