/** Starts a restored cluster and waits until it has recovered and was promoted. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../core/errors.ts';
import { shellQuote } from '../core/quote.ts';
import { runChecked, runCommand } from '../process/run.ts';
import { controlValue, type RecoveryReport, readRecoveryLog } from './recovery_settings.ts';
import { findTool, type Tool } from './tools.ts';

/** A data directory, and the programs of its version. */
export interface RestoredCluster {
  readonly pgdata: string;
  /** pg_ctl; its siblings are used too. */
  readonly tool: Tool;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

const pollMs = 200;
const logBytesShown = 2000;
/** sockaddr_un.sun_path without its final NUL, on the strictest system in use (macOS: 104). */
const socketPathBytesMax = 103;

/** Where the server's words go while it is started here. */
const recoveryLogName = 'holdfast_recovery.log';

/**
 * Finds the programs of a server's major version: a data directory is for that one alone.
 *
 * @throws HoldfastError TOOL_TOO_OLD where it is not installed; what {@link findTool} throws
 */
export async function findServerPrograms(options: {
  readonly environment: Readonly<Record<string, string>>;
  readonly pgBinDir: string | null | undefined;
  readonly signal: AbortSignal;
  readonly major: number;
}): Promise<Tool> {
  const { major, ...rest } = options;
  const tool = await findTool({ ...rest, program: 'pg_ctl', serverMajor: major });
  if (tool.major === major) return tool;
  throw new HoldfastError(
    'TOOL_TOO_OLD',
    `the programs of a server ${major} are needed, and there are those of ${tool.version}`,
    { hint: `Install the server's package of PostgreSQL ${major}, or set pg_bin_dir.` },
  );
}

/** What pg_controldata tells of the cluster. */
export async function readControlData(cluster: RestoredCluster): Promise<string> {
  const { tool, pgdata, environment, signal } = cluster;
  const program = join(tool.directory, 'pg_controldata');
  const options = { environment: { ...environment, LC_ALL: 'C' }, signal };
  return (await runChecked(program, [`--pgdata=${pgdata}`], options)).stdout;
}

/** The folder of the server's socket. @throws HoldfastError USAGE when the path is too long */
export function socketFolder(pgdata: string): string {
  const bytes = Buffer.byteLength(join(pgdata, '.s.PGSQL.65535'), 'utf8');
  if (bytes <= socketPathBytesMax && !pgdata.includes(',')) return pgdata;
  throw new HoldfastError('USAGE', `${pgdata} is no place for a socket: the path is too long`, {
    hint: 'Restore without --start, and start the server with unix_socket_directories set.',
  });
}

function readLog({ pgdata }: RestoredCluster): Promise<string> {
  return readFile(join(pgdata, recoveryLogName), 'utf8').catch(() => '');
}

/** The lines that tell why it ended, else the last ones. */
function excerpt(log: string): string {
  const lines = log.trim().split('\n');
  const telling = lines.filter((line) => /\b(?:FATAL|PANIC|HINT|wal_fetch):? /.test(line));
  return (telling.length > 0 ? telling : lines).slice(-6).join('; ').slice(-logBytesShown);
}

function failure(text: string, log: string, cluster: RestoredCluster): HoldfastError {
  const said = excerpt(log);
  return new HoldfastError('RESTORE_FAILED', `${text}${said === '' ? '' : `: ${said}`}`, {
    hint: `The files are restored: look into ${join(cluster.pgdata, recoveryLogName)}.`,
  });
}

async function start(cluster: RestoredCluster, port: number): Promise<void> {
  const { tool, pgdata, environment, signal } = cluster;
  const settings = {
    port: String(port),
    listen_addresses: '',
    unix_socket_directories: `"${socketFolder(pgdata).replaceAll('"', '""')}"`,
    logging_collector: 'off',
    log_destination: 'stderr',
    log_min_messages: 'log',
    log_timezone: 'UTC',
    lc_messages: 'C',
  };
  const words = Object.entries(settings).map(
    ([name, value]) => `-c ${shellQuote(`${name}=${value}`)}`,
  );
  const args = [
    '--pgdata',
    pgdata,
    '--log',
    join(pgdata, recoveryLogName),
    '--no-wait',
    '--silent',
  ];
  const result = await runCommand(tool.path, [...args, '--options', words.join(' '), 'start'], {
    environment: { ...environment, LC_ALL: 'C' },
    signal,
  });
  if (result.status === 0) return;
  throw failure(
    `the server did not start (${result.stderr.trim()})`,
    await readLog(cluster),
    cluster,
  );
}

/** Whether a server runs on the folder: pg_ctl says 3 where none does. */
async function isRunning({ tool, pgdata, environment }: RestoredCluster): Promise<boolean> {
  const args = ['--pgdata', pgdata, 'status'];
  return (await runCommand(tool.path, args, { environment })).status === 0;
}

/** Ends the server. */
async function stopServer({ tool, pgdata, environment }: RestoredCluster): Promise<void> {
  const args = ['--pgdata', pgdata, '--mode=fast', '--silent', 'stop'];
  await runCommand(tool.path, args, { environment, timeoutMs: 120_000 });
}

/**
 * Starts the server and waits until it is in production, however long the WAL takes;
 * `pg_ctl --wait` returns as soon as queries are answered, which is before that.
 *
 * @param onState is told each new state in PostgreSQL's words
 * @throws HoldfastError RESTORE_FAILED with the server's own words; INTERRUPTED, and then the
 *   server is ended
 */
export async function startAndWait(
  cluster: RestoredCluster,
  port: number,
  onState: (state: string) => void,
): Promise<RecoveryReport> {
  await start(cluster, port);
  // What the files of the base backup say until the server has begun.
  let last = 'in production';
  try {
    for (;;) {
      const state = controlValue(await readControlData(cluster), 'Database cluster state');
      if (state !== last) onState(state);
      last = state;
      const log = await readLog(cluster);
      // The state is written down a little before connections are let in.
      if (state === 'in production' && /ready to accept connections/.test(log)) {
        return readRecoveryLog(log);
      }
      if (/ FATAL: /.test(log) && !(await isRunning(cluster))) {
        throw failure('the recovery failed', await readLog(cluster), cluster);
      }
      if (log !== '' && /database system is shut down/.test(log)) {
        throw failure('the server has ended', log, cluster);
      }
      await sleep(pollMs, undefined, { signal: cluster.signal });
    }
  } catch (error) {
    if (!cluster.signal.aborted) throw error;
    await stopServer(cluster);
    const { reason } = cluster.signal;
    throw reason instanceof HoldfastError
      ? reason
      : new HoldfastError('INTERRUPTED', 'the recovery was interrupted', { cause: error });
  }
}
