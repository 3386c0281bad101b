import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import type { HoldfastError } from '../../../src/core/errors.ts';
import { runChecked, runCommand } from '../../../src/process/run.ts';
import { findUserByName, isRoot } from '../../../src/process/user.ts';

const environment = { PATH: process.env.PATH ?? '' };

async function failureOf(promise: Promise<unknown>): Promise<HoldfastError> {
  return promise.then(
    () => Promise.reject(new Error('it did not fail')),
    (error: HoldfastError) => error,
  );
}

describe('a short command', () => {
  it('takes its arguments as they are, whatever is in them', async () => {
    const args = [
      '',
      ' ',
      "it's",
      '"',
      '$(touch pwned)',
      '`id`',
      'a\nb',
      '\\',
      '*',
      'ü🐘',
      '-n',
      '~',
    ];
    const { stdout, stderr, status } = await runCommand('printf', ['<%s>', ...args], {
      environment,
    });
    expect(stdout).toBe(args.map((arg) => `<${arg}>`).join(''));
    expect({ stderr, status }).toEqual({ stderr: '', status: 0 });
  });

  it('has the environment that it was given and nothing of ours', async () => {
    const given = { ...environment, GREETING: 'a b\nc' };
    const { stdout } = await runCommand('env', ['--null'], { environment: given });
    const names = stdout.split('\0').map((entry) => entry.split('=')[0]);
    expect(stdout).toContain('GREETING=a b\nc\0');
    expect(names.filter((name) => !['', 'GREETING', 'PATH', 'PWD'].includes(name ?? ''))).toEqual(
      [],
    );
  });

  it('reads the text that it is given, and else an empty input', async () => {
    const told = await runCommand('cat', [], { environment, input: 'one\ntwo' });
    expect(told.stdout).toBe('one\ntwo');
    expect((await runCommand('cat', [], { environment })).stdout).toBe('');
  });

  it('tells the status of a program that ends without reading its text', async () => {
    const input = 'x'.repeat(10_000_000);
    const told = await runCommand('sh', ['-c', 'exec <&-; exit 3'], { environment, input });
    expect(told.status).toBe(3);
    await expect(runCommand('holdfast-no-program', [], { environment, input })).rejects.toThrow(
      expect.objectContaining({ code: 'PROGRAM_MISSING' }),
    );
  });

  it('runs in the folder that it is given', async () => {
    const folder = await realpath(await mkdtemp(join(tmpdir(), 'holdfast run $(id) ')));
    try {
      const { stdout } = await runCommand('pwd', ['-P'], { environment, cwd: folder });
      expect(stdout).toBe(`${folder}\n`);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('runs as the user that it is given; only root can', async () => {
    const user = findUserByName('nobody');
    if (user === null) throw new Error('this machine has no user nobody');
    const asNobody = runCommand('id', ['--user'], { environment, user });
    if (isRoot()) expect((await asNobody).stdout).toBe(`${user.uid}\n`);
    else await expect(asNobody).rejects.toThrow();
  });

  it('tells its status and its words, and the caller looks at them', async () => {
    const script = 'echo out; echo err >&2; exit 3';
    const result = await runCommand('sh', ['-c', script], { environment });
    expect(result).toEqual({ stdout: 'out\n', stderr: 'err\n', status: 3, signal: null });
    const killed = await runCommand('sh', ['-c', 'kill -KILL $$'], { environment });
    expect(killed).toMatchObject({ status: null, signal: 'SIGKILL' });
  });

  it('that does not exist says which', async () => {
    const error = await failureOf(runCommand('no such program', [], { environment }));
    expect(error.code).toBe('PROGRAM_MISSING');
    expect(error.message).toContain('no such program');
    expect(error.hint).toContain('PATH');
  });

  it('is ended after its time', async () => {
    const result = await runCommand('sleep', ['60'], { environment, timeoutMs: 100 });
    expect(result).toMatchObject({ status: null, signal: 'SIGTERM' });
  });

  it('is ended by the signal of its caller', async () => {
    const controller = new AbortController();
    const running = runCommand('sleep', ['60'], { environment, signal: controller.signal });
    await pause(50);
    controller.abort();
    expect((await failureOf(running)).code).toBe('INTERRUPTED');
    const never = runCommand('true', [], { environment, signal: controller.signal });
    expect((await failureOf(never)).code).toBe('INTERRUPTED');
  });
});

describe('a short command that must succeed', () => {
  it('gives its answer', async () => {
    const { stdout } = await runChecked('echo', ['fine'], { environment });
    expect(stdout).toBe('fine\n');
  });

  it('fails with how it ended and the last three lines of what it said', async () => {
    const script = 'printf "1\\n2\\n3\\n4\\n" >&2; exit 7';
    const error = await failureOf(runChecked('sh', ['-c', script], { environment }));
    expect(error.code).toBe('CHILD_FAILED');
    expect(error.message).toBe('sh ended with status 7: 2; 3; 4');
    const slow = await failureOf(runChecked('sleep', ['60'], { environment, timeoutMs: 50 }));
    expect(slow.message).toContain('sleep ended with signal SIGTERM');
  });
});
