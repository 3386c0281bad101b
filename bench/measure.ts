/** Runs what is measured, as a shell would, and tells what it took. */

import { readFile } from 'node:fs/promises';
import { HoldfastError } from '../src/core/errors.ts';
import { startChild } from '../src/process/stream.ts';

/** What one run took. Times in seconds, sizes in bytes; `null` where the machine does not tell. */
export interface Sample {
  readonly wall: number;
  /** Of the programs on this side: user and system time; where a group says so, of the machine. */
  readonly cpu: number;
  /** Of the server's processes that have ended meanwhile. */
  readonly serverCpu: number | null;
  /** The most memory that Holdfast's own process has held. */
  readonly memory: number | null;
  /** What it has written, where it is a backup. */
  readonly bytes: number | null;
  /** The median of one piece, where the work is many of a kind. */
  readonly each: number | null;
}

/** A script for bash, and what its variables are. */
export interface Script {
  readonly text: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** The kernel's clock ticks per second, as user space sees them: 100 on every Linux. */
const ticksPerSecond = 100;

/** `0m1.250s` → 1.25 */
function secondsOf(text: string): number {
  const match = /^(\d+)m([\d.]+)s$/.exec(text);
  return match === null ? Number.NaN : Number(match[1]) * 60 + Number(match[2]);
}

/** What bash's `times` says of its children: the second of its lines. */
export function childrenSeconds(times: string): number {
  const [, children = ''] = times.trim().split('\n').slice(-2);
  return children.split(' ').reduce((sum, part) => sum + secondsOf(part), 0);
}

/** The processor time of a process's ended children, or `null` where there is no /proc. */
export async function endedChildrenSeconds(pid: number): Promise<number | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything; cutime and cstime are fields 16 and 17.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return (Number(fields[13]) + Number(fields[14])) / ticksPerSecond;
  } catch {
    return null;
  }
}

/**
 * The processor time of all processes since the machine was started, or `null` where there is no
 * /proc: for work that is done by processes which are nobody's children.
 */
export async function busySeconds(): Promise<number | null> {
  try {
    const [first = ''] = (await readFile('/proc/stat', 'utf8')).split('\n');
    // user, nice, system, then idle and iowait, then irq, softirq and steal (proc(5)).
    const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = first
      .split(/ +/)
      .slice(1)
      .map(Number);
    return (user + nice + system + irq + softirq) / ticksPerSecond;
  } catch {
    return null;
  }
}

/**
 * Loaded by Node before our command: at its end it writes down the most memory that the process
 * held. VmHWM is exact and belongs to this program alone; rusage's maximum is inherited from
 * whoever started it.
 */
export function memoryReporter(path: string): string {
  const code = `import{readFileSync,writeFileSync}from'node:fs';
    process.on('exit',()=>{try{
      const kib=/VmHWM:\\s+(\\d+)/.exec(readFileSync('/proc/self/status','utf8'))[1];
      writeFileSync(${JSON.stringify(path)},String(kib*1024));
    }catch{}})`;
  return `--import=data:text/javascript,${encodeURIComponent(code.replaceAll(/\n\s*/g, ''))}`;
}

/**
 * Runs a script to its end, with a pipeline's status being that of whichever part failed.
 *
 * @returns its wall time and the processor time of its programs
 * @throws HoldfastError CHILD_FAILED with what was said when it does not end with 0
 */
export async function timeScript(script: Script): Promise<Pick<Sample, 'wall' | 'cpu'>> {
  const text = `set -eu -o pipefail\n{ ${script.text}\n} >/dev/null\ntimes`;
  const started = performance.now();
  const child = startChild('/bin/bash', ['-c', text], {
    environment: script.environment,
    signal: script.signal,
  });
  child.stdin.end();
  let told = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    told += piece;
  });
  const { status } = await child.exited;
  const wall = (performance.now() - started) / 1000;
  script.signal.throwIfAborted();
  if (status !== 0) {
    throw new HoldfastError('CHILD_FAILED', `${script.text}: ${child.stderrTail().trim()}`);
  }
  return { wall, cpu: childrenSeconds(told) };
}
