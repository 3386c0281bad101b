/** Two programs beside each other on the way into a store: the kernel carries what is between. */

import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { compressionFilter } from '../../../src/pipeline/compress.ts';
import { openForward } from '../../../src/pipeline/flow.ts';
import { store } from '../../../src/pipeline/pipeline.ts';
import { startChild } from '../../../src/process/stream.ts';

const path = process.env.PATH ?? '';
const filters = [
  compressionFilter({ name: 'zstd', level: 1 }),
  compressionFilter({ name: 'gzip', level: 1 }),
];

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'holdfast-flow-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function contextOf(PATH = path) {
  return { environment: { PATH }, threads: 1, signal: new AbortController().signal };
}

/** A PATH on which one program is another one. */
async function replaced(name: string, script: string): Promise<string> {
  const own = await mkdtemp(join(folder, 'path-'));
  await writeFile(join(own, name), `#!/bin/sh\n${script}\n`);
  await chmod(join(own, name), 0o755);
  return `${own}:${path}`;
}

const numbers = (into?: Parameters<typeof startChild>[2]['into']) => {
  const child = startChild('/bin/sh', ['-c', 'seq 1 300000'], {
    environment: { PATH: path },
    into,
  });
  child.stdin.end();
  return child;
};

describe('two programs beside each other', () => {
  it.each([
    ['a program', () => numbers, true],
    ['a program that is looked at', () => numbers, false],
    ['a stream', () => Readable.from([Buffer.from('holdfast'.repeat(200_000))]), false],
  ] as const)('get the bytes of %s in their order', async (_what, source, plainUnseen) => {
    let stored = Buffer.alloc(0);
    const measured = await store({
      source: source(),
      filters,
      observers: [],
      plainUnseen,
      sinks: [
        async (body) => {
          stored = await buffer(body);
        },
      ],
      context: contextOf(),
    });
    expect(measured.stored.bytes).toBe(stored.length);
    const plain = zstdDecompressSync(gunzipSync(stored)).toString();
    expect(plain.slice(0, 8)).toMatch(/^(1\n2\n3\n4\n|holdfast)$/);
    if (measured.plain !== null) expect(measured.plain.bytes).toBe(plain.length);
  });

  it.each([
    ['the second fails at once', 'gzip', 'echo "the disk is on fire" >&2; exit 3', /on fire/],
    [
      'the second fails later',
      'gzip',
      'head -c 1000 >/dev/null; echo no more >&2; exit 3',
      /no more/,
    ],
    ['the second is killed', 'gzip', 'head -c 1000 >/dev/null; kill -KILL $$', /SIGKILL/],
    ['the first fails', 'zstd', 'head -c 1000 >/dev/null; echo no room >&2; exit 3', /no room/],
  ] as const)('are told by the one that failed when %s', async (_when, name, script, words) => {
    let hasEnded = false;
    const stored = store({
      source: Readable.from(Array.from({ length: 200 }, () => randomBytes(65_536))),
      filters,
      observers: [],
      sinks: [
        async (body) => {
          await buffer(body);
          hasEnded = true;
        },
      ],
      context: contextOf(await replaced(name, script)),
    });
    await expect(stored).rejects.toMatchObject({
      code: 'CHILD_FAILED',
      message: expect.stringMatching(words),
    });
    expect(hasEnded).toBe(false);
  });

  it.each(['before it began', 'EPIPE', 'ECANCELED'])(
    'are told by their status where the write into them ended (%s)',
    async (code) => {
      const [zstd] = filters;
      if (zstd === undefined) throw new Error('there is no filter');
      const cut = {
        ...zstd,
        async forward(context: Parameters<typeof zstd.forward>[0]) {
          const stage = await zstd.forward(context);
          if (stage.kind !== 'child') throw new Error('zstd is a program');
          const { stdin } = stage.child;
          const failure = Object.assign(new Error(`write ${code}`), { code });
          if (code === 'before it began') stdin.destroy();
          else stdin.once('pipe', () => stdin.destroy(failure));
          return stage;
        },
      };
      const stored = store({
        source: Readable.from([randomBytes(65_536)]),
        filters: [cut],
        observers: [],
        sinks: [async (body) => void (await buffer(body))],
        context: contextOf(await replaced('zstd', 'echo no room >&2; exit 3')),
      });
      await expect(stored).rejects.toMatchObject({
        code: 'CHILD_FAILED',
        message: expect.stringContaining('no room'),
      });
    },
  );

  it('leave nothing that runs where the first cannot be started', async () => {
    const [zstd] = filters;
    if (zstd === undefined) throw new Error('there is no filter');
    const broken = { ...zstd, forward: () => Promise.reject(new Error('not today')) };
    const pids: (number | undefined)[] = [];
    const watched = {
      ...zstd,
      async forward(context: Parameters<typeof zstd.forward>[0]) {
        const stage = await zstd.forward(context);
        if (stage.kind === 'child') pids.push(stage.child.pid);
        return stage;
      },
    };
    await expect(openForward([broken, watched], contextOf())).rejects.toThrow('not today');
    const [pid] = pids;
    expect(pid).toBeGreaterThan(0);
    expect(() => process.kill(pid ?? 0, 0)).toThrow('ESRCH');
  });
});
