import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const execute = promisify(execFile);
const source = (name: string) => new URL(`../../../src/process/${name}`, import.meta.url).href;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-folder-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** In which folder a short command and a data child begin, once something happened to ours. */
async function beginningsAfter(what: string): Promise<string[]> {
  const current = await mkdtemp(join(folder, 'current-'));
  const text = `
    import { chmodSync, rmdirSync } from 'node:fs';
    import { text } from 'node:stream/consumers';
    import { runCommand } from '${source('run.ts')}';
    import { startChild } from '${source('stream.ts')}';
    const environment = { PATH: '/usr/bin:/bin' };
    ${what}
    const { stdout } = await runCommand('/bin/pwd', [], { environment });
    const child = startChild('/bin/pwd', [], { environment });
    console.log(stdout.trim());
    console.log((await text(child.stdout)).trim());`;
  const argv = ['--input-type=module', '--eval', text];
  const { stdout } = await execute(process.execPath, argv, { cwd: current });
  return stdout
    .trim()
    .split('\n')
    .map((line) => line.replace(current, 'current'));
}

describe('the programs that a command calls', () => {
  it('begin in the current folder', async () => {
    expect(await beginningsAfter('')).toEqual(['current', 'current']);
  });

  it('begin in / where the user may not enter it, as after sudo -u postgres', async () => {
    const become = `
      chmodSync(process.cwd(), 0);
      if (process.geteuid() === 0) { process.setgid(65534); process.setuid(65534); }`;
    expect(await beginningsAfter(become)).toEqual(['/', '/']);
  });

  it('begin in / where it was removed', async () => {
    expect(await beginningsAfter('rmdirSync(process.cwd());')).toEqual(['/', '/']);
  });
});
