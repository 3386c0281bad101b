/** Starts a restored cluster and waits until it has recovered and was promoted. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../core/errors.ts';
import { shellQuote } from '../core/quote.ts';
import { freeBytesAt } from '../process/file_facts.ts';
import { runChecked, runCommand } from '../process/run.ts';
import {
  RecoveryLog,
  type RecoveryReport,
  type RecoveryWords,
  readRecoveryLog,
} from './recovery_log.ts';
import { controlValue } from './recovery_settings.ts';
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

/** The lines that tell why it ended, else the last ones. */
function excerpt({ telling, last }: RecoveryWords): string {
  const why = telling.filter((line) => /\b(?:FATAL|PANIC|HINT|wal_fetch):? /.test(line));
  return (why.length > 0 ? why : last).slice(-6).join('; ').slice(-logBytesShown);
}

/** A segment has to find room: with less, that a fetched one is not there is the disk's fault. */
const roomBytesMin = 64 * 1024 * 1024;

/**
 * Why a server has ended, as what it is: a segment that is not whole, a disk that is full.
 *
 * @param freeBytes in the data directory; `null` where nobody can tell
 */
export function recoveryFailure(
  text: string,
  words: RecoveryWords,
  { pgdata, tool }: Pick<RestoredCluster, 'pgdata' | 'tool'>,
  freeBytes: number | null,
): HoldfastError {
  const said = excerpt(words);
  const whole = `${text}${said === '' ? '' : `: ${said}`}`;
  // Its own path: on Debian pg_ctl is on nobody's PATH. In it pg_ctl has no name to misread.
  const again = `cd ${shellQuote(pgdata)} && ${shellQuote(tool.path)} --pgdata . start`;
  const isFull = freeBytes !== null && freeBytes < roomBytesMin && /wal_fetch: /.test(said);
  if (isFull || /No space left on device|Disk quota exceeded/.test(said)) {
    return new HoldfastError('NO_SPACE', whole, {
      hint: `Free space there; the recovery goes on with: ${again}`,
    });
  }
  const spoilt = words.telling.findLast((line) => /wal_fetch: .*(?:damaged|: a gap)/.test(line));
  const segment = /wal_fetch: ([0-9A-F]{24})/.exec(spoilt ?? '')?.[1];
  if (segment !== undefined) {
    return new HoldfastError(
      'DAMAGED',
      `the recovery stopped before the WAL segment ${segment}, and nothing was promoted: ${said}`,
      {
        hint:
          'Restore to a target before it; or put it back into the archive from another copy, and ' +
          `the recovery goes on with: ${again}`,
        details: { segment },
      },
    );
  }
  return new HoldfastError('RESTORE_FAILED', whole, {
    hint: `The files are restored: look into ${join(pgdata, recoveryLogName)}.`,
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
  // Between double quotes pg_ctl hands both paths to a shell, which would run a $(…) in them.
  const args = ['--pgdata=.', `--log=${recoveryLogName}`, '--no-wait', '--silent'];
  const result = await runCommand(tool.path, [...args, '--options', words.join(' '), 'start'], {
    environment: { ...environment, LC_ALL: 'C' },
    signal,
    cwd: pgdata,
  });
  if (result.status === 0) return;
  const log = new RecoveryLog(join(pgdata, recoveryLogName));
  await log.read();
  await log.close();
  throw recoveryFailure(
    `the server did not start (${result.stderr.trim()})`,
    log,
    cluster,
    await freeBytesAt(pgdata),
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

/** What is told while a server recovers. */
export interface RecoveryWatcher {
  /** Each new state, in PostgreSQL's words. */
  onState(state: string): void;
  /** Each segment that came out of the archive, once. */
  onSegment(name: string): void;
}

/** Every so many looks the server itself is asked, and not its log alone. */
const looksPerQuestion = 25;

/** Looks until the server is in production. @throws HoldfastError where it has ended */
async function waitForProduction(
  cluster: RestoredCluster,
  log: RecoveryLog,
  watcher: RecoveryWatcher,
): Promise<RecoveryReport> {
  // What the files of the base backup say until the server has begun.
  let last = 'in production';
  let told = 0;
  for (let look = 1; ; look += 1) {
    const isNew = await log.read();
    for (const name of [...log.segments].slice(told)) watcher.onSegment(name);
    told = log.segments.size;
    const isReady = log.says(/ready to accept connections/);
    if (isReady || (isNew && look % 5 === 0) || look % looksPerQuestion === 0) {
      const state = controlValue(await readControlData(cluster), 'Database cluster state');
      if (state !== last) watcher.onState(state);
      last = state;
      // The state is written down a little before connections are let in.
      if (isReady && state === 'in production') return readRecoveryLog(log.telling.join('\n'));
    }
    const isSuspect = log.says(/ (?:FATAL|PANIC): |database system is shut down/);
    if ((isSuspect || look % looksPerQuestion === 0) && !(await isRunning(cluster))) {
      await log.read();
      const { pgdata } = cluster;
      throw recoveryFailure('the recovery failed', log, cluster, await freeBytesAt(pgdata));
    }
    await sleep(pollMs, undefined, { signal: cluster.signal });
  }
}

/**
 * Starts the server and waits until it is in production, however long the WAL takes;
 * `pg_ctl --wait` returns as soon as queries are answered, which is before that.
 *
 * @throws HoldfastError RESTORE_FAILED with the server's own words, DAMAGED with the segment at
 *   which it stopped, NO_SPACE; INTERRUPTED, and then the server is ended
 */
export async function startAndWait(
  cluster: RestoredCluster,
  port: number,
  watcher: RecoveryWatcher,
): Promise<RecoveryReport> {
  const path = join(cluster.pgdata, recoveryLogName);
  // Of an earlier start: its words would be taken for those of this one.
  await rm(path, { force: true });
  await start(cluster, port);
  const log = new RecoveryLog(path);
  try {
    return await waitForProduction(cluster, log, watcher);
  } catch (error) {
    if (!cluster.signal.aborted) throw error;
    await stopServer(cluster);
    const { reason } = cluster.signal;
    throw reason instanceof HoldfastError
      ? reason
      : new HoldfastError('INTERRUPTED', 'the recovery was interrupted', { cause: error });
  } finally {
    await log.close();
  }
}
