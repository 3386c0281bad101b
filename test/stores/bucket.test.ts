/** What a bucket does that a disk does not: locks, classes, marks of folders, what others put. */

import { randomBytes, randomUUID } from 'node:crypto';
import { PassThrough } from 'node:stream';
import {
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ownIdentity } from '../../src/process/identity.ts';
import { createS3Storage } from '../../src/storage/s3.ts';
import type { S3Options } from '../../src/storage/s3_options.ts';
import type { FolderFacts, Storage } from '../../src/storage/storage.ts';
import { bytes, failureOf, keysOf, textOf } from '../contract/storage_support.ts';
import { type FlakyProxy, type ProxiedRequest, startFlakyProxy } from '../support/flaky_proxy.ts';
import { type S3Server, startS3Server } from '../support/s3_server.ts';

const mib = 1024 * 1024;
const partBytesMin = 5 * mib;
const facts: FolderFacts = {
  tier: 'weekly',
  database: 'größe "1"',
  startedAt: new Date('2026-11-21T02:00:00Z'),
};

let moto: S3Server;
let bucket: string;

beforeAll(async () => {
  moto = await startS3Server('moto');
});
afterAll(() => moto?.stop());
beforeEach(async () => {
  bucket = await moto.newBucket();
});

function open(more: Partial<S3Options> = {}): Storage {
  return createS3Storage(moto.optionsFor(bucket, { partBytesMin, ...more }));
}

const headOf = (Key: string) => moto.client().send(new HeadObjectCommand({ Bucket: bucket, Key }));

async function keysInBucket(): Promise<string[]> {
  const listed = await moto.client().send(new ListObjectsV2Command({ Bucket: bucket }));
  return (listed.Contents ?? []).map(({ Key }) => Key ?? '');
}

async function commitFolder(storage: Storage, folder: string, body = bytes('data')): Promise<void> {
  const writer = await storage.createFolder(folder, facts);
  await writer.put('dump', body);
  await writer.commit('manifest.json', bytes('{}'));
}

describe('what objects are told to be', () => {
  it('is in their metadata, class, encryption and tags: of large ones of backups', async () => {
    const storage = open({
      serverSideEncryption: 'AES256',
      storageClass: 'STANDARD_IA',
      tags: { team: 'a + b' },
    });
    await commitFolder(storage, 'full/c/d/label', randomBytes(200_000));
    await storage.put('wal/segment', randomBytes(200_000));
    const dump = await headOf('full/c/d/label/dump');
    expect(dump).toMatchObject({ StorageClass: 'STANDARD_IA', ServerSideEncryption: 'AES256' });
    expect(dump.Metadata).toMatchObject({
      'backup-date': '2026-11-21T02:00:00.000Z',
      database: 'gr%C3%B6%C3%9Fe%20%221%22',
    });
    const tagging = { Bucket: bucket, Key: 'full/c/d/label/dump' };
    const { TagSet } = await moto.client().send(new GetObjectTaggingCommand(tagging));
    expect(TagSet).toEqual(
      expect.arrayContaining([
        { Key: 'tier', Value: 'weekly' },
        { Key: 'team', Value: 'a + b' },
      ]),
    );
    // A manifest is read at any time, and too small for a class; WAL may be needed tonight.
    expect((await headOf('full/c/d/label/manifest.json')).StorageClass).toBeUndefined();
    expect((await headOf('wal/segment')).StorageClass).toBeUndefined();
  });

  it('is nothing of that on a server that is not Amazon, unless it is asked for', async () => {
    await commitFolder(open(), 'full/c/d/label', randomBytes(200_000));
    const dump = await headOf('full/c/d/label/dump');
    expect(dump.StorageClass).toBeUndefined();
    expect(dump.TagCount).toBeUndefined();
  });

  it('says which command thaws what has to be thawed', async () => {
    const storage = open({ storageClass: 'GLACIER' });
    await commitFolder(storage, 'full/c/d/label', randomBytes(200_000));
    const error = await failureOf(storage.get('full/c/d/label/dump'));
    expect(error.code).toBe('STORE_REFUSED');
    expect(error.hint).toContain(
      `aws s3api restore-object --bucket '${bucket}' --key 'full/c/d/label/dump'`,
    );
    expect(await textOf(storage, 'full/c/d/label/manifest.json')).toBe('{}');
  });
});

