/**
 * The README's three lines for a copy off the machine, and the guide's for a machine that is gone,
 * typed as they stand. Only the names differ: the bucket, the file of settings, the server's key.
 */

import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import { type CommandName, type Outcome, runCommand } from '../support/command.ts';
import { readRunbook } from '../support/runbook.ts';
import { type S3Server, startS3Server } from '../support/s3_server.ts';

let cluster: TestCluster;
let server: S3Server;
let bucket: string;
let folder: string;

beforeAll(async () => {
  [cluster, server] = await Promise.all([startTestCluster(), startS3Server('moto')]);
  bucket = await server.newBucket();
  folder = await mkdtemp(join(tmpdir(), 'holdfast-off-site-'));
  await cluster.sql('CREATE DATABASE mastertrade');
  await cluster.sql('CREATE TABLE t AS SELECT generate_series(1, 100) AS i', 'mastertrade');
}, 300_000);

afterAll(async () => {
  await server?.stop();
  await cluster?.stop({ immediate: true });
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

/** A machine with a file of settings and a folder for backups of its own. */
function machine(name: string) {
  const envFile = join(folder, `${name}.env`);
  const environment = {
    ...cluster.environment(),
    BACKUP_DIR: join(folder, name),
    MIN_DISK_SPACE_GB: '0',
    AWS_ENDPOINT_URL_S3: server.endpoint,
    AWS_ACCESS_KEY_ID: server.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
  };
  /** Types one line: what goes into `.env` goes into its file, and a command runs. */
  return async (line: string): Promise<Outcome> => {
    const settings = /^printf '%s\\n' (.*) >> \.env$/.exec(line)?.[1];
    if (settings !== undefined) {
      const lines = settings.replace('acme-backups', bucket).split(' ');
      await appendFile(envFile, `${lines.join('\n')}\n`, { mode: 0o600 });
      return { status: 0, stdout: '', stderr: '' };
    }
    const [, script, words = ''] = /^scripts\/(\w+)\.ts ?(.*)$/.exec(line) ?? [];
    const argv = [...words.split(' ').filter((word) => word !== ''), '--env-file', envFile];
    return runCommand(script as CommandName, argv, { environment, typed: 'yes' });
  };
}

describe('a copy off the machine', () => {
  it('is there after the three lines of the README, and back on a new machine', async () => {
    const [lines = []] = readRunbook('README.md').take('A copy off the machine in three lines');
    expect(lines).toHaveLength(3);
    const first = machine('first');
    const told: string[] = [];
    for (const line of lines) {
      const outcome = await first(line);
      expect(outcome.status, `${line}\n${outcome.stderr}`).toBe(0);
      told.push(outcome.stdout + outcome.stderr);
    }
    expect(told[1]).toMatch(/ok +store +s3: .* delete work/);
    expect(told[2]).toContain('in "local" and "s3"');

    await cluster.sql('DROP DATABASE mastertrade');
    await rm(join(folder, 'first'), { recursive: true });
    const second = machine('second');
    const [again = []] = readRunbook('docs/guides/s3.md').take('The machine is gone');
    for (const line of [lines[0] ?? '', ...again]) {
      const outcome = await second(line);
      expect(outcome.status, `${line}\n${outcome.stderr}`).toBe(0);
    }
    const [row] = await cluster.sql('SELECT count(*)::int AS rows FROM t', 'mastertrade');
    expect(row).toEqual({ rows: 100 });
  });
});
