/** What a server that checks everything refuses, in words that say what to type. */

import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Secret } from '../../src/core/secret.ts';
import { createS3Storage } from '../../src/storage/s3.ts';
import type { S3Options } from '../../src/storage/s3_options.ts';
import { bytes, failureOf, textOf } from '../contract/storage_support.ts';
import { startFlakyProxy, times } from '../support/flaky_proxy.ts';
import { type S3Server, startS3Server } from '../support/s3_server.ts';

let radosgw: S3Server;
let bucket: string;

beforeAll(async () => {
  radosgw = await startS3Server('radosgw');
  bucket = await radosgw.newBucket();
});
afterAll(() => radosgw?.stop());

const optionsFor = (more: Partial<S3Options> = {}) =>
  radosgw.optionsFor(bucket, { attemptsMax: 3, ...more });

function credentials(id: string, secret: string): Partial<S3Options> {
  const secretAccessKey = new Secret(secret);
  return { credentials: { accessKeyId: id, secretAccessKey, sessionToken: null } };
}

describe('a refusal', () => {
  it.each<[string, () => Partial<S3Options>, string, string]>([
    [
      'of a key that nobody knows',
      () => credentials('NOBODY', radosgw.secretAccessKey),
      'InvalidAccessKeyId',
      'AWS_ACCESS_KEY_ID',
    ],
    [
      'of a wrong secret',
      () => credentials(radosgw.accessKeyId, 'not-the-secret'),
      'SignatureDoesNotMatch',
      'AWS_SECRET_ACCESS_KEY',
    ],
    [
      'for a bucket that is not there',
      () => ({ bucket: 'no-such-bucket' }),
      'NoSuchBucket',
      'aws s3 mb',
    ],
  ])('%s says what to mend, whatever is done', async (_, more, code, hint) => {
    const storage = createS3Storage(optionsFor(more()));
    const attempts = [
      storage.put('a', bytes('x')),
      storage.get('a'),
      storage.stat('a'),
      storage.children(''),
      storage.createFolder('a/b'),
      storage.unfinishedFolders(''),
      storage.removeFolder('a/b', 'manifest.json'),
    ];
    for (const error of await Promise.all(attempts.map(failureOf))) {
      expect(error.code).toBe('STORE_REFUSED');
      expect(error.message).toContain(code);
      expect(error.message).toContain(storage.description);
      expect(error.message + JSON.stringify(error)).not.toContain('not-the-secret');
      expect(error.hint).toContain(hint);
    }
  });

  it('of a clock that is off says by how much', async () => {
    vi.useFakeTimers({ now: Date.now() + 25 * 60_000, toFake: ['Date'] });
    try {
      const storage = createS3Storage(optionsFor());
      for (const error of [
        await failureOf(storage.put('a', bytes('x'))),
        await failureOf(storage.children('')),
      ]) {
        expect(error.message).toContain('RequestTimeTooSkewed');
        expect(error.hint).toContain("this machine's clock is 25 minutes ahead of the store's");
      }
    } finally {
      vi.useRealTimers();
    }
  });

  it('for want of credentials names where they may stand', async () => {
    const nowhere = { AWS_SHARED_CREDENTIALS_FILE: '/nowhere', AWS_CONFIG_FILE: '/nowhere' };
    const none = { ...nowhere, AWS_EC2_METADATA_DISABLED: 'true', AWS_ACCESS_KEY_ID: '' };
    for (const [name, value] of Object.entries(none)) vi.stubEnv(name, value);
    try {
      const storage = createS3Storage(optionsFor({ credentials: null }));
      const error = await failureOf(storage.children(''));
      expect(error.code).toBe('STORE_REFUSED');
      expect(error.hint).toContain('AWS_PROFILE');
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe('a server that is not there', () => {
  it.each([
    ['no server', 'http://127.0.0.1:1', 'ECONNREFUSED', 'is up and reachable'],
    ['no such host', 'http://no-such-host.invalid', 'ENOTFOUND', 'AWS_ENDPOINT_URL_S3'],
  ])('is told soon: %s', async (_, endpoint, code, hint) => {
    const storage = createS3Storage(optionsFor({ endpoint, attemptsMax: 8 }));
    const error = await failureOf(storage.stat('a'));
    expect(error.code).toBe('STORE_UNREACHABLE');
    expect(error.message).toContain(code);
    expect(error.hint).toContain(hint);
  });
});

describe('a byte that is flipped on its way', () => {
  it('is noticed by a server that checks signatures, and sent again', async () => {
    const proxy = await startFlakyProxy(radosgw.endpoint);
    try {
      const content = randomBytes(4 * 1024 * 1024);
      const storage = createS3Storage(optionsFor({ endpoint: proxy.endpoint }));
      proxy.setScript(times(1, 'PutObject', { kind: 'flip request', at: 100_000 }));
      await storage.put('flipped', Readable.from([content]));
      expect(proxy.faults).toBe(1);
      expect((await buffer(await storage.get('flipped'))).equals(content)).toBe(true);
    } finally {
      await proxy.stop();
    }
  });
});

it('is seen to ignore conditions, and looked at before each object', async () => {
  const proxy = await startFlakyProxy(radosgw.endpoint);
  try {
    const storage = createS3Storage(optionsFor({ endpoint: proxy.endpoint }));
    await (await storage.createFolder('seen/label')).abort();
    const from = proxy.requests.length;
    await storage.put('seen/object', bytes('x'));
    expect(proxy.requests.slice(from).map(({ operation }) => operation)).toEqual([
      'HeadObject',
      'PutObject',
      'HeadObject',
    ]);
    expect((await failureOf(storage.put('seen/object', bytes('y')))).code).toBe('STORE_EXISTS');
    expect(await textOf(storage, 'seen/object')).toBe('x');
  } finally {
    await proxy.stop();
  }
});
