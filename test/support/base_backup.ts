/** Base backups in tests: as a command of their own, and the clusters that restore.sh makes. */

import { execFile } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import type { Command } from '../../src/cli/command.ts';
import { executeCommand } from '../../src/cli/execute.ts';
import { needRepository } from '../../src/cli/open_context.ts';
import type { BaseManifest } from '../../src/core/base_manifest.ts';
import { takeBaseBackup } from '../../src/operations/base/base_backup.ts';
import { resolveConnection } from '../../src/postgres/connection.ts';
import { type DataChild, startChild } from '../../src/process/stream.ts';
import { type TestCluster, testEnvironment } from './cluster.ts';
import type { Outcome } from './command.ts';

/** `take_base.ts [full|incremental]`: what backup_incremental.ts calls, alone. */
export const takeBase: Command = {
  name: 'take_base.ts',
  operands: '[full|incremental]',
  summary: 'Takes a base backup.',
  settings: [],
  examples: [],
  repository: 'create',
  run: async ({ context: opened, operands }) => {
    const context = needRepository(opened);
    const { config } = context;
    const target = await resolveConnection({ config, fallbackDatabase: 'postgres' });
    const mode = operands[0] === 'incremental' ? 'incremental' : 'full';
    const result = await takeBaseBackup(context, { target, mode, waitMs: 0 });
    return { status: 0, json: result };
  },
};

/** What {@link takeBase} tells with `--json`. */
export interface TakenBase {
  readonly manifest: BaseManifest;
  readonly folder: string;
  readonly warnings: readonly string[];
  readonly fullInstead: string | null;
}

function collect() {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY: false }), text: () => text };
}

/** Takes a base backup in this process. */
export async function runTakeBase(
  environment: Readonly<Record<string, string>>,
  mode: 'full' | 'incremental' = 'full',
  flags: readonly string[] = [],
): Promise<Outcome> {
  const [stdout, stderr] = [collect(), collect()];
  const status = await executeCommand(takeBase, {
    argv: [mode, '--json', ...flags],
    environment: { PATH: testEnvironment.PATH ?? '', HOME: '/nonexistent', ...environment },
    cwd: '/',
    stdin: Object.assign(Readable.from([]), { isTTY: false }),
    stdout: stdout.stream,
    stderr: stderr.stream,
    signal: new AbortController().signal,
  });
  return { status, stdout: stdout.text(), stderr: stderr.text() };
}

/** The same as a program of its own, to be killed. */
export function spawnTakeBase(
  environment: Readonly<Record<string, string>>,
  mode: 'full' | 'incremental' = 'full',
): DataChild {
  const script = join(import.meta.dirname, 'take_base_child.ts');
  const child = startChild(process.execPath, [script, mode, '--json'], {
    environment: { PATH: testEnvironment.PATH ?? '', HOME: '/nonexistent', ...environment },
  });
  child.stdin.end();
  return child;
}

/** A folder for data directories that the server's user owns. */
export async function makeServerFolder(cluster: TestCluster): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-pgdata-'));
  await chmod(folder, 0o755);
  if (cluster.osUser !== null) await chown(folder, cluster.osUser.uid, cluster.osUser.gid);
  return folder;
}

/** A copy of a backup that the server's user can read. @returns the path of its folder */
export async function copyBackup(folder: string, below: string): Promise<string> {
  const copy = join(below, basename(folder));
  await mkdir(copy, { recursive: true });
  await chmod(below, 0o755);
  await chmod(copy, 0o755);
  for (const file of await readdir(folder)) {
    await writeFile(join(copy, file), await readFile(join(folder, file)), { mode: 0o644 });
  }
  return copy;
}

/** Runs a program as the user that the server runs as. */
export function asServerUser(
  cluster: TestCluster,
  program: string,
  args: readonly string[],
): Promise<Outcome> {
  const { osUser } = cluster;
  const who = osUser === null ? {} : { uid: osUser.uid, gid: osUser.gid };
  return new Promise((resolve) => {
    execFile(
      program,
      [...args],
      { env: { ...testEnvironment }, cwd: '/', maxBuffer: 64 * 1024 * 1024, ...who },
      (error, stdout, stderr) => {
        const code = (error as { code?: unknown } | null)?.code;
        const status = error === null ? 0 : typeof code === 'number' ? code : -1;
        resolve({ status, stdout, stderr });
      },
    );
  });
}

/** A server on a data directory that was restored, reached through a socket in its folder. */
export interface RestoredServer {
  query(sql: string, database?: string): Promise<string>;
  stop(): Promise<void>;
}

/** Starts a server on a data directory. @throws Error with the server's log */
export async function startRestored(
  cluster: TestCluster,
  pgdata: string,
  socket: string,
): Promise<RestoredServer> {
  const bin = (name: string) => join(cluster.binDirectory, name);
  const log = `${pgdata}.log`;
  const options = `-c unix_socket_directories='${socket}' -c listen_addresses= -c port=5439 -c fsync=off`;
  const pgCtl = (...args: string[]) =>
    asServerUser(cluster, bin('pg_ctl'), ['--pgdata', pgdata, ...args]);
  const started = await pgCtl(
    '--wait',
    '--timeout=120',
    '--log',
    log,
    '--options',
    options,
    'start',
  );
  if (started.status !== 0) {
    const { stdout } = await asServerUser(cluster, 'cat', [log]);
    throw new Error(`${started.stdout}${started.stderr}${stdout}`);
  }
  return {
    async query(sql, database = 'postgres') {
      const args = [
        '-XqAt',
        '-h',
        socket,
        '-p',
        '5439',
        '-U',
        'postgres',
        '-d',
        database,
        '-c',
        sql,
      ];
      const { status, stdout, stderr } = await asServerUser(cluster, bin('psql'), args);
      if (status !== 0) throw new Error(stderr);
      return stdout.trimEnd();
    },
    async stop() {
      await pgCtl('--mode=immediate', 'stop');
      await rm(log, { force: true });
    },
  };
}

/** Gives the pages of a cluster checksums, where they have none: the server is stopped for it. */
export async function enableChecksums(cluster: TestCluster): Promise<void> {
  const [row] = await cluster.sql('SHOW data_checksums');
  if (row?.data_checksums === 'on') return;
  const pgdata = ['--pgdata', cluster.dataDirectory];
  const run = async (program: string, ...args: string[]) => {
    const path = join(cluster.binDirectory, program);
    const { status, stderr } = await asServerUser(cluster, path, [...pgdata, ...args]);
    if (status !== 0) throw new Error(`${program}: ${stderr}`);
  };
  await run('pg_ctl', '--mode=fast', '--wait', 'stop');
  await run('pg_checksums', '--enable', '--no-sync');
  await cluster.restart();
}
