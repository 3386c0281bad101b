/** A second server from the files of the first: a standby, a clone, a copy of its files. */

import { join } from 'node:path';
import pg from 'pg';
import { asServerUser } from './base_backup.ts';
import type { TestCluster } from './cluster.ts';

export interface CopiedServer {
  readonly data: string;
  /** What makes the commands work on it. */
  readonly environment: Readonly<Record<string, string>>;
  rows(sql: string): Promise<Record<string, unknown>[]>;
  /** How often its archiver has failed. */
  failures(): Promise<number>;
  /** Ends it as a crash would. */
  crash(): Promise<void>;
}

/** How a server comes into being. */
export interface CopyWish {
  /** Of its folder, beside that of the first one. */
  readonly name: string;
  /** A port of its own: the sockets lie in one folder. */
  readonly port: number;
  /** `files`: of the first server, which must not run; else a base backup of one that does. */
  readonly kind: 'files' | 'clone' | 'standby';
  /** The port of the server that is copied; the first one's unless told. */
  readonly from?: number;
}

/** Copies a server and starts the copy. @throws Error with what the program says */
export async function copyServer(cluster: TestCluster, wish: CopyWish): Promise<CopiedServer> {
  const { socketDirectory: host, binDirectory } = cluster;
  const { port, kind, from = cluster.port } = wish;
  const data = cluster.dataDirectory.replace(/data$/, wish.name);
  async function run(program: string, args: readonly string[]): Promise<void> {
    const { status, stdout, stderr } = await asServerUser(cluster, program, args);
    if (status !== 0) throw new Error(`${program}: ${stdout}${stderr}`);
  }
  if (kind === 'files') {
    await run('cp', ['-a', cluster.dataDirectory, data]);
    await run('rm', ['-f', join(data, 'postmaster.pid')]);
  } else {
    const source = [`--host=${host}`, `--port=${from}`, '--username=postgres'];
    const more = kind === 'standby' ? ['--write-recovery-conf'] : [];
    const flags = [...source, `--pgdata=${data}`, '--checkpoint=fast', ...more];
    await run(join(binDirectory, 'pg_basebackup'), flags);
  }
  const pgCtl = (...args: string[]) =>
    run(join(binDirectory, 'pg_ctl'), [`--pgdata=${data}`, '--wait', ...args]);
  await pgCtl('start', '--silent', `--options=-c port=${port}`, `--log=${data}.log`);

  async function rows(sql: string): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ host, port, user: 'postgres', database: 'postgres' });
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }

  return {
    data,
    environment: { PGPORT: String(port) },
    rows,
    async failures() {
      const [row] = await rows('SELECT failed_count::int AS n FROM pg_stat_archiver');
      return Number(row?.n);
    },
    crash: () => pgCtl('stop', '--mode=immediate'),
  };
}
