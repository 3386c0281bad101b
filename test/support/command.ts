/** Runs the commands as a user would: in this process, where coverage sees them, or as programs. */

import { execFile } from 'node:child_process';
import { Readable, Writable } from 'node:stream';
import { promisify } from 'node:util';
import { backupFull } from '../../src/cli/backup_full_command.ts';
import { backupIncremental } from '../../src/cli/backup_incremental_command.ts';
import type { Command } from '../../src/cli/command.ts';
import { doctor } from '../../src/cli/doctor_command.ts';
import { executeCommand } from '../../src/cli/execute.ts';
import { listBackups } from '../../src/cli/list_backups_command.ts';
import { monitorBackups } from '../../src/cli/monitor_backups_command.ts';
import { pruneBackups } from '../../src/cli/prune_backups_command.ts';
import { restoreBackup } from '../../src/cli/restore_backup_command.ts';
import { restorePitrCommand } from '../../src/cli/restore_pitr_command.ts';
import { setupArchiving } from '../../src/cli/setup_archiving_command.ts';
import { setupCron } from '../../src/cli/setup_cron_command.ts';
import { setupSystemd } from '../../src/cli/setup_systemd_command.ts';
import { verifyBackups } from '../../src/cli/verify_backups_command.ts';
import { walShip } from '../../src/cli/wal_ship_command.ts';
import { walStream } from '../../src/cli/wal_stream_command.ts';
import { type DataChild, startChild } from '../../src/process/stream.ts';
import { compileCache } from './compile_cache.ts';

const commands = {
  backup_full: backupFull,
  backup_incremental: backupIncremental,
  doctor,
  list_backups: listBackups,
  monitor_backups: monitorBackups,
  prune_backups: pruneBackups,
  restore_backup: restoreBackup,
  restore_pitr: restorePitrCommand,
  setup_archiving: setupArchiving,
  setup_cron: setupCron,
  setup_systemd: setupSystemd,
  verify_backups: verifyBackups,
  wal_ship: walShip,
  wal_stream: walStream,
} as const satisfies Record<string, Command>;

export type CommandName = keyof typeof commands;

export interface Outcome {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** The whole environment: nothing of this process gets in. PATH is added. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  readonly cwd?: string;
  /** What is typed on the terminal; without it there is no terminal. */
  readonly typed?: string;
}

function collect(isTTY: boolean): { stream: Writable & { isTTY: boolean }; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString();
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY }), text: () => text };
}

const basePath = { PATH: process.env.PATH ?? '', HOME: '/nonexistent', ...compileCache };

/** Runs a command in this process. */
export async function runCommand(
  name: CommandName,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const stdout = collect(false);
  const stderr = collect(false);
  const { typed } = options;
  const stdin = Object.assign(Readable.from(typed === undefined ? [] : [`${typed}\n`]), {
    isTTY: typed !== undefined,
  });
  const status = await executeCommand(commands[name], {
    argv,
    environment: { ...basePath, ...options.environment },
    cwd: options.cwd ?? '/',
    stdin,
    stdout: stdout.stream,
    stderr: stderr.stream,
    signal: options.signal ?? new AbortController().signal,
  });
  return { status, stdout: stdout.text(), stderr: stderr.text() };
}

/** Starts a command as a program of its own, to be killed or interrupted. */
export function spawnCommand(
  name: CommandName,
  argv: readonly string[],
  options: RunOptions = {},
): DataChild {
  const script = new URL(`../../scripts/${name}.ts`, import.meta.url).pathname;
  const child = startChild(script, argv, {
    environment: { ...basePath, ...options.environment },
  });
  child.stdin.end();
  return child;
}

/** Waits for a command that was started as a program. */
export async function outcomeOf(child: DataChild): Promise<Outcome> {
  let stdout = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  const { status } = await child.exited;
  return { status: status ?? -1, stdout, stderr: child.stderrTail() };
}

/**
 * Types a command that was printed, as it stands, into a shell in the folder of the project.
 *
 * @throws Error when it does not end with 0
 */
export async function typeCommand(command: string): Promise<void> {
  await promisify(execFile)('sh', ['-c', command], {
    cwd: new URL('../..', import.meta.url).pathname,
    env: { ...basePath, MIN_DISK_SPACE_GB: '0' },
  });
}
