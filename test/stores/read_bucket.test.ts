/** What reads a repository does it in a bucket: lists, verifies, restores, prunes; as commands. */

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mapBounded } from '../../src/catalog/map_bounded.ts';
import { openRepository } from '../../src/catalog/repository.ts';
import { serializeManifest } from '../../src/core/manifest_codec.ts';
import { createS3Storage } from '../../src/storage/s3.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { type CommandName, type Outcome, runCommand } from '../support/command.ts';
import { type FlakyProxy, startFlakyProxy } from '../support/flaky_proxy.ts';
import { type S3Server, startS3Server } from '../support/s3_server.ts';
import { sampleManifest, writeSampleBackup } from '../support/sample_backup.ts';
import { flipped } from '../support/workbench.ts';

const dayMs = 86_400_000;
/** More than the requests that a list may send. */
const many = 40;

let server: S3Server;
let bucket: string;
let storage: Storage;
let root = '';
/** Between the commands and the server: counts. */
let proxy: FlakyProxy;

/** A label of so many days ago. */
function labelOf(ageDays: number, random = 'aaaa'): string {
  const at = new Date(Date.now() - ageDays * dayMs).toISOString();
  return `${at.replaceAll(/[-:]|\.\d+/g, '')}-daily-${random}`;
}

function run(
  name: CommandName,
  argv: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  return runCommand(name, argv, {
    environment: {
      BACKUP_DIR: join(root, 'r'),
      // No server of PostgreSQL's is there, whatever runs on this machine.
      PGHOST: root,
      BACKUP_BUCKET: bucket,
      AWS_ENDPOINT_URL_S3: proxy.endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: server.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
      ...more,
    },
  });
}

/** A backup of which only the manifest can be read: enough for a list. */
async function putListed(ageDays: number): Promise<void> {
  const label = labelOf(ageDays);
  const folder = `full/main/many/${label}`;
  const manifest = serializeManifest(sampleManifest({ manifest: { label, database: 'many' } }));
  for (const name of ['SHA256SUMS', 'database.dump.zst', 'globals.sql.zst', 'restore.sh']) {
    const place = { Bucket: bucket, Key: `${folder}/${name}` };
    await server.client().send(new PutObjectCommand({ ...place, Body: 'x' }));
  }
  const place = { Bucket: bucket, Key: `${folder}/manifest.json` };
  await server.client().send(new PutObjectCommand({ ...place, Body: manifest }));
}

beforeAll(async () => {
  server = await startS3Server('moto');
  bucket = await server.newBucket();
  storage = createS3Storage(server.optionsFor(bucket));
  root = await mkdtemp(join(tmpdir(), 'holdfast-read-bucket-'));
  const lost = await openRepository(join(root, 'lost'), { create: true, now: new Date() });
  await storage.put('holdfast.json', await readFile(join(lost.root, 'holdfast.json')));
  const ages = Array.from({ length: many }, (_, index) => index + 1);
  await mapBounded(ages, 8, putListed);
  proxy = await startFlakyProxy(server.endpoint);
});

afterAll(async () => {
  await proxy?.stop();
  await server?.stop();
  await rm(root, { recursive: true, force: true });
});

describe('on a machine that took the place of a lost one, with an empty BACKUP_DIR', () => {
  it('the backups are listed; after the first time by a few requests', async () => {
    const first = await run('list_backups', ['--json']);
    expect(first.status, first.stderr).toBe(0);
    const { backups } = JSON.parse(first.stdout);
    expect(backups).toHaveLength(many);
    expect(backups[0]).toMatchObject({ stores: ['s3'], missing_in: expect.any(Array) });
    const before = proxy.requests.length;
    const second = await run('list_backups', ['--json']);
    expect(JSON.parse(second.stdout).backups).toEqual(backups);
    // A page of objects; the head, checks, base backups, and what is unfinished of either.
    expect(proxy.requests.length - before).toBeLessThanOrEqual(10);
  });

  it('a backup is verified and read whole, and what was found is kept in the bucket', async () => {
    const label = labelOf(1, 'shop');
    await writeSampleBackup(storage, { manifest: { label } });
    const restored = await run('restore_backup', ['--latest', 'shop', '--verify-only']);
    expect(restored.status, restored.stderr).toBe(0);
    expect(restored.stderr).toContain('from the store s3\n');
    const verified = await run('verify_backups', ['--latest', 'shop']);
    expect(verified.stderr).toContain(`${label} of shop in s3: verified`);
    expect(await storage.children(`checks/main/shop/${label}`)).toEqual([
      expect.stringMatching(/-verified\.json$/),
    ]);
  });
});

describe('a damaged copy on the disk', () => {
  it('is read from the bucket', async () => {
    const local = await openRepository(join(root, 'r'), { create: true, now: new Date() });
    const label = labelOf(1, 'copy');
    const manifest = { label, database: 'copied' };
    for (const store of [local.storage, storage]) await writeSampleBackup(store, { manifest });
    const path = join(local.root, 'full/main/copied', label, 'database.dump.zst');
    const bytes = await readFile(path);
    await rm(path);
    await writeFile(path, flipped(bytes));
    const outcome = await run('restore_backup', [label, '--verify-only']);
    expect(outcome.status, outcome.stderr).toBe(0);
    expect(outcome.stderr).toContain('going on with the one in s3');
    expect((await run('restore_backup', [label, '--verify-only', '--store', 'local'])).status).toBe(
      4,
    );
  });
});

describe('a prune of the bucket', () => {
  it('goes by the retention of the bucket, and leaves nothing of what it removes', async () => {
    const labels = [3, 2, 1].map((age) => labelOf(age, 'web0'));
    for (const label of labels) {
      await writeSampleBackup(storage, { manifest: { label, database: 'web' } });
    }
    const argv = ['web', '--yes', '--store', 's3'];
    const { status, stderr } = await run('prune_backups', argv, { S3_RETENTION_DAILY: '1' });
    expect(status, stderr).toBe(0);
    expect(stderr).toContain(`removed ${labels[0]} of web in s3`);
    expect(await storage.children('full/main/web')).toEqual(labels.slice(2));
    const left = (await Array.fromAsync(storage.list('full/main/web'))).flat();
    expect(left.every(({ key }) => key.includes(labels[2] ?? '?'))).toBe(true);
    expect(await storage.unfinishedFolders('full/main/web')).toEqual([]);
  });

  it('leaves what is locked, and says until when', async () => {
    const locked = await server.newBucket(true);
    const objectLock = { mode: 'GOVERNANCE', days: 30 } as const;
    const worm = createS3Storage(server.optionsFor(locked, { objectLock }));
    await worm.put('holdfast.json', await readFile(join(root, 'lost/holdfast.json')));
    for (const age of [3, 2, 1]) {
      await writeSampleBackup(worm, { manifest: { label: labelOf(age, 'lock') } });
    }
    const more = { BACKUP_BUCKET: locked, S3_RETENTION_DAILY: '1' };
    const argv = ['--yes', '--store', 's3', '--json'];
    const { status, stdout, stderr } = await run('prune_backups', argv, more);
    expect(status, stderr).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      removed: [],
      databases: [
        {
          store: 's3',
          backups: [
            { action: 'keep', reason: expect.stringContaining('retained until 20') },
            { action: 'keep', reason: expect.stringContaining(' by the store') },
            { action: 'keep', reason: expect.not.stringContaining('retained') },
          ],
        },
      ],
    });
    expect(await worm.children('full/main/shop')).toHaveLength(3);
  });
});
