import { createWriteStream } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { zstdDecompressSync } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import { sha256Of } from '../../../src/core/sums.ts';
import { compressionFilter } from '../../../src/pipeline/compress.ts';
import type { Sink } from '../../../src/pipeline/fan_out.ts';
import type { Filter } from '../../../src/pipeline/filter.ts';
import { type StartSource, store } from '../../../src/pipeline/pipeline.ts';
import { readBack } from '../../../src/pipeline/read_back.ts';
import { type DataChild, startChild } from '../../../src/process/stream.ts';

const environment = { PATH: process.env.PATH ?? '' };
const zstd = [compressionFilter({ name: 'zstd', level: 3 })];

/** Where a pipe can be made; without it the bytes of a program come out of a socket. */
let temporaryDir: string | undefined = tmpdir();

function contextOf(signal = new AbortController().signal) {
  return { environment, threads: 1, signal, temporaryDir };
}

function shell(script: string): StartSource {
  return (into) => {
    const child = startChild('/bin/sh', ['-c', script], { environment, into });
    child.stdin.end();
    return child;
  };
}

/** A sink that tells whether it saw the end of its body. */
function watchingSink(): { sink: Sink; ended: () => boolean; bytes: () => number } {
  let ended = false;
  let bytes = 0;
  return {
    sink: async (body) => {
      for await (const chunk of body as AsyncIterable<Buffer>) bytes += chunk.length;
      ended = true;
    },
    ended: () => ended,
    bytes: () => bytes,
  };
}

/** A filter whose program is killed while it works. */
function killedSoon(honest: Filter): Filter {
  return {
    ...honest,
    async forward(context) {
      const stage = await honest.forward(context);
      if (stage.kind === 'child')
        setTimeout(() => stage.child.pid && process.kill(stage.child.pid, 'SIGKILL'), 50);
      return stage;
    },
  };
}

/** A program that writes straight into the first filter where it is told to. */
function shellInto(script: string): {
  start: StartSource;
  child: () => DataChild;
} {
  let started: DataChild | null = null;
  return {
    start(into) {
      started = startChild('/bin/sh', ['-c', script], { environment, into });
      started.stdin.end();
      return started;
    },
    child() {
      if (started === null) throw new Error('it was not started');
      return started;
    },
  };
}

