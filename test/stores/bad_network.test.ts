/** A bucket behind a network that loses, cuts, delays and changes what passes. */

import { randomBytes } from 'node:crypto';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { HeadObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { sha256Of } from '../../src/core/sums.ts';
import { createS3Storage } from '../../src/storage/s3.ts';
import type { S3Options } from '../../src/storage/s3_options.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { failureOf, keysOf } from '../contract/storage_support.ts';
import { createChance } from '../support/fault.ts';
import {
  atRandom,
  type Fault,
  type FlakyProxy,
  inTurn,
  internalError,
  resetAfter,
  slowDown,
  startFlakyProxy,
  times,
} from '../support/flaky_proxy.ts';
import { type S3Server, startS3Server } from '../support/s3_server.ts';

const mib = 1024 * 1024;
const partBytesMin = 5 * mib;
const content = randomBytes(12 * mib);
/** In pieces as a pipe brings them. */
const pieces = (bytes: Buffer, size = 64 * 1024) =>
  Readable.from(
    Array.from({ length: Math.ceil(bytes.length / size) }, (_, n) =>
      bytes.subarray(n * size, (n + 1) * size),
    ),
  );

let moto: S3Server;
let proxy: FlakyProxy;
let bucket: string;

beforeAll(async () => {
  moto = await startS3Server('moto');
});
afterAll(() => moto?.stop());
beforeEach(async () => {
  proxy = await startFlakyProxy(moto.endpoint);
  bucket = await moto.newBucket();
});
afterEach(() => proxy.stop());

function open(more: Partial<S3Options> = {}): Storage {
  return createS3Storage(
    moto.optionsFor(bucket, { endpoint: proxy.endpoint, partBytesMin, idleMs: 30_000, ...more }),
  );
}

const count = (operation: string) =>
  proxy.requests.filter((request) => request.operation === operation).length;

describe('what a network does to an upload', () => {
  it.each<[string, readonly (readonly [string, Fault])[]]>([
    [
      'on the way of the parts',
      [
        ['CreateMultipartUpload', slowDown],
        ['UploadPart', internalError],
        ['UploadPart', resetAfter(2 * mib)],
        ['UploadPart', { kind: 'lose answer' }],
        ['HeadObject', resetAfter(0)],
      ],
    ],
    [
      'at the end, whose answer is lost',
      [
        ['CompleteMultipartUpload', { kind: 'lose answer' }],
        ['CompleteMultipartUpload', { kind: 'lose answer' }],
      ],
    ],
    [
      'at the end, whose answer is cut',
      [
        ['CompleteMultipartUpload', internalError],
        ['CompleteMultipartUpload', { kind: 'reset answer', afterBytes: 20 }],
      ],
    ],
  ])('is made good %s', async (_, faults) => {
    proxy.setScript(inTurn(faults));
    const storage = open();
    const put = await storage.put('a/b', pieces(content));
    expect(proxy.faults).toBe(faults.length);
    expect(put.bytes).toBe(content.length);
    expect((await buffer(await storage.get('a/b'))).equals(content)).toBe(true);
    expect(await storage.unfinishedObjects('')).toEqual([]);
  });

  it('is made good for small objects too, when the answer to what was done is lost', async () => {
    proxy.setScript(times(2, 'PutObject', { kind: 'lose answer' }));
    const storage = open();
    await storage.put('a/b', Buffer.from('small'));
    expect(count('PutObject')).toBe(3);
    expect((await failureOf(storage.put('a/b', Buffer.from('other')))).code).toBe('STORE_EXISTS');
  });

  it('is noticed when nothing comes any more', async () => {
    proxy.setScript(times(1, 'PutObject', { kind: 'hang' }));
    const storage = open({ idleMs: 1000 });
    await storage.put('a/b', Buffer.from('small'));
    expect(count('PutObject')).toBe(2);
  });

  it('ends it when it goes on for too long, with nothing left on the server', async () => {
    proxy.setScript(({ operation }) => (operation === 'UploadPart' ? slowDown : null));
    const storage = open({ attemptsMax: 2 });
    const body = pieces(content);
    const error = await failureOf(storage.put('a/b', body));
    expect(error.code).toBe('STORE_UNREACHABLE');
    expect(error.message).toContain('SlowDown');
    expect(body.destroyed).toBe(true);
    expect(await keysOf(storage)).toEqual([]);
    expect(await storage.unfinishedObjects('')).toEqual([]);
  });

  it('never has a refusal asked again', async () => {
    const denied: Fault = { kind: 'answer', status: 403, code: 'AccessDenied' };
    proxy.setScript(({ operation }) => (operation === 'UploadPart' ? denied : null));
    const storage = open({ connections: 1 });
    const body = pieces(content);
    const error = await failureOf(storage.put('a/b', body));
    expect(error.code).toBe('STORE_REFUSED');
    expect(error.hint).toContain('s3:PutObject');
    expect(count('UploadPart')).toBe(1);
    expect(count('AbortMultipartUpload')).toBe(1);
    expect(body.destroyed).toBe(true);
    expect((await failureOf(storage.get('never/was'))).code).toBe('BACKUP_NOT_FOUND');
    expect(count('GetObject')).toBe(1);
  });

  it('does not hold it for ever when the body stalls while a part fails', async () => {
    const denied: Fault = { kind: 'answer', status: 403, code: 'AccessDenied' };
    proxy.setScript(({ operation }) => (operation === 'UploadPart' ? denied : null));
    const body = new PassThrough();
    body.write(content.subarray(0, partBytesMin + 1));
    expect((await failureOf(open().put('a/b', body))).code).toBe('STORE_REFUSED');
    expect(body.destroyed).toBe(true);
  });
});

it('keeps no upload of a body that fails after some parts', async () => {
  const storage = open();
  const body = Readable.from(
    (async function* () {
      yield content;
      while (count('UploadPart') === 0) await sleep(10);
      throw new Error('pg_dump was killed');
    })(),
  );
  const error = await failureOf(storage.put('a/b', body));
  expect(error.message).toContain('pg_dump was killed');
  expect(count('UploadPart')).toBeGreaterThan(0);
  expect(count('AbortMultipartUpload')).toBe(1);
  expect(await storage.unfinishedObjects('')).toEqual([]);
  expect(await keysOf(storage)).toEqual([]);
});

it('sends 60 MB in parts, several at once, and never more than it may', async () => {
  const large = randomBytes(60 * mib);
  let most = 0;
  proxy.setScript(({ operation }) => {
    if (operation === 'UploadPart') most = Math.max(most, proxy.underWay);
    return null;
  });
  await open({ connections: 3 }).put('large', pieces(large));
  expect(count('UploadPart')).toBe(12);
  expect(most).toBeGreaterThan(1);
  // The next one may be there before the last one is seen to have ended.
  expect(most).toBeLessThanOrEqual(4);
  const head = await moto
    .client()
    .send(new HeadObjectCommand({ Bucket: bucket, Key: 'large', PartNumber: 1 }));
  expect(head.PartsCount).toBe(12);
  expect(sha256Of(await buffer(await open().get('large')))).toBe(sha256Of(large));
});

describe('what a network does to reading', () => {
  const put = () =>
    moto.client().send(new PutObjectCommand({ Bucket: bucket, Key: 'a', Body: content }));

  it('is made good: the stream goes on where it broke', async () => {
    await put();
    let at = 0;
    proxy.setScript(({ operation }) => {
      if (operation !== 'GetObject') return null;
      at += 1;
      return at > 4 ? null : { kind: 'reset answer', afterBytes: 2_000_000 + at };
    });
    const storage = open();
    expect((await buffer(await storage.get('a'))).equals(content)).toBe(true);
    expect(count('GetObject')).toBe(5);
    const range = await buffer(await storage.get('a', { start: 7, bytes: 3 * mib }));
    expect(range.equals(content.subarray(7, 7 + 3 * mib))).toBe(true);
  });

  it('goes on within a range', async () => {
    await put();
    proxy.setScript(times(2, 'GetObject', { kind: 'reset answer', afterBytes: 500_000 }));
    const range = await buffer(await open().get('a', { start: 1000, bytes: 3 * mib }));
    expect(range.equals(content.subarray(1000, 1000 + 3 * mib))).toBe(true);
    expect(proxy.faults).toBe(2);
  });

  it('ends when no byte comes any more', async () => {
    await put();
    proxy.setScript(({ operation }) =>
      operation === 'GetObject' ? { kind: 'reset answer', afterBytes: 0 } : null,
    );
    const storage = open({ attemptsMax: 1 });
    const error = await failureOf(storage.get('a').then(buffer));
    expect(error.code).toBe('STORE_UNREACHABLE');
  });

  it('is never made good with the bytes of another object', async () => {
    await put();
    const storage = open();
    proxy.setScript(times(1, 'GetObject', { kind: 'reset answer', afterBytes: 100_000 }));
    const stream = await storage.get('a');
    const other = { Bucket: bucket, Key: 'a', Body: Buffer.alloc(content.length) };
    await moto.client().send(new PutObjectCommand(other));
    const error = await failureOf(buffer(stream));
    expect(error.code).toBe('STORE_REFUSED');
    expect(error.message).toContain('was replaced while it was read');
  });
});

it('loses nothing and commits nothing false, whatever happens at any moment', async () => {
  const chance = createChance();
  const faults: readonly Fault[] = [
    internalError,
    slowDown,
    resetAfter(0),
    resetAfter(3 * mib),
    { kind: 'lose answer' },
    { kind: 'reset answer', afterBytes: 0 },
    { kind: 'reset answer', afterBytes: 1000 },
  ];
  const from = proxy.requests.length;
  proxy.setScript(atRandom(0.2, faults, chance.next));
  const storage = open();
  const labels = ['a', 'b', 'c', 'd', 'e', 'f'];
  await Promise.all(
    labels.map(async (label, n) => {
      const folder = await storage.createFolder(`full/${label}`);
      await folder.put('dump', pieces(content.subarray(0, (n + 1) * mib)));
      await folder.put('sums', Buffer.from(label));
      await folder.commit('manifest.json', Buffer.from('{}'));
    }),
  );
  expect(proxy.faults, `HOLDFAST_FAULT_SEED=${chance.seed}`).toBeGreaterThan(3);
  for (const [n, label] of labels.entries()) {
    const dump = await buffer(await storage.get(`full/${label}/dump`));
    expect(dump.equals(content.subarray(0, (n + 1) * mib))).toBe(true);
  }
  proxy.setScript(() => null);
  const folders = labels.flatMap((label) =>
    ['dump', 'manifest.json', 'sums'].map((name) => `full/${label}/${name}`),
  );
  expect(await keysOf(storage)).toEqual(folders);
  expect(await storage.unfinishedFolders('')).toEqual([]);
  // An upload whose beginning was answered to nobody is known to nobody, and goes with a prune.
  const begun = proxy.requests
    .slice(from)
    .filter(({ operation }) => operation === 'CreateMultipartUpload')
    .map(({ path }) => path);
  const left = await storage.unfinishedObjects('');
  expect(left.length).toBeLessThanOrEqual(begun.length - new Set(begun).size);
});

it('tells by how many minutes the clock is off', async () => {
  const behind = await startFlakyProxy(moto.endpoint, { dateBehindMs: 20 * 60_000 });
  try {
    const storage = createS3Storage(moto.optionsFor(bucket, { endpoint: behind.endpoint }));
    expect(Math.round(((await storage.clockAheadMs?.()) ?? 0) / 60_000)).toBe(20);
    const code = 'RequestTimeTooSkewed';
    behind.setScript(({ operation }) =>
      operation === 'PutObject' ? { kind: 'answer', status: 403, code } : null,
    );
    const error = await failureOf(storage.put('a', Buffer.from('x')));
    expect(error.code).toBe('STORE_REFUSED');
    expect(error.hint).toContain("this machine's clock is 20 minutes ahead of the store's");
  } finally {
    await behind.stop();
  }
});

it('keeps to a rate in both directions, byte for byte', async () => {
  const storage = open({ maxBytesPerSecond: 4 * mib });
  const part = content.subarray(0, 2 * mib);
  const started = performance.now();
  await storage.put('slow', pieces(part));
  expect((await buffer(await storage.get('slow'))).equals(part)).toBe(true);
  // Half a second each way, but for a tenth's worth of bytes: never faster, however slow we are.
  expect(performance.now() - started).toBeGreaterThan(700);
});

it('takes servers as they are: conditions and checksums that they do not know are left out', async () => {
  const unknown: Fault = { kind: 'answer', status: 501, code: 'NotImplemented' };
  proxy.setScript(times(2, 'PutObject', unknown));
  const storage = open();
  await storage.put('a', Buffer.from('x'));
  expect(count('PutObject')).toBe(3);
  await storage.put('b', Buffer.from('x'));
  expect(count('PutObject')).toBe(4);
});
