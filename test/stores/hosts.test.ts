/** Several hosts and one bucket: backups at once, prunes at once, a host that dies, a key that ends. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ListMultipartUploadsCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createS3Storage } from '../../src/storage/s3.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type Outcome, runCommand, spawnCommand } from '../support/command.ts';
import { send, until } from '../support/fault.ts';
import { type FlakyProxy, startFlakyProxy } from '../support/flaky_proxy.ts';
import { type S3Server, startS3Server } from '../support/s3_server.ts';
import { writeSampleBackup } from '../support/sample_backup.ts';
import { jsonOf } from '../support/workbench.ts';

let moto: S3Server;
let proxy: FlakyProxy;
let clusters: TestCluster[];
let folder: string;
let bucket: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-hosts-'));
  moto = await startS3Server('moto');
  proxy = await startFlakyProxy(moto.endpoint);
  clusters = await Promise.all([startTestCluster(), startTestCluster()]);
  for (const cluster of clusters) {
    await cluster.sql('CREATE DATABASE app');
    // Random bytes: what is stored is more than one part.
    await cluster.sql(
      'CREATE TABLE t AS SELECT i, uuid_send(gen_random_uuid()) AS u FROM generate_series(1, 400000) AS i',
      'app',
    );
  }
}, 300_000);

afterAll(async () => {
  for (const cluster of clusters ?? []) await cluster.stop({ immediate: true });
  await proxy?.stop();
  await moto?.stop();
  await rm(folder, { recursive: true, force: true });
});

beforeEach(async () => {
  proxy.setScript(() => null);
  bucket = await moto.newBucket();
});

/** A host with a server, and a folder of its own; its backups lie in the bucket alone. */
function host(index: number, more: Readonly<Record<string, string>> = {}) {
  const environment = {
    ...clusters[index]?.environment(),
    BACKUP_DIR: join(folder, `${bucket}-${index}`),
    MIN_DISK_SPACE_GB: '0',
    LOCAL_COPY: 'false',
    BACKUP_BUCKET: bucket,
    AWS_ENDPOINT_URL_S3: proxy.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: moto.accessKeyId,
    AWS_SECRET_ACCESS_KEY: moto.secretAccessKey,
    S3_PART_MB: '5',
    ...more,
  };
  return {
    environment,
    run: (name: Parameters<typeof runCommand>[0], ...argv: string[]): Promise<Outcome> =>
      runCommand(name, argv, { environment }),
  };
}

async function keys(): Promise<string[]> {
  const { Contents = [] } = await moto.client().send(new ListObjectsV2Command({ Bucket: bucket }));
  return Contents.map(({ Key }) => Key ?? '');
}

async function uploads(): Promise<number> {
  const listed = await moto.client().send(new ListMultipartUploadsCommand({ Bucket: bucket }));
  return listed.Uploads?.length ?? 0;
}

interface Listed {
  readonly label: string;
  readonly cluster: string;
}

async function list(from: ReturnType<typeof host>): Promise<Listed[]> {
  const outcome = await from.run('list_backups', '--json');
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<{ backups: Listed[] }>(outcome).backups;
}

function expectDone(outcomes: readonly Outcome[]): void {
  for (const { status, stderr } of outcomes) expect(status, stderr).toBe(0);
}

describe('two hosts', () => {
  it('back up databases of one name in the same second, and each restores its own', async () => {
    const [first, second] = [host(0), host(1)];
    expectDone(
      await Promise.all([first, second].map((each) => each.run('backup_full', 'app', '--quiet'))),
    );
    const listed = await list(first);
    expect(new Set(listed.map(({ cluster }) => cluster)).size).toBe(2);
    for (const [index, own] of [first, second].entries()) {
      const name = `copy_${index}`;
      const [row] =
        (await clusters[index]?.sql('SELECT system_identifier FROM pg_control_system()')) ?? [];
      const cluster = String(row?.system_identifier);
      const flags = ['--cluster', cluster, '--target-database', name, '--force', '--quiet'];
      expectDone([await own.run('restore_backup', '--latest', 'app', ...flags)]);
      const sql = 'SELECT md5(string_agg(u::text, $$$$ ORDER BY i)) AS digest FROM t';
      expect(await clusters[index]?.sql(sql, name)).toEqual(await clusters[index]?.sql(sql, 'app'));
    }
    const mixed = await first.run('restore_backup', '--latest', 'app', '--force');
    expect([mixed.status, mixed.stderr]).toEqual([2, expect.stringContaining('several clusters')]);
  });

  it('prune at once: what goes is gone for both, and what stays is whole', async () => {
    const storage = createS3Storage(moto.optionsFor(bucket));
    const labels = [6, 5, 4, 3, 2, 1].map((ageDays) => {
      const at = new Date(Date.now() - ageDays * 24 * 3_600_000).toISOString();
      return `${at.replaceAll(/[-:]|\.\d+/g, '')}-daily-host`;
    });
    const head = { format: 1, repository_id: 'r', created_at: new Date().toISOString() };
    await storage.put('holdfast.json', Buffer.from(JSON.stringify(head)));
    for (const label of labels) await writeSampleBackup(storage, { manifest: { label } });
    const flags = ['--yes', '--force', '--quiet'];
    const prunes = [0, 1].map((index) =>
      host(index, { S3_RETENTION_DAILY: '1' }).run('prune_backups', ...flags),
    );
    expectDone(await Promise.all(prunes));
    expect((await list(host(0))).map(({ label }) => label)).toEqual(labels.slice(-1));
    for (const key of await keys()) {
      expect(key).toMatch(new RegExp(`^(holdfast\\.json|.*/${labels.at(-1)}/.*)$`));
    }
    expectDone([await host(1).run('verify_backups', '--all', '--quiet')]);
  });
});

describe('a host that dies in the middle of an upload', () => {
  it('leaves no backup; the next run takes one, and a prune takes what is left', async () => {
    const victim = host(0, { S3_MAX_RATE_MB: '1' });
    const child = spawnCommand('backup_full', ['app', '--quiet'], {
      environment: victim.environment,
    });
    await until('parts on their way', async () => ((await uploads()) > 0 ? true : null), 60_000);
    send(child.pid, 'SIGKILL');
    await child.exited;
    expect(await list(host(0))).toEqual([]);
    expectDone([await host(0).run('backup_full', 'app', '--quiet')]);
    expect(await list(host(0))).toHaveLength(1);
    expectDone([await host(0).run('prune_backups', '--yes', '--quiet')]);
    expect(await uploads()).toBe(0);
    for (const key of await keys()) expect(key).not.toContain('.partial');
    expectDone([await host(0).run('verify_backups', '--all', '--quiet')]);
  });
});

describe('a key that expires in the middle', () => {
  it('ends the run with 7 and what to do; nothing of it looks like a backup', async () => {
    let parts = 0;
    const expired = { kind: 'answer', status: 400, code: 'ExpiredToken' } as const;
    proxy.setScript(({ operation }) => {
      if (operation === 'UploadPart') parts += 1;
      return parts > 1 ? expired : null;
    });
    const failed = await host(0).run('backup_full', 'app');
    expect(failed.status, failed.stderr).toBe(7);
    expect(failed.stderr).toContain('AWS_SESSION_TOKEN');
    proxy.setScript(() => null);
    expect(await list(host(0))).toEqual([]);
    expectDone([await host(0).run('backup_full', 'app', '--quiet')]);
    expect(await list(host(0))).toHaveLength(1);
  });
});