describe('storing what nobody looks at', () => {
  const unseen = { filters: zstd, observers: [], plainUnseen: true } as const;

  it('lets the program write straight into the compressor', async () => {
    const kept: Buffer[] = [];
    const { start, child } = shellInto('seq 1 200000');
    const measured = await store({
      ...unseen,
      source: start,
      sinks: [async (body) => void kept.push(await buffer(body))],
      context: contextOf(),
    });
    const stored = Buffer.concat(kept);
    expect(measured).toEqual({
      stored: { bytes: stored.length, sha256: sha256Of(stored) },
      plain: null,
    });
    expect(zstdDecompressSync(stored).length).toBe(1288895);
    expect(await child().exited).toEqual({ status: 0, signal: null });
    // A frame with a checksum: bit 2 of its descriptor (RFC 8878, 3.1.1.1.1).
    expect((stored[4] ?? 0) & 4).toBe(4);
  });

  it.each([
    ['without the program of the filter', zstd, { PATH: '' }, null],
    ['without a filter', [], environment, 1288895],
  ] as const)('takes them through this process %s', async (_, filters, programs, plainBytes) => {
    const watched = watchingSink();
    const measured = await store({
      ...unseen,
      filters,
      source: shellInto('seq 1 200000').start,
      sinks: [watched.sink],
      context: { ...contextOf(), environment: programs },
    });
    expect(watched.bytes()).toBe(measured.stored.bytes);
    expect(measured.plain?.bytes ?? null).toBe(plainBytes);
  });

  it.each([
    ['fails', 'seq 1 100000; echo "the disk caught fire" >&2; exit 3', /ended with 3: the disk/],
    ['is killed', 'seq 1 100000; kill -9 $$', /sh was ended by SIGKILL/],
  ])(
    'shows no sink the end when the program %s after its last byte',
    async (_, script, message) => {
      const watched = watchingSink();
      const source = shellInto(script).start;
      await expect(
        store({ ...unseen, source, sinks: [watched.sink], context: contextOf() }),
      ).rejects.toMatchObject({ code: 'CHILD_FAILED', message });
      expect(watched.ended()).toBe(false);
    },
  );

  it('tells a program that cannot be started', async () => {
    const watched = watchingSink();
    const source: StartSource = (into) => startChild('/nowhere/pg_dump', [], { environment, into });
    await expect(
      store({ ...unseen, source, sinks: [watched.sink], context: contextOf() }),
    ).rejects.toMatchObject({ code: 'PROGRAM_MISSING' });
    expect(watched.ended()).toBe(false);
  });

  it.each(['seq 1 100000; exec sleep 600', 'while :; do seq 1 100000; done'])(
    'tells a killed filter as what it is, and ends a program that does: %s',
    async (script) => {
      const watched = watchingSink();
      const { start, child } = shellInto(script);
      const stored = store({
        ...unseen,
        filters: zstd.map(killedSoon),
        source: start,
        sinks: [watched.sink],
        context: contextOf(),
      });
      await expect(stored).rejects.toMatchObject({
        code: 'CHILD_FAILED',
        message: /zstd was ended by SIGKILL/,
      });
      expect(watched.ended()).toBe(false);
      expect((await child().exited).status).not.toBe(0);
    },
  );

  it('fails with the error of the sink, and ends both programs', async () => {
    const { start, child } = shellInto('while :; do seq 1 100000; done');
    await expect(
      store({
        ...unseen,
        source: start,
        sinks: [(body) => pipeline(body, createWriteStream('/dev/full'))],
        context: contextOf(),
      }),
    ).rejects.toMatchObject({ code: 'ENOSPC' });
    expect((await child().exited).status).not.toBe(0);
  });

  it('ends with the reason of the signal', async () => {
    const stop = new AbortController();
    const { start, child } = shellInto('while :; do seq 1 100000; done');
    const stored = store({
      ...unseen,
      source: start,
      sinks: [watchingSink().sink],
      context: contextOf(stop.signal),
    });
    const told = expect(stored).rejects.toMatchObject({ code: 'LOCK_LOST' });
    await pause(50);
    stop.abort(new HoldfastError('LOCK_LOST', 'the lock was lost'));
    await told;
    expect((await child().exited).status).not.toBe(0);
  });
});

