/** A server whose WAL is streamed into a repository that is its own user's. */

import { chown, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { slotNameFor } from '../../src/core/stream_slot.ts';
import type { DataChild } from '../../src/process/stream.ts';
import { type ArchivingBench, openArchivingBench } from './archiving_bench.ts';
import type { TestCluster } from './cluster.ts';
import { type CommandName, type Outcome, outcomeOf, runCommand, spawnCommand } from './command.ts';
import { until } from './fault.ts';
import { jsonOf } from './workbench.ts';

/** What `wal_stream.ts --status --json` tells. */
export interface StreamStatusJson {
  readonly working: boolean;
  readonly running: boolean;
  readonly refused: string | null;
  readonly slot: {
    readonly name: string;
    readonly active: boolean;
    readonly wal_status: string | null;
    readonly flushed_lsn: string | null;
  };
  readonly unfinished: readonly string[];
  readonly complete: readonly string[];
  readonly warnings: readonly string[];
}

/** An archive as `list_backups.ts --wal --json` tells it. */
export interface ListedArchive {
  readonly stream: { readonly slot: string; readonly segments: readonly string[] } | null;
  readonly timelines: readonly {
    readonly timeline: number;
    readonly origin: string;
    readonly ranges: readonly {
      readonly first_segment: string;
      readonly last_segment: string;
      readonly end_lsn: string;
      readonly ends_unfinished: boolean;
      readonly last_commit: { readonly xid: number } | null;
    }[];
    readonly gaps: readonly { readonly first_segment: string }[];
  }[];
}

export interface StreamBench extends ArchivingBench {
  readonly slot: string;
  /** The folder of the stream. */
  readonly stream: string;
  /** Runs a command as the repository's owner. */
  runOwned(
    name: CommandName,
    argv: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Promise<Outcome>;
  /** Starts scripts/wal_stream.ts; it is killed with the bench at the latest. */
  startStream(): DataChild;
  /** Ends it as a service manager does. */
  endStream(child: DataChild): Promise<Outcome>;
  status(): Promise<StreamStatusJson>;
  listWal(): Promise<ListedArchive>;
  /** Waits until the stream has on its disk what the server has on its own now. */
  received(): Promise<void>;
  /** The process number of the pg_receivewal that runs. */
  receiverPid(): Promise<number>;
  /** Ends the current segment, after something was written into it. */
  switchSegment(): Promise<void>;
}

/** Of the cluster of {@link openArchivingBench}. */
const clusterName = 'main cluster';
const encoded = 'main%20cluster';

async function awaitReceived(cluster: TestCluster, slot: string): Promise<void> {
  const [row] = await cluster.sql('SELECT pg_current_wal_flush_lsn()::text AS lsn');
  const sql =
    `SELECT 1 FROM pg_replication_slots WHERE slot_name = '${slot}' AND active ` +
    `AND restart_lsn >= '${row?.lsn}'`;
  const isReceived = async () => (await cluster.sql(sql)).length > 0 || null;
  await until(`the stream at ${row?.lsn}`, isReceived, 120_000);
}

async function receiverPidOf(repository: string): Promise<number> {
  const path = join(repository, 'state/wal_stream', `${encoded}.child`);
  const look = () => readFile(path, 'utf8').catch(() => '');
  const text = await until('a pg_receivewal', async () => (await look()) || null, 120_000);
  return Number(text.split('~')[0]);
}

/**
 * Opens one, with small segments.
 *
 * @param settings lines of postgresql.conf
 * @param isOurs the repository is this process's own user's: commands run in this process, and no
 *   restored server can read it
 */
export async function openStreamBench(
  settings: Readonly<Record<string, string>> = {},
  isOurs = false,
): Promise<StreamBench> {
  const bench = await openArchivingBench(
    { wal_level: 'replica', max_slot_wal_keep_size: '1GB', ...settings },
    { walSegmentMb: 1 },
  );
  const { cluster, repository, environment } = bench;
  const slot = slotNameFor(clusterName);
  const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  if (isOurs) await chown(repository, uid, gid);
  const started = new Set<DataChild>();

  async function runOwned(
    name: CommandName,
    argv: readonly string[],
    more: Readonly<Record<string, string>> = {},
  ): Promise<Outcome> {
    const options = { environment: { ...environment, ...more } };
    if (isOurs || cluster.osUser === null) return runCommand(name, argv, options);
    // Root becomes the repository's owner, for good: in a process of its own.
    return outcomeOf(spawnCommand(name, argv, options));
  }

  return {
    ...bench,
    slot,
    stream: join(repository, 'incremental', encoded, 'stream'),
    runOwned,
    startStream() {
      const child = spawnCommand('wal_stream', [], { environment });
      child.stdout.resume();
      started.add(child);
      child.exited.finally(() => started.delete(child));
      return child;
    },
    async endStream(child) {
      if (child.pid !== undefined) process.kill(child.pid, 'SIGTERM');
      const { status } = await child.exited;
      return { status: status ?? -1, stdout: '', stderr: child.stderrTail() };
    },
    async status() {
      return jsonOf<StreamStatusJson>(await runOwned('wal_stream', ['--status', '--json']));
    },
    async listWal() {
      const outcome = await runOwned('list_backups', ['--wal', '--json']);
      const [archive] = jsonOf<{ archives: ListedArchive[] }>(outcome).archives;
      if (archive === undefined) throw new Error(outcome.stderr);
      return archive;
    },
    received: () => awaitReceived(cluster, slot),
    receiverPid: () => receiverPidOf(repository),
    async switchSegment() {
      await cluster.sql([`SELECT pg_create_restore_point('next')`, 'SELECT pg_switch_wal()']);
    },
    async close() {
      for (const child of started) if (child.pid !== undefined) process.kill(child.pid, 'SIGKILL');
      await Promise.all([...started].map((child) => child.exited));
      await bench.close();
    },
  };
}
