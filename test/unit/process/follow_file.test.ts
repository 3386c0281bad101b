import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { followFile } from '../../../src/process/follow_file.ts';
import { startChild } from '../../../src/process/stream.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-follow-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('following a file', () => {
  it('gives every byte that is written, also what comes after a pause, and then ends', async () => {
    const handle = await open(join(folder, 'grows'), 'wx+');
    const writer = async () => {
      for (const text of ['one ', 'two ', 'three']) {
        await handle.write(text);
        await sleep(20);
      }
    };
    const bytes = await buffer(followFile(handle, writer()));
    expect(bytes.toString()).toBe('one two three');
    await handle.close();
  });

  it('reads to the end a file whose writer has failed: its error is told elsewhere', async () => {
    const path = join(folder, 'whole');
    await writeFile(path, 'what there is');
    const handle = await open(path, 'r');
    const bytes = await buffer(followFile(handle, Promise.reject(new Error('ended with 1'))));
    expect(bytes.toString()).toBe('what there is');
    await handle.close();
  });

  it('fails where the file cannot be read', async () => {
    const handle = await open(join(folder, 'write-only'), 'w');
    await expect(buffer(followFile(handle, Promise.resolve()))).rejects.toThrow(/EBADF/);
    await handle.close();
  });

  it('is how the output of a child is read that writes into a file by itself', async () => {
    const path = join(folder, 'output');
    const output = await open(path, 'wx+');
    const child = startChild('/bin/sh', ['-c', 'seq 1 300000; exit 3'], {
      environment: { PATH: process.env.PATH ?? '' },
      output,
    });
    child.stdin.end();
    const bytes = await buffer(child.stdout);
    expect(bytes.toString().endsWith('\n300000\n')).toBe(true);
    expect(await child.exited).toEqual({ status: 3, signal: null });
    expect((await output.stat()).size).toBe(bytes.length);
    await output.close();
  });
});
