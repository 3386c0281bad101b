/** Where everything is measured: a server of its own, a folder of its own, our own commands. */

import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from '../src/config/load.ts';
import { shellQuote } from '../src/core/quote.ts';
import { type ScratchCluster, startScratchCluster } from '../src/postgres/cluster.ts';
import { connect } from '../src/postgres/connection.ts';
import { execute } from '../src/postgres/query.ts';
import { databaseStatements } from './database.ts';

/** The checkout that is measured. */
const projectDir = join(import.meta.dirname, '..');

/** What every measurement needs. */
export interface Scene {
  readonly cluster: ScratchCluster;
  /** For dumps and repositories; removed at the end. */
  readonly folder: string;
  /** The environment of every program: libpq finds the server, nothing else is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** Hears what is going on. */
  readonly tell: (text: string) => void;
  /** One of our commands as words for a shell; it reads no configuration of this machine. */
  ours(command: string, ...args: readonly string[]): string;
  sql(database: string, ...statements: readonly string[]): Promise<void>;
  /** Makes the database that is measured. */
  generate(database: string, scale: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts the server, with its own defaults and as safe against a crash as it comes.
 *
 * @param signal ends what runs
 * @param tell hears what is going on
 */
export async function openScene(signal: AbortSignal, tell: (text: string) => void): Promise<Scene> {
  const config = await loadConfig({
    projectDir,
    cwd: projectDir,
    flags: {},
    flagsOnly: true,
  });
  const { temp_dir: temporary } = config.settings;
  const cluster = await startScratchCluster({ environment: config.environment, signal });
  const folder = await mkdtemp(join(temporary, 'holdfast-measured-'));
  // What is measured of a whole cluster runs as the user of the server.
  if (cluster.osUser !== null) await chown(folder, cluster.osUser.uid, cluster.osUser.gid);
  const empty = join(folder, 'empty');
  await writeFile(empty, '');

  async function sql(database: string, ...statements: readonly string[]): Promise<void> {
    const parameters = cluster.parameters(database);
    const client = await connect(parameters, { applicationName: 'holdfast bench' });
    try {
      for (const statement of statements) await execute(client, statement);
    } finally {
      await client.end();
    }
  }

  return {
    cluster,
    folder,
    signal,
    tell,
    environment: {
      ...config.environment,
      ...cluster.environment(),
      PATH: `${cluster.binDirectory}:${config.environment.PATH ?? '/usr/bin:/bin'}`,
      BACKUP_DIR: join(folder, 'repository'),
      MIN_DISK_SPACE_GB: '0',
    },
    ours: (command, ...args) =>
      [join(projectDir, 'scripts', command), '--env-file', empty, '--config', empty, ...args]
        .map(shellQuote)
        .join(' '),
    sql,
    async generate(database, scale) {
      await sql('postgres', `CREATE DATABASE ${database}`);
      tell(`generating the database ${database} at scale ${scale}`);
      await sql(database, ...databaseStatements(scale));
    },
    async close() {
      await rm(folder, { recursive: true, force: true });
      await cluster.stop({ immediate: true });
    },
  };
}
