/** A server that archives, its base backups, and restore_pitr.ts run as the server's user. */

import { execFile } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type DataChild, startChild } from '../../src/process/stream.ts';
import { asServerUser, makeServerFolder, spawnTakeBase, type TakenBase } from './base_backup.ts';
import { testEnvironment } from './cluster.ts';
import { type Outcome, outcomeOf } from './command.ts';
import { openWalScene, type WalScene } from './wal_scene.ts';
import { jsonOf } from './workbench.ts';

const script = join(import.meta.dirname, '../../scripts/restore_pitr.ts');

/** What restore_pitr.ts says of an error. */
export interface PitrError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export interface PitrBench extends WalScene {
  /** For data directories: the server's user owns it. */
  readonly folder: string;
  /** The port of the servers that are restored; each has a socket in its data directory. */
  readonly pitrPort: number;
  /** Takes a base backup as the server's user. */
  takeBase(): Promise<TakenBase>;
  /** Gives the whole repository to the server's user, as on a real machine. */
  handOver(): Promise<void>;
  /** Runs restore_pitr.ts. */
  restore(pgdata: string, ...flags: string[]): Promise<Outcome>;
  /** The same, to be killed. */
  spawnRestore(pgdata: string, ...flags: string[]): DataChild;
  /** It has to fail. */
  refused(pgdata: string, ...flags: string[]): Promise<PitrError & { readonly status: number }>;
  /** Runs one of the server's programs as its user. */
  program(name: string, ...args: string[]): Promise<Outcome>;
  psql(pgdata: string, sql: string): Promise<string>;
  stop(pgdata: string, mode?: 'fast' | 'immediate'): Promise<void>;
}

/** Opens one. */
export async function openPitrBench(pitrPort: number): Promise<PitrBench> {
  const scene = await openWalScene();
  const { cluster, bench } = scene;
  const folder = await makeServerFolder(cluster);
  const { osUser } = cluster;
  const argumentsOf = (pgdata: string, flags: readonly string[]) => [
    ...['--pgdata', pgdata, ...flags],
    ...['--backup-dir', bench.repository, '--json'],
  ];
  const program = (name: string, ...args: string[]) =>
    asServerUser(cluster, join(cluster.binDirectory, name), args);
  const handOver = async () => {
    if (osUser === null) return;
    const owner = `${osUser.uid}:${osUser.gid}`;
    await promisify(execFile)('chown', ['-R', owner, bench.repository]);
  };
  const restore = (pgdata: string, ...flags: string[]) =>
    asServerUser(cluster, script, argumentsOf(pgdata, flags));

  return {
    ...scene,
    folder,
    pitrPort,
    handOver,
    restore,
    program,
    async takeBase() {
      const child = spawnTakeBase({ ...bench.environment, CLUSTER: scene.name });
      const outcome = await outcomeOf(child);
      if (outcome.status !== 0) throw new Error(outcome.stderr);
      await handOver();
      return jsonOf<TakenBase>(outcome);
    },
    spawnRestore(pgdata, ...flags) {
      const child = startChild(script, argumentsOf(pgdata, flags), {
        environment: testEnvironment,
        cwd: '/',
        ...(osUser === null ? {} : { user: osUser }),
      });
      child.stdin.end();
      child.stdout.resume();
      return child;
    },
    async refused(pgdata, ...flags) {
      const outcome = await restore(pgdata, ...flags);
      if (outcome.status === 0) throw new Error(`it was not refused: ${outcome.stdout}`);
      return { status: outcome.status, ...jsonOf<{ error: PitrError }>(outcome).error };
    },
    async psql(pgdata, sql) {
      const args = ['-XqAt', '-h', pgdata, '-p', String(pitrPort), '-U', 'postgres'];
      const { status, stdout, stderr } = await program('psql', ...args, '-c', sql, 'postgres');
      if (status !== 0) throw new Error(stderr);
      return stdout.trim();
    },
    async stop(pgdata, mode = 'fast') {
      const { status, stderr } = await program('pg_ctl', '-D', pgdata, '-m', mode, '-w', 'stop');
      if (status !== 0) throw new Error(stderr);
    },
    async close() {
      await scene.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
