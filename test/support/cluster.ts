/** Scratch clusters for tests, and connections to them. */

import pg from 'pg';
import {
  type ScratchCluster,
  type ScratchClusterOptions,
  startScratchCluster,
} from '../../src/postgres/cluster.ts';
import { listTools } from '../../src/postgres/tools.ts';
import { compileCache } from './compile_cache.ts';
import { memoryFolder } from './memory_folder.ts';

export interface TestCluster extends ScratchCluster {
  /** A new connection; it is closed with the cluster at the latest. */
  connect(database?: string, role?: string): Promise<pg.Client>;
  /**
   * Runs a statement, or several one by one, in a connection of their own; gives the rows of the
   * last one.
   */
  sql(
    text: string | readonly string[],
    database?: string,
    role?: string,
  ): Promise<Record<string, unknown>[]>;
}

/** What the programs of a test inherit. */
export const testEnvironment: Readonly<Record<string, string>> = {
  PATH: process.env.PATH ?? '/usr/bin:/bin',
  LC_ALL: 'C',
  ...compileCache,
};

/** Every major version whose server is installed here, lowest first, with its folder. */
export async function installedServers(): Promise<{ major: number; binDirectory: string }[]> {
  const tools = await listTools({ program: 'initdb', environment: testEnvironment });
  const byMajor = new Map(tools.map((tool) => [tool.major, tool.directory]));
  return [...byMajor]
    .map(([major, binDirectory]) => ({ major, binDirectory }))
    .sort((a, b) => a.major - b.major);
}

/** Starts a cluster with fast settings; `stop()` ends its connections too. */
export async function startTestCluster(
  options: Partial<ScratchClusterOptions> = {},
): Promise<TestCluster> {
  const cluster = await startScratchCluster({
    environment: testEnvironment,
    fast: true,
    ...(memoryFolder === null ? {} : { directory: memoryFolder }),
    ...options,
  });
  const clients = new Set<pg.Client>();

  async function connect(database = 'postgres', role = 'postgres'): Promise<pg.Client> {
    const { socketDirectory: host, port } = cluster;
    const client = new pg.Client({ host, port, user: role, database });
    // A server that a test kills is no fault of the test's own connection.
    client.on('error', () => undefined);
    await client.connect();
    clients.add(client);
    client.once('end', () => clients.delete(client));
    return client;
  }

  return {
    ...cluster,
    connect,
    async sql(text, database, role) {
      const client = await connect(database, role);
      try {
        let rows: Record<string, unknown>[] = [];
        for (const statement of [text].flat()) rows = (await client.query(statement)).rows ?? [];
        return rows;
      } finally {
        await client.end();
      }
    },
    async stop(stopOptions) {
      await Promise.allSettled([...clients].map((client) => client.end()));
      await cluster.stop(stopOptions);
    },
  };
}
