import { execFile } from 'node:child_process';
import { getPriority } from 'node:os';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);
const module = new URL('../../../src/process/priority.ts', import.meta.url).href;

/** The nice values of a process that stands back, of its threads, and of a program it starts. */
async function nicesAfter(...values: readonly number[]) {
  const script = `
    const { execFileSync } = await import('node:child_process');
    const { readdirSync } = await import('node:fs');
    const { readFile } = await import('node:fs/promises');
    const { getPriority } = await import('node:os');
    const { standBack } = await import(${JSON.stringify(module)});
    await readFile(${JSON.stringify(import.meta.filename)});
    for (const value of ${JSON.stringify(values)}) standBack(value);
    let threads = [];
    try {
      threads = readdirSync('/proc/self/task').map((thread) => getPriority(Number(thread)));
    } catch {}
    const child = Number(execFileSync('nice', { encoding: 'utf8' }));
    console.log(JSON.stringify({ own: getPriority(), threads: [...new Set(threads)], child }));`;
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script]);
  return JSON.parse(stdout);
}

const before = getPriority();

describe('standing back', () => {
  it('is what the process, each of its threads and what it starts do', async () => {
    const nice = Math.min(19, before + 3);
    const seen = await nicesAfter(nice);
    expect(seen).toMatchObject({ own: nice, child: nice });
    if (process.platform === 'linux') expect(seen.threads).toEqual([nice]);
  });

  it('never comes forward again, and 0 changes nothing', async () => {
    expect(await nicesAfter(0)).toMatchObject({ own: before, child: before });
    const nice = Math.min(19, before + 3);
    expect(await nicesAfter(nice, before + 1)).toMatchObject({ own: nice, child: nice });
  });
});
