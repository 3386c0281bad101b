/** The server of a scratch cluster: its settings, its programs, and the watchdog that ends it. */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../core/errors.ts';
import type { Secret } from '../core/secret.ts';
import { runChecked, runCommand } from '../process/run.ts';
import { type DataChild, startChild } from '../process/stream.ts';
import type { OsUser } from '../process/user.ts';
import { settingLines } from './setting_lines.ts';

const startTimeoutSeconds = 60;
const logTailBytes = 16 * 1024;

/**
 * Waits until its standard input ends, which it does also when the process that holds the other
 * end is killed; then ends the server, and whatever was restored beside it and runs, and removes
 * the folders. It tries again for a while, since a
 * program that was just starting may still write. Ctrl-C reaches the whole process group, so the
 * signals are ignored. In a parent folder that is closed to the server's user the folder stays,
 * empty.
 */
const watchdogScript = `
trap '' HUP INT QUIT TERM
while read -r line; do :; done
pg_ctl=$1
data=$2
shift 2
tries=0
while [ "$tries" -lt 20 ]; do
  "$pg_ctl" stop --silent --pgdata="$data" --mode=immediate >/dev/null 2>&1
  for folder in "$@"; do
    for pid_file in "$folder"/*/postmaster.pid; do
      if [ ! -e "$pid_file" ]; then continue; fi
      "$pg_ctl" stop --silent --pgdata="\${pid_file%/*}" --mode=immediate >/dev/null 2>&1
    done
  done
  rm -rf -- "$@" 2>/dev/null
  left=0
  for folder in "$@"; do
    if [ -n "$(ls -A "$folder" 2>/dev/null)" ]; then left=1; fi
  done
  if [ "$left" -eq 0 ]; then exit 0; fi
  tries=$((tries + 1))
  sleep 0.5
done
exit 1
`;

/** The text that is added to postgresql.conf. */
export function clusterSettings(options: {
  readonly socketDirectory: string;
  readonly port: number;
  readonly tcp: boolean;
  readonly fast: boolean;
  readonly settings: Readonly<Record<string, string>>;
}): string {
  return settingLines({
    listen_addresses: options.tcp ? '127.0.0.1' : '',
    port: String(options.port),
    // A list of names: in double quotes a comma or a space in the path stays part of it.
    unix_socket_directories: `"${options.socketDirectory.replaceAll('"', '""')}"`,
    unix_socket_permissions: '0700',
    ...(options.fast ? { fsync: 'off', full_page_writes: 'off' } : {}),
    ...options.settings,
  });
}

/** Where the files of a scratch cluster lie, and whose they are. */
export interface ServerLayout {
  readonly user: OsUser | null;
  readonly base: string;
  readonly data: string;
  readonly log: string;
  readonly socketDirectory: string;
  readonly folders: readonly string[];
}

/** What the server's programs get. */
export interface ServerOptions {
  readonly environment: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  readonly walSegmentMb?: number | undefined;
}

/** The server's own programs, run as its user, in its folder. */
export class ScratchServer {
  readonly #layout: ServerLayout;
  readonly #bin: string;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #signal: AbortSignal | undefined;
  readonly #walSegmentMb: number;

  constructor(layout: ServerLayout, bin: string, options: ServerOptions) {
    this.#layout = layout;
    this.#bin = bin;
    this.#environment = { ...options.environment, LC_ALL: 'C' };
    this.#signal = options.signal;
    this.#walSegmentMb = options.walSegmentMb ?? 16;
  }

  #options(timeoutMs: number) {
    const { user, base } = this.#layout;
    return { environment: this.#environment, cwd: base, timeoutMs, ...(user ? { user } : {}) };
  }

  startWatchdog(): DataChild {
    const { user, data, folders } = this.#layout;
    const args = ['-c', watchdogScript, 'sh', join(this.#bin, 'pg_ctl'), data, ...folders];
    return startChild('/bin/sh', args, {
      environment: this.#environment,
      cwd: '/',
      ...(user ? { user } : {}),
    });
  }

  /** Writes a file as the server's user, so that root never follows a link of that user. */
  async #write(path: string, text: string): Promise<void> {
    const script = 'umask 077; cat >> "$1"';
    const options = { ...this.#options(10_000), input: text };
    await runChecked('/bin/sh', ['-c', script, 'sh', path], options);
  }

  async create(password: Secret | null, settings: string): Promise<void> {
    const { base, data } = this.#layout;
    const passwordFile = join(base, 'password');
    if (password !== null) await this.#write(passwordFile, `${password.reveal()}\n`);
    const args = [
      `--pgdata=${data}`,
      '--username=postgres',
      '--encoding=UTF8',
      // macOS has no C.UTF-8.
      `--locale=${process.platform === 'darwin' ? 'C' : 'C.UTF-8'}`,
      '--lc-messages=C',
      '--auth-local=trust',
      `--wal-segsize=${this.#walSegmentMb}`,
      ...(password === null
        ? ['--auth-host=reject']
        : ['--auth-host=scram-sha-256', `--pwfile=${passwordFile}`]),
      '--no-sync',
      '--no-instructions',
    ];
    const options = { ...this.#options(120_000), signal: this.#signal };
    await runChecked(join(this.#bin, 'initdb'), args, options);
    await this.#write(join(data, 'postgresql.conf'), settings);
    await runChecked('/bin/rm', ['-f', passwordFile], this.#options(10_000));
  }

  /** Starts the server in a session of its own: Ctrl-C does not reach it. */
  async start(signal: AbortSignal | undefined): Promise<void> {
    const { data, log } = this.#layout;
    const args = ['start', '--silent', '--wait', `--timeout=${startTimeoutSeconds}`];
    const result = await runCommand(
      join(this.#bin, 'pg_ctl'),
      [...args, `--pgdata=${data}`, `--log=${log}`],
      { ...this.#options((startTimeoutSeconds + 30) * 1000), signal },
    );
    if (result.status === 0) return;
    const words = (await this.logTail()).trim().split('\n').slice(-5).join('; ');
    throw new HoldfastError('CHILD_FAILED', `the scratch server does not start: ${words}`);
  }

  /** After a crash the orphaned backends hold the shared memory for a moment: tries for 10 s. */
  async startAgain(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.start(undefined);
        return;
      } catch (error) {
        if (attempt === 20) throw error;
        await sleep(500);
      }
    }
  }

  async stop(mode: 'fast' | 'immediate'): Promise<void> {
    const { data } = this.#layout;
    const args = ['stop', '--silent', '--wait', `--mode=${mode}`, `--pgdata=${data}`];
    await runCommand(join(this.#bin, 'pg_ctl'), args, this.#options(120_000));
  }

  /** `null` when no postmaster runs. */
  async pid(): Promise<number | null> {
    const path = join(this.#layout.data, 'postmaster.pid');
    const text = await readFile(path, 'utf8').catch(() => '');
    const pid = Number(text.split('\n')[0]);
    return Number.isInteger(pid) && pid > 0 && (await isRunning(pid)) ? pid : null;
  }

  async logTail(): Promise<string> {
    const text = await readFile(this.#layout.log, 'utf8').catch(() => '');
    return text.slice(-logTailBytes);
  }
}

/** Whether a process runs; one that has ended and that nobody has waited for yet does not. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  // Linux: the state stands after the name in parentheses, which may hold anything.
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return !/\) [ZX] /.test(status.slice(status.lastIndexOf(')')));
}
