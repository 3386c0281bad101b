import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import type { HoldfastError } from '../../../src/core/errors.ts';
import { type ChildOptions, childFailure, startChild } from '../../../src/process/stream.ts';

const environment = { PATH: process.env.PATH ?? '' };

function shell(script: string, options: Partial<ChildOptions> = {}) {
  return startChild('sh', ['-c', script], { environment, ...options });
}

/** Waits until the child has said that it is ready: its traps are set. */
async function whenReady(child: ReturnType<typeof shell>): Promise<void> {
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    if (String(chunk).includes('ready')) return;
  }
  throw new Error(`it ended before it was ready: ${child.stderrTail()}`);
}

describe('a data child', () => {
  it('carries bytes through, and tells its status when all of them have come', async () => {
    const child = shell('cat; exit 3');
    child.stdin.end('x'.repeat(1_000_000));
    expect((await text(child.stdout)).length).toBe(1_000_000);
    expect(await child.exited).toEqual({ status: 3, signal: null });
  });

  it('has the environment and the folder that it was given and nothing of ours', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-stream-'));
    try {
      const child = shell('pwd -P; env', { cwd: folder, environment: { ...environment, A: 'b' } });
      const lines = (await text(child.stdout)).trimEnd().split('\n');
      expect(lines[0]).toBe(folder);
      const names = lines.slice(1).map((line) => line.split('=')[0]);
      expect(names.sort()).toEqual(expect.arrayContaining(['A', 'PATH']));
      expect(names.filter((name) => !['A', 'PATH', 'PWD', '_'].includes(name ?? ''))).toEqual([]);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('that does not read to the end of its input is told by its status alone', async () => {
    const child = shell('exit 0');
    child.stdin.write('x'.repeat(1_000_000));
    child.stdin.end();
    child.stdout.resume();
    expect(await child.exited).toEqual({ status: 0, signal: null });
  });

  it('tells each line of its stderr once, and keeps the last 16 kB', async () => {
    const lines: string[] = [];
    const script = 'for n in 1 2 3; do printf "line %s\\n" $n; done >&2; printf "half " >&2';
    const child = shell(`${script}; sleep 0.05; printf "ü\\nrest" >&2`, {
      onStderrLine: (line) => lines.push(line),
    });
    child.stdout.resume();
    await child.exited;
    expect(lines).toEqual(['line 1', 'line 2', 'line 3', 'half ü']);
    expect(child.stderrTail()).toBe('line 1\nline 2\nline 3\nhalf ü\nrest');

    const talkative = shell('yes 0123456789 | head -c 100000 >&2; printf end >&2');
    talkative.stdout.resume();
    await talkative.exited;
    expect(talkative.stderrTail()).toHaveLength(16 * 1024);
    expect(talkative.stderrTail().slice(-6)).toBe('789end');
  });

  it('that does not exist rejects, and ending it is no error', async () => {
    const child = startChild('no such program', [], { environment });
    await expect(child.exited).rejects.toMatchObject({ code: 'PROGRAM_MISSING' });
    await expect(child.exited).rejects.toThrow('no such program cannot be started');
    expect(child.pid).toBeUndefined();
    await child.end();
  });
});

describe('ending a data child', () => {
  it('asks it with SIGTERM, and lets it finish what it does then', async () => {
    const child = shell('trap "echo bye; exit 5" TERM; echo ready; while :; do sleep 0.05; done');
    await whenReady(child);
    const rest = text(child.stdout);
    await child.end();
    expect(await child.exited).toEqual({ status: 5, signal: null });
    expect(await rest).toBe('bye\n');
    await child.end();
  });

  it('kills it when it has not ended after the grace time', async () => {
    const child = shell('trap "" TERM; echo ready; while :; do sleep 0.05; done');
    await whenReady(child);
    child.stdout.resume();
    const startedMs = performance.now();
    await child.end();
    expect(await child.exited).toEqual({ status: null, signal: 'SIGKILL' });
    expect(performance.now() - startedMs).toBeGreaterThan(4_900);
  });

  it('happens when the signal of its caller fires, also one that has fired before', async () => {
    const controller = new AbortController();
    const child = shell('echo ready; exec sleep 60', { signal: controller.signal });
    await whenReady(child);
    child.stdout.resume();
    controller.abort();
    expect(await child.exited).toEqual({ status: null, signal: 'SIGTERM' });
    const late = startChild('sleep', ['60'], { environment, signal: controller.signal });
    late.stdout.resume();
    expect(await late.exited).toEqual({ status: null, signal: 'SIGTERM' });
  });

  it('is not done by a Ctrl-C that this process gets: it has a group of its own', async () => {
    const child = startChild('ps', ['-o', 'pgid=', '-p', String(process.pid)], { environment });
    const ours = Number(await text(child.stdout));
    const own = shell('ps -o pgid= -p $$');
    expect(Number(await text(own.stdout))).toBe(own.pid);
    expect(own.pid).not.toBe(ours);
  });
});

describe('the failure of a data child', () => {
  async function failureOf(script: string): Promise<HoldfastError> {
    const child = shell(script);
    child.stdout.resume();
    return childFailure(child, await child.exited);
  }

  it('says how it ended, with the last three lines of what it said', async () => {
    const error = await failureOf('printf "1\\n2\\n3\\n4\\n" >&2; exit 9');
    expect(error).toMatchObject({ code: 'CHILD_FAILED', message: 'sh ended with 9: 2; 3; 4' });
    expect((await failureOf('exit 1')).message).toBe('sh ended with 1');
  });

  it('by SIGKILL has a hint at the out-of-memory killer', async () => {
    const error = await failureOf('kill -KILL $$');
    expect(error.message).toBe('sh was ended by SIGKILL');
    expect(error.hint).toContain('out-of-memory');
  });

  it('on a full disk is told as that', async () => {
    const error = await failureOf('echo "zstd: error 70: No space left on device" >&2; exit 1');
    expect(error).toMatchObject({ code: 'NO_SPACE' });
    expect(error.message).toContain('No space left');
  });
});