describe('a locked bucket', () => {
  it('keeps a backup until its day, and says until when', async () => {
    bucket = await moto.newBucket(true);
    const storage = open({ objectLock: { mode: 'COMPLIANCE', days: 30 } });
    await commitFolder(storage, 'full/c/d/label', randomBytes(partBytesMin + 1));
    const until = await storage.retainedUntil?.('full/c/d/label/manifest.json');
    expect((until?.getTime() ?? 0) / 86_400_000 - Date.now() / 86_400_000).toBeCloseTo(30, 1);
    expect(await storage.retainedUntil?.('full/c/d/label/dump')).toBeInstanceOf(Date);
    expect(await storage.retainedUntil?.('never/was')).toBeNull();
    const error = await failureOf(storage.removeFolder('full/c/d/label', 'manifest.json'));
    expect(error).toMatchObject({
      code: 'STORE_REFUSED',
      details: { retained_until: until?.toISOString() },
    });
    expect(await storage.children('full/c/d')).toEqual(['label']);
    expect(await storage.unfinishedFolders('')).toEqual([]);
  });

  it('holds nothing that was not locked', async () => {
    const storage = open();
    await storage.put('a', bytes('x'));
    expect(await storage.retainedUntil?.('a')).toBeNull();
  });
});

describe('a folder that was begun', () => {
  it('is found with what a killed run has uploaded of it, which goes with it', async () => {
    const storage = open();
    const writer = await storage.createFolder('full/c/d/label', facts);
    await writer.put('globals', bytes('x'));
    const body = new PassThrough();
    const writing = failureOf(writer.put('dump', body));
    body.write(Buffer.alloc(partBytesMin + 1));
    const uploads = async () => {
      const listed = await moto.client().send(new ListMultipartUploadsCommand({ Bucket: bucket }));
      return listed.Uploads ?? [];
    };
    await expect.poll(uploads, { timeout: 20_000 }).toHaveLength(1);
    const other = open();
    expect(await other.unfinishedObjects('')).toEqual([]);
    const told = await other.unfinishedFolders('full');
    expect(told.map(({ folder }) => folder)).toEqual(['full/c/d/label']);
    expect(await other.survey?.('full')).toEqual({
      objects: [],
      unfinishedFolders: [
        { folder: 'full/c/d/label', modifiedAt: expect.any(Date), writer: ownIdentity() },
      ],
    });
    await other.removeUnfinished('full/c/d/label');
    expect(await uploads()).toEqual([]);
    expect(await keysInBucket()).toEqual([]);
    body.destroy();
    await writing;
  });

  it('is not committed any more once another host has removed it, and leaves nothing', async () => {
    const storage = open();
    const writer = await storage.createFolder('full/c/d/label', facts);
    await writer.put('dump', bytes('x'));
    await open().removeUnfinished('full/c/d/label');
    const error = await failureOf(writer.commit('manifest.json', bytes('{}')));
    expect(error.message).toContain('was removed while it was written');
    await writer.abort();
    expect(await keysInBucket()).toEqual([]);
  });

  it('is left alone once it was committed, whatever its mark says', async () => {
    const storage = open();
    await commitFolder(storage, 'full/c/d/label');
    // As if it had been killed between its manifest and the end of its mark.
    for (const Key of ['full/c/d/label.partial', '.partial/full/c/d/label']) {
      await moto.client().send(new PutObjectCommand({ Bucket: bucket, Key, Body: randomUUID() }));
    }
    const other = open();
    await other.removeUnfinished('full/c/d/label');
    expect(await other.unfinishedFolders('')).toEqual([]);
    expect(await other.children('full/c/d')).toEqual(['label']);
    expect(await textOf(other, 'full/c/d/label/dump')).toBe('data');
    expect(await keysOf(other)).toHaveLength(2);
    await other.removeFolder('full/c/d/label', 'manifest.json');
    expect(await keysInBucket()).toEqual([]);
  });

  it('cannot be begun twice, by whomever', async () => {
    const [one, two] = [open(), open()];
    const begun = await Promise.allSettled(
      [one, two, one, two].map((storage) => storage.createFolder('full/c/d/label')),
    );
    expect(begun.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const each of begun) {
      if (each.status === 'rejected') expect(each.reason.code).toBe('STORE_EXISTS');
    }
  });
});

