import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { processExists } from '../../../src/process/identity.ts';
import { type GroupOptions, runGroup } from '../../../src/process/program_group.ts';

let folder: string;
let count = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-group-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** An executable of these lines of shell. */
function program(...lines: readonly string[]): string {
  count += 1;
  const path = join(folder, `program ${count}`);
  writeFileSync(path, ['#!/bin/sh', ...lines, ''].join('\n'), { mode: 0o755 });
  return path;
}

async function run(path: string, options: Partial<GroupOptions> = {}) {
  const lines: string[] = [];
  const exit = await runGroup(path, {
    environment: { PATH: process.env.PATH ?? '', FOLDER: folder },
    input: 'something to read\n',
    timeoutMs: 60_000,
    signal: new AbortController().signal,
    onLine: (line) => lines.push(line),
    ...options,
  });
  return { ...exit, lines };
}

async function until(isSo: () => boolean): Promise<void> {
  for (let waited = 0; !isSo(); waited += 1) {
    if (waited > 600) throw new Error('it did not come about');
    await sleep(50);
  }
}

/** The process number that a program wrote, and whether that process still runs. */
function written(name: string): number {
  try {
    return Number(readFileSync(join(folder, name), 'utf8'));
  } catch {
    return 0;
  }
}

function hasEnded(pid: number): boolean {
  if (!processExists(pid)) return true;
  try {
    // Without an init that asks for its status it stays as a zombie.
    return /^\d+ \(.*\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

describe('a program of others', () => {
  it('gets its input, and its lines and its status are told', async () => {
    const path = program('read -r line', 'printf "%s\\n" "$line" out', 'echo err >&2', 'exit 3');
    const { status, lines, lastLines, isLate } = await run(path);
    expect(status).toBe(3);
    expect(isLate).toBe(false);
    expect(lines.toSorted()).toEqual(['err', 'out', 'something to read']);
    expect(lastLines).toEqual(['err']);
  });

  it('gets nothing of our environment', async () => {
    process.env.HOLDFAST_TEST_SECRET = 'hunter2';
    const { lines } = await run(program('env'));
    delete process.env.HOLDFAST_TEST_SECRET;
    expect(lines).toContain(`FOLDER=${folder}`);
    expect(lines.join()).not.toContain('hunter2');
  });

  it('need not read its input, however long that is', async () => {
    const { status } = await run(program('exec <&-', 'exit 0'), { input: 'x'.repeat(5_000_000) });
    expect(status).toBe(0);
    const ignoring = await run(program('sleep 0.2'), { input: 'x'.repeat(5_000_000) });
    expect(ignoring.status).toBe(0);
  });

  it('may flood: the first lines are told, the last ones kept, and the rest counted', async () => {
    const path = program('yes 0123456789 | head -n 300000', 'echo the last words >&2', 'exit 1');
    const { lines, bytesUntold, lastLines } = await run(path);
    expect(lines.length).toBeGreaterThan(100);
    expect(lines.length).toBeLessThan(20_000);
    expect(bytesUntold).toBeGreaterThan(2_000_000);
    expect(lastLines).toEqual(['the last words']);
    const { lines: one } = await run(program('head -c 100000 /dev/zero | tr "\\0" x'));
    expect(one.every((line) => line.length <= 2_000)).toBe(true);
  });

  it('is ended with all that it has started when it takes too long', async () => {
    const path = program('sleep 600 &', 'echo $! > "$FOLDER/sleeper"', 'sleep 600');
    const { status, signal, isLate } = await run(path, { timeoutMs: 500 });
    expect({ status, signal, isLate }).toEqual({ status: null, signal: 'SIGTERM', isLate: true });
    await until(() => hasEnded(written('sleeper')));
  });

  it('is killed where it does not want to end', async () => {
    const lines = ['echo $$ > "$FOLDER/stubborn"', 'echo begun', 'while :; do sleep 0.1; done'];
    const end = new AbortController();
    const onLine = () => end.abort(new Error('enough'));
    const running = run(program("trap '' TERM", ...lines), {
      graceMs: 300,
      signal: end.signal,
      onLine,
    });
    await expect(running).rejects.toThrow('enough');
    await until(() => hasEnded(written('stubborn')));
  });

  it('may leave something in the background, which nobody waits for', async () => {
    const path = program('sleep 600 &', 'echo $! > "$FOLDER/left"', 'echo done');
    const { status, lines } = await run(path);
    expect({ status, lines }).toEqual({ status: 0, lines: ['done'] });
    const pid = written('left');
    expect(hasEnded(pid)).toBe(false);
    process.kill(pid);
  });

  it('is ended when the run is', async () => {
    const path = program('echo $$ > "$FOLDER/run"', 'echo begun', 'sleep 600');
    const end = new AbortController();
    const reason = new Error('interrupted');
    const running = run(path, { signal: end.signal, onLine: () => end.abort(reason) });
    await expect(running).rejects.toBe(reason);
    await until(() => hasEnded(written('run')));
    await expect(run(path, { signal: end.signal })).rejects.toBe(reason);
  });

  it('that cannot be started is told by its error number', async () => {
    await expect(run(join(folder, 'nothing'))).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(run(folder)).rejects.toMatchObject({ code: 'EACCES' });
    const path = join(folder, 'lost interpreter');
    writeFileSync(path, '#!/nowhere/sh\n', { mode: 0o755 });
    await expect(run(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
