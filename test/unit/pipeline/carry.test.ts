import { closeSync, readdirSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256Of } from '../../../src/core/sums.ts';
import { carry } from '../../../src/pipeline/carry.ts';
import { createMeasure } from '../../../src/pipeline/measure.ts';
import { makePipe, type Pipe } from '../../../src/process/pipe.ts';
import { startChild } from '../../../src/process/stream.ts';

const environment = { PATH: process.env.PATH ?? '' };
const signal = new AbortController().signal;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-carry-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function pipe(): Promise<Pipe> {
  const made = await makePipe(folder, { environment, signal });
  if (made === null) throw new Error('no pipe');
  return made;
}

/** A pipe that a program writes into. */
async function pipeFrom(script: string) {
  const { read, write } = await pipe();
  const child = startChild('/bin/sh', ['-c', script], { environment, into: write });
  child.stdin.end();
  return { read, child };
}

/** Takes a piece, does something, and only then takes the next one. */
function slowSink(work: () => Promise<void>) {
  const kept: Buffer[] = [];
  const sink = new Writable({
    highWaterMark: 1,
    write(chunk: Buffer, _encoding, done) {
      kept.push(Buffer.from(chunk));
      work().then(() => done(), done);
    },
  });
  return { sink, bytes: () => Buffer.concat(kept) };
}

describe('a pipe', () => {
  it('has two ends, and no name that is left', async () => {
    const { read, write } = await pipe();
    expect(readdirSync(folder)).toEqual([]);
    writeSync(write, 'holdfast');
    closeSync(write);
    const { sink, bytes } = slowSink(async () => undefined);
    await carry({ pipe: read, observers: [], to: sink, signal });
    expect(bytes().toString()).toBe('holdfast');
  });

  it('is not made where there is no mkfifo or no folder', async () => {
    expect(await makePipe(folder, { environment: { PATH: '' }, signal })).toBeNull();
    expect(await makePipe(join(folder, 'gone'), { environment, signal })).toBeNull();
    expect(readdirSync(folder)).toEqual([]);
  });
});

const scripts = [
  ['nothing', 'true'],
  ['a byte', 'printf x'],
  ['many small pieces', 'seq 1 100000; seq 1 100000'],
  ['large ones', 'head -c 20000000 /dev/zero; seq 1 300000'],
] as const;
const cases = [1, 8].flatMap((atOnce) =>
  scripts.map(([what, script]) => ({ what, script, atOnce })),
);

describe('carrying', () => {
  it.each(cases)('loses nothing of $what, $atOnce at once', async ({ script, atOnce }) => {
    const { read, child } = await pipeFrom(script);
    const measure = createMeasure();
    let pieces = 0;
    // Now and then slow, so that buffers are all on their way, and come back out of turn.
    const { sink, bytes } = slowSink(async () => {
      pieces += 1;
      if (pieces % 20 === 0) await pause(3);
    });
    await carry({ pipe: read, observers: [measure], to: sink, atOnce, signal });
    expect(await child.exited).toEqual({ status: 0, signal: null });
    const expected = await startAndRead(script);
    expect(sha256Of(bytes())).toBe(sha256Of(expected));
    expect(measure.result()).toEqual({ bytes: expected.length, sha256: sha256Of(expected) });
  });

  it('holds back a writer that is faster than the reader', async () => {
    const { read, child } = await pipeFrom('exec yes holdfast');
    let seen = 0;
    let taken = 0;
    let furthestAhead = 0;
    const sink = new Writable({
      highWaterMark: 1,
      write(chunk: Buffer, _encoding, done) {
        taken += chunk.length;
        furthestAhead = Math.max(furthestAhead, seen - taken);
        if (taken > 10_000_000) done(new Error('enough'));
        else setImmediate(done);
      },
    });
    const counter = {
      update(chunk: Buffer) {
        seen += chunk.length;
      },
    };
    const carried = carry({ pipe: read, observers: [counter], to: sink, signal });
    await expect(carried).rejects.toThrow('enough');
    expect(furthestAhead).toBeLessThanOrEqual(1024 * 1024);
    expect((await child.exited).status, 'its pipe is broken').not.toBe(0);
  });

  it('ends with the error of an observer, and breaks the pipe', async () => {
    const { read, child } = await pipeFrom('exec yes holdfast');
    const { sink } = slowSink(async () => undefined);
    const observer = {
      update() {
        throw new Error('not understood');
      },
    };
    const carried = carry({ pipe: read, observers: [observer], to: sink, signal });
    await expect(carried).rejects.toThrow('not understood');
    expect(sink.destroyed).toBe(true);
    expect((await child.exited).status).not.toBe(0);
  });

  it('ends with its signal while the writer says nothing', async () => {
    const { read, child } = await pipeFrom('exec sleep 600');
    const stop = new AbortController();
    const { sink } = slowSink(async () => undefined);
    const carried = carry({ pipe: read, observers: [], to: sink, signal: stop.signal });
    const told = expect(carried).rejects.toMatchObject({ name: 'AbortError' });
    await pause(20);
    stop.abort();
    await told;
    expect(sink.destroyed).toBe(true);
    await child.end();
  });
});

/** What a program prints, read in the ordinary way. */
async function startAndRead(script: string): Promise<Buffer> {
  const child = startChild('/bin/sh', ['-c', script], { environment });
  child.stdin.end();
  return Buffer.concat(await child.stdout.toArray());
}