it('does not see what other programs have put there', async () => {
  const storage = open();
  await commitFolder(storage, 'full/c/d/label');
  for (const Key of ['full/', 'full/c/d/x.partial/y', 'a//b', 'full/c/d/label/']) {
    await moto.client().send(new PutObjectCommand({ Bucket: bucket, Key, Body: '' }));
  }
  expect(await keysOf(storage)).toEqual(['full/c/d/label/dump', 'full/c/d/label/manifest.json']);
  expect(await storage.children('full/c/d')).toEqual(['label']);
  expect(await storage.children('full/c/d/label')).toEqual(['dump', 'manifest.json']);
});

describe('what a server is asked', () => {
  let proxy: FlakyProxy;
  beforeEach(async () => {
    proxy = await startFlakyProxy(moto.endpoint);
    return () => proxy.stop();
  });
  const seen = (from = 0) => proxy.requests.slice(from).map(({ operation }) => operation);

  it('is seen to honour conditions, and then not asked first any more', async () => {
    const storage = open({ endpoint: proxy.endpoint });
    await storage.put('before', bytes('x'));
    expect(seen()).toEqual(['HeadObject', 'PutObject', 'HeadObject']);
    await commitFolder(storage, 'full/c/d/label');
    const from = proxy.requests.length;
    await storage.put('after', bytes('x'));
    expect(seen(from)).toEqual(['PutObject', 'HeadObject']);
  });

  it('is little for a list of many backups, and for reading one', async () => {
    const storage = open({ endpoint: proxy.endpoint });
    for (const label of ['a', 'b', 'c']) await commitFolder(storage, `full/c/d/${label}`);
    let from = proxy.requests.length;
    const survey = await open({ endpoint: proxy.endpoint }).survey?.('full');
    expect(survey?.objects).toHaveLength(6);
    // One look more, at whether `full` itself is a folder that was begun.
    expect(seen(from)).toEqual(['ListObjectsV2', 'HeadObject']);
    const identities = new Map(survey?.objects.map(({ key, identity }) => [key, identity]));
    const manifest = 'full/c/d/a/manifest.json';
    expect(await storage.identity(manifest)).toBe(identities.get(manifest));
    from = proxy.requests.length;
    await textOf(open({ endpoint: proxy.endpoint }), manifest);
    expect(seen(from)).toEqual(['GetObject']);
  });

  it('needs no permission to delete for a backup', async () => {
    proxy.setScript(({ operation }: ProxiedRequest) =>
      operation === 'DeleteObject' ? { kind: 'answer', status: 403, code: 'AccessDenied' } : null,
    );
    const storage = open({ endpoint: proxy.endpoint });
    await commitFolder(storage, 'full/c/d/label');
    const reader = open({ endpoint: proxy.endpoint });
    expect(await reader.children('full/c/d')).toEqual(['label']);
    expect(await reader.unfinishedFolders('')).toEqual([]);
    expect(await textOf(reader, 'full/c/d/label/dump')).toBe('data');
    const error = await failureOf(reader.removeFolder('full/c/d/label', 'manifest.json'));
    expect(error).toMatchObject({ code: 'STORE_REFUSED' });
    expect(error.hint).toContain('s3:DeleteObject');
    expect(await reader.children('full/c/d')).toEqual(['label']);
  });
});