describe.each([
  ['a pipe', tmpdir()],
  ['sockets, where no pipe can be made,', join(tmpdir(), 'is', 'not', 'there')],
  ['sockets', undefined],
])('storing through %s', (_, folder) => {
  beforeEach(() => {
    temporaryDir = folder;
  });

  it('loses nothing of a program that ends at once', async () => {
    const watched = watchingSink();
    const measured = await store({
      source: shell('printf holdfast'),
      filters: [],
      observers: [],
      sinks: [watched.sink],
      context: contextOf(),
    });
    expect(measured.plain?.bytes).toBe(8);
    expect(watched.bytes()).toBe(8);
  });

  it('feeds several sinks in one pass', async () => {
    const one = watchingSink();
    const two = watchingSink();
    const measured = await store({
      source: shell('seq 1 200000'),
      filters: zstd,
      observers: [],
      sinks: [one.sink, two.sink],
      context: contextOf(),
    });
    expect(measured.plain?.bytes).toBe(1288895);
    expect(one.bytes()).toBe(measured.stored.bytes);
    expect(two.bytes()).toBe(measured.stored.bytes);
  });

  it('shows no sink the end when the source fails after its last byte', async () => {
    const watched = watchingSink();
    await expect(
      store({
        source: shell('seq 1 1000; echo "the disk caught fire" >&2; exit 3'),
        filters: zstd,
        observers: [],
        sinks: [watched.sink],
        context: contextOf(),
      }),
    ).rejects.toMatchObject({
      code: 'CHILD_FAILED',
      message: /ended with 3: the disk caught fire/,
    });
    expect(watched.ended()).toBe(false);
  });

  it('tells a killed source as what it is', async () => {
    await expect(
      store({
        source: shell('seq 1 1000; kill -9 $$'),
        filters: zstd,
        observers: [],
        sinks: [watchingSink().sink],
        context: contextOf(),
      }),
    ).rejects.toMatchObject({ code: 'CHILD_FAILED', message: /SIGKILL/, hint: /memory/ });
  });

  it('tells a killed filter as what it is, not as a broken pipe', async () => {
    const watched = watchingSink();
    await expect(
      store({
        source: shell('while :; do seq 1 100000; done'),
        filters: zstd.map(killedSoon),
        observers: [],
        sinks: [watched.sink],
        context: contextOf(),
      }),
    ).rejects.toMatchObject({ code: 'CHILD_FAILED', message: /zstd was ended by SIGKILL/ });
    expect(watched.ended()).toBe(false);
  });

  it('fails with the error of the sink that failed, and ends the source', async () => {
    const { start, child } = shellInto('while :; do seq 1 100000; done');
    const watched = watchingSink();
    await expect(
      store({
        source: start,
        filters: zstd,
        observers: [],
        sinks: [watched.sink, (body) => pipeline(body, createWriteStream('/dev/full'))],
        context: contextOf(),
      }),
    ).rejects.toMatchObject({ code: 'ENOSPC' });
    expect(watched.ended()).toBe(false);
    expect((await child().exited).status).not.toBe(0);
  });

  it('tells the words of a sink whose body broke before it could say why', async () => {
    const sink: Sink = async (body) => {
      body.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      await pause(100);
      throw new HoldfastError('RESTORE_FAILED', 'pg_restore was ended by SIGKILL');
    };
    const source = shell('head -c 20000000 /dev/zero');
    const stored = store({
      source,
      filters: [],
      observers: [],
      sinks: [sink],
      context: contextOf(),
    });
    await expect(stored).rejects.toMatchObject({ code: 'RESTORE_FAILED' });
  });

  it('goes at the pace of the slowest sink, in flat memory', async () => {
    let slowBytes = 0;
    let fastBytes = 0;
    let gapMax = 0;
    await store({
      source: shell('head --bytes 60000000 /dev/zero'),
      filters: [],
      observers: [],
      sinks: [
        async (body) => {
          for await (const chunk of body as AsyncIterable<Buffer>) {
            fastBytes += chunk.length;
            gapMax = Math.max(gapMax, fastBytes - slowBytes);
          }
        },
        async (body) => {
          for await (const chunk of body as AsyncIterable<Buffer>) {
            await pause(1);
            slowBytes += chunk.length;
          }
        },
      ],
      context: contextOf(),
    });
    expect(slowBytes).toBe(60_000_000);
    expect(gapMax).toBeLessThan(8_000_000);
  });

  it('ends every child when it is interrupted, with the reason given', async () => {
    const controller = new AbortController();
    const { start, child } = shellInto('while :; do seq 1 100000; done');
    const watched = watchingSink();
    setTimeout(() => controller.abort(new HoldfastError('INTERRUPTED', 'enough')), 50);
    await expect(
      store({
        source: start,
        filters: zstd,
        observers: [],
        sinks: [watched.sink],
        context: contextOf(controller.signal),
      }),
    ).rejects.toMatchObject({ code: 'INTERRUPTED', message: 'enough' });
    expect((await child().exited).status).not.toBe(0);
    expect(watched.ended()).toBe(false);
  });

  it('says which program is missing', async () => {
    await expect(
      store({
        source: (into) => startChild('/nowhere/pg_dump', [], { environment, into }),
        filters: zstd,
        observers: [],
        sinks: [watchingSink().sink],
        context: contextOf(),
      }),
    ).rejects.toMatchObject({ code: 'PROGRAM_MISSING', message: /\/nowhere\/pg_dump/ });
  });
});

describe('reading back', () => {
  it('fails with the error of a body that breaks off', async () => {
    const body = new Readable({
      read() {
        this.destroy(new HoldfastError('STORE_UNREACHABLE', 'the store went away'));
      },
    });
    await expect(
      readBack({ body, filters: [{ name: 'zstd', level: 3 }], context: contextOf() }),
    ).rejects.toMatchObject({ code: 'STORE_UNREACHABLE' });
  });
});
