/**
 * Data children: programs that carry the bytes of a backup. Their streams are never gathered in
 * memory; only the end of what they say on stderr is kept.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { closeSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { Readable, Writable } from 'node:stream';
import { HoldfastError } from '../core/errors.ts';
import { childFolder } from './child_folder.ts';
import type { OsUser } from './user.ts';

const stderrTailBytesMax = 16 * 1024;
/** How long a child may take to end after SIGTERM before it is killed. */
const endGraceMs = 5_000;

export interface ChildOptions {
  /** The whole environment of the program: nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  /** Ends the child when it fires. */
  readonly signal?: AbortSignal | undefined;
  /** Called for each line that the child prints on stderr. */
  readonly onStderrLine?: ((line: string) => void) | undefined;
  readonly cwd?: string;
  /** The child reads from it, from where it stands, in place of {@link DataChild.stdin}. */
  readonly input?: FileHandle | undefined;
  /**
   * Takes what the child prints in place of {@link DataChild.stdout}, which is then empty, so that
   * the bytes need not go through this process.
   */
  readonly output?: FileHandle | undefined;
  /**
   * Takes what the child prints in place of {@link DataChild.stdout}, which is then empty: the
   * writing end of a pipe; or the standard input of another child, to which the kernel carries the
   * bytes, so that nothing of them comes through this process. It is handed over and closed here:
   * the reader sees the end when the child ends.
   */
  readonly into?: Outlet | undefined;
  /** What the child finds as its file 3 (`/dev/fd/3`): a secret that has no name. */
  readonly secretInput?: FileHandle | undefined;
  /** The child may ask on the terminal, so it stays in the group of this process. */
  readonly isInteractive?: boolean;
  /** Runs the program as this user; only root can. */
  readonly user?: OsUser | undefined;
}

/** A file descriptor, or the standard input of a child. */
export type Outlet = number | Writable;

/** How a child ended: one of the two is `null`. */
export interface ChildExit {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A running child whose data flows through pipes. */
export interface DataChild {
  readonly program: string;
  readonly pid: number | undefined;
  /** Closed from the beginning where the child reads from a file. */
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** The last 16 kB of what the child printed on stderr. */
  stderrTail(): string;
  /** Resolves when the child has ended and its streams are closed; rejects if it never started. */
  readonly exited: Promise<ChildExit>;
  /** Ends the child: SIGTERM, and SIGKILL when it has not ended after a grace time. */
  end(): Promise<void>;
}

/** What the files 0, 1 and 2 of a child are, and 3 where it has a secret. */
function stdioOf({ input, output, into, secretInput }: ChildOptions) {
  const secret = secretInput === undefined ? [] : [secretInput.fd];
  return [input?.fd ?? 'pipe', into ?? output?.fd ?? 'pipe', 'pipe', ...secret] as const;
}

/** What a child prints, whichever way it goes. */
function stdoutOf(
  child: { readonly stdout: Readable | null },
  { output, into }: ChildOptions,
): Readable {
  if (into !== undefined || output !== undefined) return Readable.from([]);
  if (child.stdout === null) throw new HoldfastError('UNEXPECTED', 'a child without its stdout');
  return child.stdout;
}

/** Keeps the end of a text that comes in pieces, and tells its lines. */
function collectStderr(stream: Readable, onLine: ((line: string) => void) | undefined) {
  let tail = '';
  let line = '';
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    tail = (tail + text).slice(-stderrTailBytesMax);
    if (onLine === undefined) return;
    const lines = (line + text).split('\n');
    line = (lines.pop() ?? '').slice(-stderrTailBytesMax);
    for (const whole of lines) onLine(whole);
  });
  return () => tail;
}

/**
 * Starts a program with pipes on all three streams.
 *
 * The caller looks at {@link DataChild.exited} before it commits anything: a stream that ended is
 * not a child that succeeded (measured: `pipeline()` resolves when the child exits with 3).
 */
export function startChild(
  program: string,
  args: readonly string[],
  options: ChildOptions,
): DataChild {
  const { into } = options;
  const child = spawn(program, [...args], {
    env: { ...options.environment },
    // A group of its own: Ctrl-C reaches this process alone, which then ends its children in order.
    detached: options.isInteractive !== true,
    stdio: [...stdioOf(options)],
    cwd: options.cwd ?? childFolder(),
    ...(options.user === undefined ? {} : { uid: options.user.uid, gid: options.user.gid }),
  }) as ChildProcessByStdio<Writable | null, Readable | null, Readable>;
  const stdin = child.stdin ?? new Writable().destroy();
  // A socket is closed without shutting it down: from now on the child alone has this end.
  if (typeof into === 'number') closeSync(into);
  else into?.destroy();
  const stderrTail = collectStderr(child.stderr, options.onStderrLine);
  let ended = false;
  let killTimer: NodeJS.Timeout | undefined;

  const exited = new Promise<ChildExit>((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      ended = true;
      if (child.pid !== undefined) return;
      reject(
        new HoldfastError('PROGRAM_MISSING', `${program} cannot be started: ${cause.message}`, {
          hint: 'Install it, or put its folder on PATH.',
          cause,
        }),
      );
    });
    child.once('close', (status, signal) => {
      ended = true;
      clearTimeout(killTimer);
      options.signal?.removeEventListener('abort', terminate);
      resolve({ status, signal });
    });
  });
  // Whoever awaits `exited` hears of a failed start; nobody has to, to keep the process alive.
  exited.catch(() => undefined);
  // A child that closes its input early is told by its exit status, not by this stream's EPIPE.
  stdin.on('error', () => undefined);

  function terminate(): void {
    if (ended) return;
    child.kill('SIGTERM');
    killTimer ??= setTimeout(() => child.kill('SIGKILL'), endGraceMs);
  }
  if (options.signal?.aborted === true) terminate();
  else options.signal?.addEventListener('abort', terminate, { once: true });

  return {
    program,
    pid: child.pid,
    stdin,
    stdout: stdoutOf(child, options),
    stderrTail,
    exited,
    async end() {
      terminate();
      await exited.catch(() => undefined);
    },
  };
}

/**
 * The error for a data child that did not end with 0.
 *
 * @param exit what {@link DataChild.exited} gave
 */
export function childFailure(child: DataChild, exit: ChildExit): HoldfastError {
  const words = child.stderrTail().trim().split('\n').slice(-3).join('; ');
  const how = exit.status === null ? `was ended by ${exit.signal}` : `ended with ${exit.status}`;
  const hint =
    exit.signal === 'SIGKILL'
      ? 'Something killed it: look for the out-of-memory killer in the system log.'
      : undefined;
  const text = `${child.program} ${how}${words === '' ? '' : `: ${words}`}`;
  return /no space left on device/i.test(words)
    ? new HoldfastError('NO_SPACE', text, { hint: 'Free space on that file system.' })
    : new HoldfastError('CHILD_FAILED', text, { hint });
}

/** What programs say whose reader went away: of a pipe, and of a pair of sockets. */
export const lostReaderWords = /broken pipe|connection reset by peer/i;

/** Whether a child ended because whoever read from it went away: then the reader tells why. */
export function lostItsReader(child: DataChild, exit: ChildExit): boolean {
  return exit.signal === 'SIGPIPE' || lostReaderWords.test(child.stderrTail());
}
