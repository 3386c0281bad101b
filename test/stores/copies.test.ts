/** A backup into BACKUP_DIR and a bucket in one pass, and a bucket that hangs in the middle. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createS3Storage } from '../../src/storage/s3.ts';
import type { Storage } from '../../src/storage/storage.ts';
import { keysOf } from '../contract/storage_support.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { outcomeOf, spawnCommand } from '../support/command.ts';
import { type ToldBackup, writeStores } from '../support/copies_scene.ts';
import { type FlakyProxy, startFlakyProxy } from '../support/flaky_proxy.ts';
import { type S3Server, startS3Server } from '../support/s3_server.ts';
import { jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let moto: S3Server;
let proxy: FlakyProxy;
let cluster: TestCluster;
let bench: Workbench;
let folder: string;

beforeAll(async () => {
  moto = await startS3Server('moto');
  proxy = await startFlakyProxy(moto.endpoint);
  cluster = await startTestCluster();
  await cluster.sql('CREATE TABLE t AS SELECT i, md5(i::text) FROM generate_series(1, 20000) AS i');
  bench = await openWorkbench(cluster);
  folder = await mkdtemp(join(tmpdir(), 'holdfast-copies-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await bench?.remove();
  await cluster?.stop({ immediate: true });
  await proxy?.stop();
  await moto?.stop();
});

/** A new bucket, how the commands are told of it, and what looks into it. */
async function openBucket() {
  const bucket = await moto.newBucket();
  const environment = {
    AWS_ACCESS_KEY_ID: moto.accessKeyId,
    AWS_SECRET_ACCESS_KEY: moto.secretAccessKey,
    AWS_ENDPOINT_URL_S3: proxy.endpoint,
    AWS_REGION: 'us-east-1',
    BACKUP_DIR: join(folder, bucket),
  };
  return { bucket, environment, storage: createS3Storage(moto.optionsFor(bucket)) };
}

async function backUp(
  status: number,
  environment: Readonly<Record<string, string>>,
  ...flags: string[]
): Promise<ToldBackup> {
  const outcome = await bench.run('backup_full', ['postgres', '--json', ...flags], { environment });
  expect(outcome.status, outcome.stderr).toBe(status);
  const [told] = jsonOf<{ databases: ToldBackup[] }>(outcome).databases;
  if (told === undefined) throw new Error('no database is told');
  return told;
}

/** What lies in a bucket below a folder is what lies there in BACKUP_DIR. */
async function expectSame(storage: Storage, local: string, key: string): Promise<void> {
  const names = readdirSync(join(local, key)).sort();
  expect(await keysOf(storage, key)).toEqual(names.map((name) => `${key}/${name}`));
  for (const name of names) {
    const stored = await buffer(await storage.get(`${key}/${name}`));
    expect(stored.equals(readFileSync(join(local, key, name))), name).toBe(true);
  }
}

describe('BACKUP_DIR and a bucket', () => {
  it('hold the same bytes after one pass, and the bucket alone does without a local copy', async () => {
    const { bucket, environment, storage } = await openBucket();
    const settings = { ...environment, BACKUP_BUCKET: bucket };
    const both = await backUp(0, settings);
    expect(both.stores).toMatchObject([
      { name: 'local', status: 'stored' },
      { name: 's3', status: 'stored', required: true },
    ]);
    await expectSame(storage, environment.BACKUP_DIR, both.folder);
    const elsewhere = join(folder, 'state only');
    const away = { ...settings, BACKUP_DIR: elsewhere, LOCAL_COPY: 'false' };
    const alone = await backUp(0, away, '--max-rate', '100');
    expect(alone.stores).toMatchObject([{ name: 's3', status: 'stored' }]);
    expect(existsSync(join(elsewhere, 'full'))).toBe(false);
    expect(await keysOf(storage, alone.folder)).toContain(`${alone.folder}/manifest.json`);
  });

  it('go on by themselves when the bucket hangs, and the next run brings it what it lacks', async () => {
    const { bucket, environment, storage } = await openBucket();
    const config = join(folder, 'holdfast.yaml');
    const hanging = { bucket, stall_seconds: 2, required: false };
    await writeStores(config, { cloud: hanging });
    proxy.setScript(({ path, method }) =>
      method !== 'GET' && path.includes('database.dump') ? { kind: 'hang' } : null,
    );
    const missed = await backUp(0, environment, '--config', config);
    expect(missed.stores).toMatchObject([
      { name: 'local', status: 'stored' },
      { name: 'cloud', status: 'missing', error: { code: 'STORE_UNREACHABLE' } },
    ]);
    expect(missed.warnings.join('\n')).toContain('the store "cloud" does not have this backup');
    proxy.setScript(() => null);
    await writeStores(config, { cloud: { bucket } });
    // The upload that hung takes its time to be given up; until then it counts as being written.
    let next = await backUp(0, environment, '--config', config);
    for (let tries = 0; next.older_copies.copied.length === 0 && tries < 20; tries += 1) {
      await sleep(500);
      next = await backUp(0, environment, '--config', config);
    }
    expect(next.older_copies).toMatchObject({
      copied: [{ store: 'cloud', label: missed.label }],
      lacking: [],
    });
    for (const told of [missed, next]) {
      await expectSame(storage, environment.BACKUP_DIR, told.folder);
    }
  });

  it('go on where the last process ended, which had not even heard that its folder was begun', async () => {
    const { bucket, environment, storage } = await openBucket();
    const config = join(folder, 'begun.yaml');
    await writeStores(config, { cloud: { bucket, stall_seconds: 2, required: false } });
    const takeBackup = async () => {
      const argv = ['postgres', '--json', '--config', config];
      const own = { environment: { ...bench.environment, ...environment } };
      const outcome = await outcomeOf(spawnCommand('backup_full', argv, own));
      expect(outcome.status, outcome.stderr).toBe(0);
      return jsonOf<{ databases: [ToldBackup] }>(outcome).databases[0];
    };
    let marks = 0;
    proxy.setScript(({ path, method }) => {
      if (method !== 'PUT' || !/-daily-[^/?]+\.partial(\?|$)/.test(path)) return null;
      marks += 1;
      return marks === 1 ? null : { kind: 'hang' };
    });
    const missed = await takeBackup();
    expect(missed.stores[1]).toMatchObject({ status: 'missing' });
    expect(await storage.unfinishedFolders('full')).toHaveLength(1);
    proxy.setScript(() => null);
    const next = await takeBackup();
    expect(next.older_copies, JSON.stringify(next)).toMatchObject({
      copied: [{ store: 'cloud', label: missed.label }],
      lacking: [],
    });
    await expectSame(storage, environment.BACKUP_DIR, missed.folder);
    expect(await storage.unfinishedFolders('')).toEqual([]);
  });
});
