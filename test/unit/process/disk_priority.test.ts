import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

const run = promisify(execFile);

describe('standing back from the disk', () => {
  const module = new URL('../../../src/process/disk_priority.ts', import.meta.url).href;

  /** What ionice says of a process, of its threads, and of a program it starts. */
  async function classesAfter(ioClass: string, path = process.env.PATH): Promise<string[]> {
    const script = `
      const { execFileSync } = await import('node:child_process');
      const { readdirSync } = await import('node:fs');
      const { readFile } = await import('node:fs/promises');
      const { standBackFromDisk } = await import(${JSON.stringify(module)});
      await readFile(${JSON.stringify(import.meta.filename)});
      const environment = ${JSON.stringify({ PATH: path })};
      await standBackFromDisk(${JSON.stringify(ioClass)}, environment).catch((error) => {
        console.log(error.code + ': ' + error.message);
        process.exit(0);
      });
      const threads = readdirSync('/proc/self/task');
      const own = execFileSync('ionice', ['--pid', ...threads], { encoding: 'utf8' });
      const child = execFileSync('ionice', { encoding: 'utf8' });
      console.log([...new Set((own + child).trim().split('\\n'))].join('\\n'));`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', script]);
    return stdout.trim().split('\n');
  }

  it('is what the process, each of its threads and what it starts do', async () => {
    // Where there is no Linux there is no ionice, which is told as such.
    const isLinux = process.platform === 'linux';
    const idle = await classesAfter('idle');
    expect(isLinux ? idle : ['idle']).toEqual(['idle']);
    const lowest = await classesAfter('best-effort');
    expect(isLinux ? lowest : ['best-effort: prio 7']).toEqual(['best-effort: prio 7']);
  });

  it('is told where ionice is not installed', async () => {
    expect((await classesAfter('idle', '/nonexistent'))[0]).toMatch(/^PROGRAM_MISSING: .*ionice/);
  });
});
