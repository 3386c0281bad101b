import { type FileHandle, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
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

const never = new AbortController().signal;

/** What is seen of a file that somebody writes. */
async function follow(handle: FileHandle, writerEnded: Promise<unknown>): Promise<string> {
  let seen = '';
  const see = (piece: Buffer) => {
    seen += piece.toString();
  };
  await followFile(handle, writerEnded, see, never);
  return seen;
}

describe('following a file', () => {
  it('shows every byte that is written, also what comes after a pause, and then ends', async () => {
    const handle = await open(join(folder, 'grows'), 'wx+');
    const writer = async () => {
      for (const text of ['one ', 'two ', 'three']) {
        await handle.write(text);
        await sleep(20);
      }
    };
    expect(await follow(handle, writer())).toBe('one two three');
    await handle.close();
  });

  it('reads to the end a file whose writer has failed: its error is told elsewhere', async () => {
    const path = join(folder, 'whole');
    await writeFile(path, 'what there is');
    const handle = await open(path, 'r');
    expect(await follow(handle, Promise.reject(new Error('ended with 1')))).toBe('what there is');
    await handle.close();
  });

  it('fails where the file cannot be read, and where it is stopped', async () => {
    const handle = await open(join(folder, 'write-only'), 'w');
    await expect(follow(handle, Promise.resolve())).rejects.toThrow(/EBADF/);
    await handle.close();
    const growing = await open(join(folder, 'grows'), 'wx+');
    const stop = new AbortController();
    const following = followFile(
      growing,
      new Promise(() => undefined),
      () => undefined,
      stop.signal,
    );
    stop.abort(new Error('enough'));
    await expect(following).rejects.toThrow('enough');
    await growing.close();
  });

  it('is how the output of a child is seen that writes into a file by itself', async () => {
    const path = join(folder, 'output');
    const output = await open(path, 'wx+');
    const child = startChild('/bin/sh', ['-c', 'seq 1 300000; exit 3'], {
      environment: { PATH: process.env.PATH ?? '' },
      output,
    });
    child.stdin.end();
    const text = await follow(output, child.exited);
    expect(text.endsWith('\n300000\n')).toBe(true);
    expect(await buffer(child.stdout)).toHaveLength(0);
    expect(await child.exited).toEqual({ status: 3, signal: null });
    expect((await output.stat()).size).toBe(text.length);
    await output.close();
  });
});
