/** Recoveries side by side: scripts/restore_pitr.ts, and a look into the server that it started. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import pg from 'pg';
import { startChild } from '../../src/process/stream.ts';
import { asServerUser, makeServerFolder } from './base_backup.ts';
import { type TestCluster, testEnvironment } from './cluster.ts';
import type { Outcome, RunOptions } from './command.ts';

/** Of every server that is restored: each has a socket in its own data directory. */
const port = 5441;

/** What restore_pitr.ts says as JSON when it has started the server. */
export interface Restored {
  readonly plan: {
    readonly label: string;
    readonly timeline: number;
    readonly first_segment: string | null;
    readonly last_segment: string | null;
  };
  readonly report: {
    readonly timeline: number;
    readonly lsn: string | null;
    readonly time: string | null;
  };
}

/** The server that was restored, as long as a test looks into it. */
export interface RecoveredServer extends Restored {
  readonly pgdata: string;
  rows(sql: string, database?: string): Promise<Record<string, unknown>[]>;
}

export interface Restorers {
  /** A new path for a data directory. */
  newFolder(): string;
  /** Runs restore_pitr.ts as the server's user, as soon as one of the processes is free. */
  run(argv: readonly string[], environment?: Readonly<Record<string, string>>): Promise<Outcome>;
  /**
   * Restores, starts, looks, and takes all of it away again.
   *
   * @throws Error with what the command says when it does not end with 0
   */
  recover<T>(flags: readonly string[], look: (server: RecoveredServer) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** One process that restores, one request after the other. */
function startOne({ osUser }: TestCluster) {
  const child = startChild(process.execPath, [join(import.meta.dirname, 'pitr_child.ts')], {
    environment: { ...testEnvironment, HOME: '/nonexistent' },
    cwd: '/',
    ...(osUser === null ? {} : { user: osUser }),
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async run(request: { readonly argv: readonly string[] } & RunOptions): Promise<Outcome> {
      child.stdin.write(`${JSON.stringify(request)}\n`);
      const { value, done } = await lines.next();
      if (done === true) throw new Error(`the process has ended: ${child.stderrTail()}`);
      return JSON.parse(value);
    },
    async close() {
      child.stdin.end();
      await child.exited;
    },
  };
}

async function stopServer(cluster: TestCluster, pgdata: string): Promise<void> {
  const pgCtl = join(cluster.binDirectory, 'pg_ctl');
  await asServerUser(cluster, pgCtl, ['--pgdata', pgdata, '--mode=immediate', 'stop']);
}

/** Starts so many processes. @param repository that of the server's user */
export async function startRestorers(
  cluster: TestCluster,
  repository: string,
  count: number,
): Promise<Restorers> {
  const folder = await makeServerFolder(cluster);
  const free = Array.from({ length: count }, () => startOne(cluster));
  const all = [...free];
  const waiting: (() => void)[] = [];
  let folders = 0;

  const newFolder = () => {
    folders += 1;
    return join(folder, `pgdata ${folders} 'é %p`);
  };

  async function run(argv: readonly string[], environment = {}): Promise<Outcome> {
    while (free.length === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    const one = free.pop();
    if (one === undefined) throw new Error('no process is free');
    try {
      return await one.run({
        argv: [...argv, '--json'],
        environment: { BACKUP_DIR: repository, ...environment },
      });
    } finally {
      free.push(one);
      waiting.shift()?.();
    }
  }

  return {
    newFolder,
    run,
    async recover(flags, look) {
      const pgdata = newFolder();
      try {
        const start = ['--start', '--port', String(port)];
        const outcome = await run(['--pgdata', pgdata, ...flags, ...start]);
        if (outcome.status !== 0) throw new Error(`status ${outcome.status}: ${outcome.stderr}`);
        return await look({
          ...(JSON.parse(outcome.stdout) as Restored),
          pgdata,
          async rows(sql, database = 'postgres') {
            const client = new pg.Client({ host: pgdata, port, user: 'postgres', database });
            await client.connect();
            try {
              return (await client.query(sql)).rows;
            } finally {
              await client.end();
            }
          },
        });
      } finally {
        await stopServer(cluster, pgdata);
        await rm(pgdata, { recursive: true, force: true });
      }
    },
    async close() {
      await Promise.all(all.map((each) => each.close()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}
