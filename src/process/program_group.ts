/**
 * Programs of others, of which nothing is known: they may hang, flood, fork, and read nothing of
 * what they are given. Each is the head of a process group of its own, which is ended as a whole.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { childFolder } from './child_folder.ts';

const endGraceMs = 5_000;
const pollMs = 50;
/** How long the output of a program is awaited that has ended: its children may hold the pipe. */
const drainMs = 500;

const outputBytesMax = 64 * 1024;
const outputLinesMax = 500;
const lineCharactersMax = 2_000;

export interface GroupOptions {
  /** The whole environment of the program: nothing is inherited. */
  readonly environment: Readonly<Record<string, string>>;
  /** Given to the program, which need not read it. */
  readonly input: string;
  readonly timeoutMs: number;
  /** How long it may take to end after SIGTERM before it is killed; 5 s unless told. */
  readonly graceMs?: number;
  /** Ends the program and all that it has started in its group. */
  readonly signal: AbortSignal;
  /** Each line that it prints, cut at 2000 characters: 64 KiB or 500 lines of either stream. */
  readonly onLine: (line: string) => void;
}

/** How a program ended. */
export interface GroupExit {
  /** `null` where a signal ended it, or it could not be ended. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  /** Whether it was ended because it took too long. */
  readonly isLate: boolean;
  /** The last lines that it printed, on stderr where there are any. */
  readonly lastLines: readonly string[];
  /** What it printed beyond that, which nobody was told. */
  readonly bytesUntold: number;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** Takes what a program prints into one of its streams: lines, as many as there is room for. */
class Output {
  readonly #onLine: (line: string) => void;
  readonly lastLines: string[] = [];
  bytesUntold = 0;
  #bytes = 0;
  #lines = 0;

  constructor(stream: Readable, onLine: (line: string) => void) {
    this.#onLine = onLine;
    this.#read(stream);
  }

  /** Reads a stream to its end: a pipe that nobody reads stops the program. */
  #read(stream: Readable): void {
    let rest = '';
    stream.on('error', () => undefined);
    stream.setEncoding('utf8').on('data', (text: string) => {
      const isFull = this.#bytes >= outputBytesMax || this.#lines >= outputLinesMax;
      const bytes = Buffer.byteLength(text);
      this.#bytes += bytes;
      if (isFull) {
        this.bytesUntold += bytes;
        // A flood is not looked at line by line; how it ends may tell why.
        rest = (rest + text).slice(-lineCharactersMax);
        return;
      }
      const lines = (rest + text).split('\n');
      rest = (lines.pop() ?? '').slice(0, lineCharactersMax);
      for (const line of lines) this.#tell(line);
    });
    stream.once('close', () => {
      for (const line of rest.split('\n')) this.#tell(line);
      rest = '';
    });
  }

  #tell(line: string): void {
    const cut = line.slice(0, lineCharactersMax).trimEnd();
    if (cut === '') return;
    this.lastLines.push(cut);
    if (this.lastLines.length > 3) this.lastLines.shift();
    this.#lines += 1;
    if (this.bytesUntold === 0) this.#onLine(cut);
  }
}

function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, signal);
  } catch {
    // ESRCH: nobody is in it any more.
    return false;
  }
}

/** Ends a whole group: SIGTERM, and SIGKILL for what is left of it after a grace time. */
async function endGroup(group: number, graceMs: number): Promise<void> {
  signalGroup(group, 'SIGTERM');
  for (let waitedMs = 0; waitedMs < graceMs; waitedMs += pollMs) {
    if (!signalGroup(group, 0)) return;
    await sleep(pollMs);
  }
  signalGroup(group, 'SIGKILL');
}

/** Resolves when the program has ended, whoever of its children has not. */
function exitOf(child: Child): Promise<Pick<GroupExit, 'status' | 'signal'>> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (status, signal) => resolve({ status, signal }));
  });
}

/** Takes what is still in the pipes, and closes them to whoever goes on writing. */
async function drain(child: Child): Promise<void> {
  const streams = [child.stdout, child.stderr];
  const closed = streams.map((stream) =>
    stream.closed ? null : new Promise((resolve) => stream.once('close', resolve)),
  );
  const ended = new AbortController();
  const timer = sleep(drainMs, undefined, { signal: ended.signal }).catch(() => undefined);
  await Promise.race([Promise.all(closed), timer]);
  ended.abort();
  for (const stream of [...streams, child.stdin]) stream.destroy();
  await Promise.all(closed);
}

/**
 * Runs a program to its end. What it has started in the background and left there when it ended by
 * itself goes on; of one that is ended here nothing does.
 *
 * @throws the system's error (ENOENT, EACCES …) where it cannot be started; what the signal was
 *   fired with
 */
export async function runGroup(program: string, options: GroupOptions): Promise<GroupExit> {
  const { signal, timeoutMs, graceMs = endGraceMs, input } = options;
  signal.throwIfAborted();
  const child: Child = spawn(program, [], {
    env: { ...options.environment },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
    cwd: childFolder(),
  });
  const said = new Output(child.stdout, options.onLine);
  const complained = new Output(child.stderr, options.onLine);
  // EPIPE: it has not read what it was given, which is its affair.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const exit = exitOf(child);
  const over = new AbortController();
  const late = sleep(timeoutMs, 'late' as const, {
    signal: AbortSignal.any([signal, over.signal]),
  }).catch(() => 'ended' as const);
  try {
    const first = await Promise.race([exit, late]);
    const isEnded = typeof first === 'object';
    if (!isEnded && child.pid !== undefined) await endGroup(child.pid, graceMs);
    // One that not even SIGKILL ends hangs in the kernel: nobody waits for it.
    const unended = { status: null, signal: null };
    const { status, signal: by } = isEnded
      ? first
      : await Promise.race([exit, sleep(endGraceMs, unended, { ref: false })]);
    await drain(child);
    signal.throwIfAborted();
    // Programs say what is wrong where errors go.
    const lastLines = complained.lastLines.length > 0 ? complained.lastLines : said.lastLines;
    const bytesUntold = said.bytesUntold + complained.bytesUntold;
    return { status, signal: by, isLate: first === 'late', lastLines, bytesUntold };
  } finally {
    over.abort();
  }
}
