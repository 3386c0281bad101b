import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { isRoot } from '../../src/process/user.ts';
import { installedServers, startTestCluster, testEnvironment } from '../support/cluster.ts';

const support = fileURLToPath(new URL('../support/cluster.ts', import.meta.url));

/** Whether a process runs; what has ended may stay visible until pid 1 has waited for it. */
async function runs(pid: number): Promise<boolean> {
  const { stdout } = await promisify(execFile)('ps', ['-o', 'stat=', '-p', String(pid)]).catch(
    () => ({ stdout: '' }),
  );
  return stdout !== '' && !stdout.startsWith('Z');
}

/** Starts a process that starts a cluster, tells its pid and folder, and waits. */
async function startOwner() {
  const program = `
    import { startTestCluster } from ${JSON.stringify(support)};
    const cluster = await startTestCluster();
    process.on('SIGINT', async () => { await cluster.stop(); process.exit(130); });
    console.log(JSON.stringify({ pid: await cluster.pid(), folder: cluster.dataDirectory }));
  `;
  const owner = spawn(process.execPath, ['--input-type=module-typescript', '--eval', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env },
    detached: true,
  });
  const [line] = (await once(owner.stdout, 'data')) as [Buffer];
  const told = JSON.parse(line.toString()) as { pid: number; folder: string };
  return { owner, ...told };
}

describe('a scratch cluster', () => {
  it('runs in a private folder, and leaves nothing when it is stopped', async () => {
    const cluster = await startTestCluster();
    const pid = await cluster.pid();
    const base = dirname(cluster.dataDirectory);
    const { mode, uid } = statSync(base);
    expect(mode & 0o777).toBe(0o700);
    if (isRoot()) expect(uid).toBe(cluster.osUser?.uid);
    if (isRoot()) expect(uid).not.toBe(0);
    const [row] = await cluster.sql(
      "SELECT current_setting('listen_addresses') AS addresses, current_setting('server_encoding') AS encoding",
    );
    expect(row).toEqual({ addresses: '', encoding: 'UTF8' });
    expect(await cluster.logTail()).toContain('ready to accept connections');
    const client = new pg.Client(cluster.connectionUrl());
    await client.connect();
    await client.end();
    await cluster.stop();
    expect(await runs(pid)).toBe(false);
    expect(existsSync(base)).toBe(false);
  });

  it('takes every installed version, and settings of the caller', async () => {
    for (const { major, binDirectory } of await installedServers()) {
      const settings = { application_name: "it's C:\\x", work_mem: '7MB' };
      const cluster = await startTestCluster({ binDirectory, settings });
      expect(cluster.major).toBe(major);
      const [row] = await cluster.sql(
        "SELECT setting FROM pg_settings WHERE name = 'work_mem' AND sourcefile IS NOT NULL",
      );
      expect(row).toEqual({ setting: '7168' });
      await cluster.stop();
    }
  });

  it('listens on the loopback with a password, when asked to', async () => {
    const cluster = await startTestCluster({ tcp: true });
    try {
      const client = new pg.Client(cluster.tcpUrl());
      await client.connect();
      expect((await client.query('SHOW password_encryption')).rows).toEqual([
        { password_encryption: 'scram-sha-256' },
      ]);
      await client.end();
      const url = cluster.tcpUrl().replace(/:[^:@]*@/, ':wrong@');
      await expect(new pg.Client(url).connect()).rejects.toMatchObject({ code: '28P01' });
      expect(readdirSync(dirname(cluster.dataDirectory))).not.toContain('password');
    } finally {
      await cluster.stop();
    }
  });

  it('keeps its socket reachable from a folder whose path is too long for one', async () => {
    const parent = mkdtempSync(join(tmpdir(), `${'long '.repeat(18)}-`));
    chmodSync(parent, 0o755);
    const cluster = await startTestCluster({ directory: parent });
    const { socketDirectory, dataDirectory } = cluster;
    expect(dataDirectory.startsWith(parent)).toBe(true);
    expect(await cluster.sql('SELECT 1 AS one')).toEqual([{ one: 1 }]);
    await cluster.stop();
    expect(existsSync(socketDirectory)).toBe(false);
    expect(readdirSync(parent)).toEqual([]);
    rmSync(parent, { recursive: true });
  });

  it('comes back after a crash with what was committed', async () => {
    const cluster = await startTestCluster();
    await cluster.sql('CREATE TABLE kept AS SELECT 1 AS one');
    const pid = await cluster.pid();
    await cluster.kill9();
    expect(await runs(pid)).toBe(false);
    await expect(cluster.pid()).rejects.toThrow('does not run');
    await cluster.restart();
    expect(await cluster.sql('SELECT one FROM kept')).toEqual([{ one: 1 }]);
    await cluster.restart();
    expect(await cluster.pid()).not.toBe(pid);
    await cluster.stop({ immediate: true });
  });

  it('tells in the words of the server why it does not start, and leaves nothing', async () => {
    const parent = mkdtempSync(join(tmpdir(), 'holdfast-parent-'));
    chmodSync(parent, 0o755);
    const settings = { shared_buffers: 'plenty' };
    const error = await startTestCluster({ directory: parent, settings }).catch((e) => e);
    expect(error.code).toBe('CHILD_FAILED');
    expect(error.message).toContain('shared_buffers');
    expect(readdirSync(parent)).toEqual([]);
    rmSync(parent, { recursive: true });
  });

  it('gives up the start when it is interrupted, and leaves nothing', async () => {
    const parent = mkdtempSync(join(tmpdir(), 'holdfast-parent-'));
    chmodSync(parent, 0o755);
    const controller = new AbortController();
    const options = { directory: parent, signal: controller.signal, environment: testEnvironment };
    const starting = startTestCluster(options).catch((e) => e);
    setTimeout(() => controller.abort(), 150);
    expect((await starting).code).toBe('INTERRUPTED');
    expect(readdirSync(parent)).toEqual([]);
    rmSync(parent, { recursive: true });
  });
});

describe('a scratch cluster whose owner dies', () => {
  it('without a word is gone soon after', async () => {
    const { owner, pid, folder } = await startOwner();
    expect(await runs(pid)).toBe(true);
    owner.kill('SIGKILL');
    await expect
      .poll(() => runs(pid) || existsSync(dirname(folder)), { timeout: 10_000 })
      .toBe(false);
  });

  it('by Ctrl-C, which reaches its whole process group, is gone too', async () => {
    const { owner, pid, folder } = await startOwner();
    process.kill(-(owner.pid ?? 0), 'SIGINT');
    const [status] = (await once(owner, 'exit')) as [number];
    expect(status).toBe(130);
    expect(await runs(pid)).toBe(false);
    expect(existsSync(dirname(folder))).toBe(false);
  });
});
