/** What the groups of the physical side share: a server that archives, its user, and the peers. */

import { execFile } from 'node:child_process';
import { chown, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { quoteLiteral, shellQuote } from '../src/core/quote.ts';
import { markersFolder } from '../src/operations/wal_markers.ts';
import type { ScratchCluster } from '../src/postgres/cluster.ts';
import { connect } from '../src/postgres/connection.ts';
import { execute, queryOne } from '../src/postgres/query.ts';
import { findProgram } from '../src/process/find_program.ts';
import { timeScript } from './measure.ts';
import type { Scene } from './scene.ts';

/** Ours and the peer's: what a backup is compressed with, and what a segment of the WAL is. */
export const baseLevel = 3;
export const walLevel = 1;
/** As many threads of ours as processes of the peer. */
export const threads = 2;

/** pgBackRest with a repository and a configuration of its own. */
export interface PgBackRest {
  /** Its version as it tells it. */
  readonly version: string;
  /** A call of it as words for a shell, as the user of the server. */
  call(...args: readonly string[]): string;
  /** The archive_command. @param isAsync with a process that looks ahead */
  archiveCommand(isAsync: boolean): string;
  /** The restore_command, with a process that looks ahead. @param pgdata that recovers */
  restoreCommand(pgdata: string): string;
  /** An empty repository. */
  begin(): Promise<void>;
  /** Forgets what was fetched ahead. */
  forgetSpool(): Promise<void>;
  readonly repository: string;
}

/** A server whose WAL is archived by whoever is measured. */
export interface Physical {
  readonly cluster: ScratchCluster;
  /** Belongs to the user of the server. */
  readonly folder: string;
  /** Our repository. */
  readonly repository: string;
  /** Of every program: libpq finds the server, our commands the repository. */
  readonly environment: Readonly<Record<string, string>>;
  /** Our archive_command. */
  readonly ourArchiveCommand: string;
  /** `null`: it is not installed. */
  readonly pgBackRest: PgBackRest | null;
  /** Words for a shell that run as the user of the server. */
  asServer(words: string): string;
  /** One of our commands in this repository, as the user of the server. */
  ours(command: string, ...args: readonly string[]): string;
  /** Runs a script that is not measured. */
  prepare(text: string): Promise<void>;
  /** Removes what our archive holds, and what says so; the claim stays. */
  forgetWal(): Promise<void>;
  systemIdentifier(): Promise<string>;
  /** The folder of the cluster in our repository. */
  ourFolder(): Promise<string>;
  /** Hands the WAL to this command from now on; the server has heard of it. */
  archiveWith(command: string): Promise<void>;
  sql(...statements: readonly string[]): Promise<void>;
  /** The first column of the first row, as text. */
  value(statement: string): Promise<string>;
}

const settleMs = 200;

/** What is asked of a scene's server before it archives. */
export const archivingSettings: Readonly<Record<string, string>> = {
  archive_mode: 'on',
  archive_command: 'true',
};

function asServerUser({ osUser }: ScratchCluster): (words: string) => string {
  if (osUser === null) return (words) => words;
  const { uid, gid } = osUser;
  return (words) => `setpriv --reuid=${uid} --regid=${gid} --clear-groups ${words}`;
}

/** Makes a folder that the user of the server may write into. */
export async function makeServerFolder(cluster: ScratchCluster, path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  if (cluster.osUser !== null) await chown(path, cluster.osUser.uid, cluster.osUser.gid);
  return path;
}

/** Its configuration: the codec and the levels are ours, and nothing of this machine is read. */
function configuration(cluster: ScratchCluster, folder: string): string {
  const { dataDirectory, socketDirectory, port } = cluster;
  return [
    '[global]',
    `repo1-path=${join(folder, 'repo')}`,
    `log-path=${join(folder, 'log')}`,
    `lock-path=${join(folder, 'lock')}`,
    `spool-path=${join(folder, 'spool')}`,
    'log-level-console=error',
    'log-level-file=off',
    'compress-type=zst',
    `compress-level=${baseLevel}`,
    // Many small files in one: the fastest way that it has (2.39 and newer).
    'repo1-bundle=y',
    'repo1-retention-full=9',
    'start-fast=y',
    '[global:archive-push]',
    `compress-level=${walLevel}`,
    '[bench]',
    `pg1-path=${dataDirectory}`,
    `pg1-socket-path=${socketDirectory}`,
    `pg1-port=${port}`,
    'pg1-user=postgres',
    '',
  ].join('\n');
}

async function openPgBackRest(scene: Scene, cluster: ScratchCluster, parent: string) {
  const { environment, signal } = scene;
  const program = await findProgram('pgbackrest', environment);
  if (program === null) {
    scene.tell(
      'pgbackrest is not installed (Debian: apt-get install pgbackrest): its rows are left out',
    );
    return null;
  }
  const { stdout } = await promisify(execFile)(program, ['version']);
  const folder = await makeServerFolder(cluster, join(parent, 'pgbackrest'));
  const config = join(folder, 'pgbackrest.conf');
  await writeFile(config, configuration(cluster, folder), { mode: 0o644 });
  const words = [program, `--config=${config}`, '--stanza=bench'].map(shellQuote).join(' ');
  const asServer = asServerUser(cluster);
  const isAsync = '--archive-async --process-max=2';
  const renew = async (name: string) => {
    await rm(join(folder, name), { recursive: true, force: true });
    await makeServerFolder(cluster, join(folder, name));
  };
  const peer: PgBackRest = {
    version: stdout.trim(),
    repository: join(folder, 'repo'),
    call: (...args) => asServer([words, ...args.map(shellQuote)].join(' ')),
    archiveCommand: (asynchronous) =>
      `${words} ${asynchronous ? `${isAsync} ` : ''}archive-push "%p"`,
    restoreCommand: (pgdata) =>
      `${words} ${isAsync} --pg1-path=${shellQuote(pgdata)} archive-get %f "%p"`,
    forgetSpool: () => renew('spool'),
    async begin() {
      for (const name of ['repo', 'spool', 'lock', 'log']) await renew(name);
      await timeScript({ text: peer.call('stanza-create'), environment, signal });
    },
  };
  return peer;
}

/** Switches our archiving on as an operator does; gives the command that the server then has. */
async function installOurs(physical: Omit<Physical, 'ourArchiveCommand'>): Promise<string> {
  await physical.prepare(
    physical.ours('setup_archiving.ts', 'install', '--force', '--yes', '--quiet'),
  );
  return physical.value('SHOW archive_command');
}

/**
 * Makes a server ready that was started with {@link archivingSettings}, or is restarted with them
 * here.
 *
 * @param name of the folder below the scene's
 */
export async function openPhysical(
  scene: Scene,
  cluster: ScratchCluster,
  name: string,
): Promise<Physical> {
  const folder = await makeServerFolder(cluster, join(scene.folder, name));
  const repository = await makeServerFolder(cluster, join(folder, 'repository'));
  const environment = {
    ...scene.environment,
    ...cluster.environment(),
    BACKUP_DIR: repository,
    // The caller's may be closed to the user of the server.
    TMPDIR: folder,
    THREADS: String(threads),
    COMPRESSION_LEVEL: String(baseLevel),
    WAL_COMPRESSION_LEVEL: String(walLevel),
  };
  const asServer = asServerUser(cluster);

  async function withClient<T>(work: (client: Awaited<ReturnType<typeof connect>>) => Promise<T>) {
    const client = await connect(cluster.parameters('postgres'), {
      applicationName: 'holdfast bench',
    });
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }
  const sql = (...statements: readonly string[]) =>
    withClient(async (client) => {
      for (const statement of statements) await execute(client, statement);
    });
  const value = (statement: string) =>
    withClient(async (client) => {
      const row = await queryOne<Record<string, unknown>>(client, statement);
      return String(Object.values(row)[0]);
    });

  if ((await value('SHOW archive_mode')) !== 'on') {
    await sql("ALTER SYSTEM SET archive_mode = 'on'", "ALTER SYSTEM SET archive_command = 'true'");
    await cluster.restart();
  }
  const systemIdentifier = () => value('SELECT system_identifier::text FROM pg_control_system()');
  const ourFolder = async () => join(repository, 'incremental', await systemIdentifier());

  const physical = {
    cluster,
    folder,
    repository,
    environment,
    pgBackRest: await openPgBackRest(scene, cluster, folder),
    asServer,
    ours: (command: string, ...args: readonly string[]) => asServer(scene.ours(command, ...args)),
    async prepare(text: string) {
      await timeScript({ text, environment, signal: scene.signal });
    },
    async archiveWith(command: string) {
      await sql(
        `ALTER SYSTEM SET archive_command = ${quoteLiteral(command)}`,
        'SELECT pg_reload_conf()',
      );
      while ((await value('SHOW archive_command')) !== command) await sleep(settleMs);
      await sleep(settleMs);
    },
    systemIdentifier,
    ourFolder,
    async forgetWal() {
      const archive = join(await ourFolder(), 'wal');
      for (const name of await readdir(archive)) {
        if (name !== 'claim.json') await rm(join(archive, name), { recursive: true });
      }
      const markers = markersFolder(join(repository, 'state'), await systemIdentifier());
      await rm(markers, { recursive: true, force: true });
    },
    sql,
    value,
  };
  return { ...physical, ourArchiveCommand: await installOurs(physical) };
}
