import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findProgram } from '../../../src/process/find_program.ts';

let folder: string;
let first: string;
let second: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast find $(program) '));
  first = join(folder, 'first');
  second = join(folder, 'second folder');
  await mkdir(first);
  await mkdir(second);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function makeProgram(path: string): Promise<string> {
  await writeFile(path, '#!/bin/sh\n');
  await chmod(path, 0o755);
  return path;
}

const find = (...folders: string[]) => findProgram('zstd', { PATH: folders.join(':') });

describe('a program on PATH', () => {
  it('is the first of its name, in the order of the folders', async () => {
    const inSecond = await makeProgram(join(second, 'zstd'));
    expect(await find(first, second)).toBe(inSecond);
    const inFirst = await makeProgram(join(first, 'zstd'));
    expect(await find(first, second)).toBe(inFirst);
    expect(await find(second, first)).toBe(inSecond);
  });

  it('may be a link to a file; a folder or a file that cannot be run is passed over', async () => {
    await mkdir(join(first, 'zstd'));
    expect(await find(first)).toBeNull();
    await writeFile(join(second, 'zstd'), 'text');
    await chmod(join(second, 'zstd'), 0o644);
    expect(await find(first, second)).toBeNull();
    const target = await makeProgram(join(folder, 'zstd-1.5'));
    const links = join(folder, 'links');
    await mkdir(links);
    await symlink(target, join(links, 'zstd'));
    expect(await find(first, second, links)).toBe(join(links, 'zstd'));
  });

  it('is never looked for in a folder that depends on the current one', async () => {
    await makeProgram(join(first, 'zstd'));
    expect(await find('', '.', relative(process.cwd(), first))).toBeNull();
    expect(await findProgram('zstd', {})).toBeNull();
  });
});
