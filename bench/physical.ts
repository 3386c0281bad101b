/** What the groups of the physical side share: a server that archives, its user, and the peers. */

import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { quoteLiteral } from '../src/core/quote.ts';
import { markersFolder } from '../src/operations/archiving/wal_markers.ts';
import type { ScratchCluster } from '../src/postgres/cluster.ts';
import { connect } from '../src/postgres/connection.ts';
import { execute, queryOne } from '../src/postgres/query.ts';
import { baseLevel, threads, walLevel } from './codec.ts';
import { timeScript } from './measure.ts';
import { openPgBackRest, type PgBackRest } from './pgbackrest.ts';
import type { Scene } from './scene.ts';
import { asServerUser, makeServerFolder } from './server_user.ts';

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

const settings: Readonly<Record<string, string>> = {
  THREADS: String(threads),
  COMPRESSION_LEVEL: String(baseLevel),
  WAL_COMPRESSION_LEVEL: String(walLevel),
};

/** What is asked of a scene's server before it archives. */
export const archivingSettings: Readonly<Record<string, string>> = {
  archive_mode: 'on',
  archive_command: 'true',
};

/** Statements for the server, each time in a session of its own: it is restarted in between. */
function queries(cluster: ScratchCluster): Pick<Physical, 'sql' | 'value'> {
  type Client = Awaited<ReturnType<typeof connect>>;
  async function withClient<T>(work: (client: Client) => Promise<T>): Promise<T> {
    const name = { applicationName: 'holdfast bench' };
    const client = await connect(cluster.parameters('postgres'), name);
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  }
  return {
    sql: (...statements) =>
      withClient(async (client) => {
        for (const statement of statements) await execute(client, statement);
      }),
    value: (statement) =>
      withClient(async (client) => {
        const row = await queryOne<Record<string, unknown>>(client, statement);
        return String(Object.values(row)[0]);
      }),
  };
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
    ...settings,
    BACKUP_DIR: repository,
    // The caller's may be closed to the user of the server.
    TMPDIR: folder,
    // As in that user's crontab: compiled code is kept at home between two starts.
    HOME: folder,
  };
  const asServer = asServerUser(cluster);

  const { sql, value } = queries(cluster);
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
