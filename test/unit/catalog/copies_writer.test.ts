import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { CopiesWriter, settleMsOf, stallMsOf } from '../../../src/catalog/copies_writer.ts';
import type { StoreSpec } from '../../../src/config/stores.ts';
import { HoldfastError } from '../../../src/core/errors.ts';
import { type StubWriter, stubSpec, stubWriter, type Trouble } from '../../support/stub_writer.ts';

const large = Buffer.alloc(4 * 1024 * 1024, 'holdfast');
const small = Buffer.from('small');
const { signal } = new AbortController();

interface Bench {
  readonly copies: CopiesWriter;
  readonly writers: readonly StubWriter[];
  /** Names of the stores that were left behind, when they were. */
  readonly left: string[];
}

/** Stores a, b, c … with their trouble. */
function bench(troubles: readonly (Trouble | null)[], more: Partial<StoreSpec> = {}): Bench {
  const left: string[] = [];
  const writers = troubles.map((trouble, index) => stubWriter(trouble, 'abc'[index]));
  let seconds = 0;
  const copies = new CopiesWriter(
    writers.map((writer, index) => ({ spec: stubSpec('abc'[index] ?? '', more), writer })),
    {
      folder: 'full/c/d/label',
      stopwatch: () => {
        seconds += 1;
        return seconds;
      },
      onLeft: ({ name }) => left.push(name),
    },
  );
  return { copies, writers, left };
}

const pieces = () =>
  Readable.from(Array.from({ length: 64 }, (_, i) => large.subarray(i * 65_536, (i + 1) * 65_536)));

/** What a backup does: two large files at once, a small one, a look at all of it, the commit. */
async function write({ copies }: Bench): Promise<void> {
  await Promise.all([copies.put('dump', pieces()), copies.put('globals', pieces())]);
  await copies.put('sums', small);
  await copies.each(large.length, signal, async (writer) => {
    const measured = await writer.measure('dump', signal);
    expect(measured.bytes).toBe(large.length);
  });
  await copies.commit('manifest', small);
}

function expectWhole(writer: StubWriter | undefined): void {
  expect(writer?.state).toBe('committed');
  expect([...(writer?.files.keys() ?? [])].sort()).toEqual(['dump', 'globals', 'manifest', 'sums']);
  expect(writer?.files.get('dump')?.equals(large)).toBe(true);
  expect(writer?.files.get('globals')?.equals(large)).toBe(true);
}

describe('one folder in several stores', () => {
  it('is whole in each of them', async () => {
    const all = bench([null, null, null]);
    await write(all);
    for (const writer of all.writers) expectWhole(writer);
    expect(all.copies.report()).toMatchObject(
      ['a', 'b', 'c'].map((store) => ({ store, status: 'stored', error: null })),
    );
    const bytes = 2 * large.length + 2 * small.length;
    for (const copy of all.copies.report()) expect(copy).toMatchObject({ bytes });
  });

  it.each(['put', 'body', 'measure', 'commit'] as const)(
    'is whole in the others when one fails at its %s, and nothing stays there',
    async (at) => {
      const all = bench([{ at, how: 'fails' }, null]);
      await write(all);
      expect(all.left).toEqual(['a']);
      expect(all.writers[0]?.state).toBe('aborted');
      expectWhole(all.writers[1]);
      expect(all.copies.count).toBe(1);
      expect(all.copies.isDiscarded).toBe(true);
      expect(all.copies.report()).toMatchObject([
        { store: 'a', status: 'missing', error: { code: 'NO_SPACE' } },
        { store: 'b', status: 'stored' },
      ]);
    },
  );

  it.each(['put', 'body', 'measure', 'commit'] as const)(
    'is whole in the others when one hangs at its %s',
    async (at) => {
      // What waits for nothing but a timer, however busy the machine is.
      const [hanging, good] = [stubWriter({ at, how: 'hangs' }), stubWriter()];
      const left: string[] = [];
      const copies = new CopiesWriter(
        [
          { spec: stubSpec('b', { stallMs: 20, bytesPerSecondMax: null }), writer: hanging },
          { spec: stubSpec('a'), writer: good },
        ],
        { folder: 'f', stopwatch: () => 0, onLeft: ({ name }) => left.push(name) },
      );
      await write({ copies, writers: [], left });
      expect(left).toEqual(['b']);
      expectWhole(good);
      expect(copies.report()[0]?.error).toMatchObject({
        code: 'STORE_UNREACHABLE',
        message: expect.stringContaining('the store "b" did not answer in time'),
      });
    },
  );

  it('fails with the error of the first that failed when none is left, and says nothing before', async () => {
    const all = bench([
      { at: 'commit', how: 'fails' },
      { at: 'body', how: 'fails' },
    ]);
    await expect(write(all)).rejects.toThrow('b: no space left at its body');
    expect(all.left).toEqual(['b']);
    await all.copies.abort();
    expect(all.writers.map(({ state }) => state)).toEqual(['aborted', 'aborted']);
  });

  it('goes on without stores that could not be begun', async () => {
    const error = new HoldfastError('STORE_UNREACHABLE', 'no route to host');
    const left: string[] = [];
    const options = { folder: 'f', stopwatch: () => 0, onLeft: () => left.push('x') };
    const writer = stubWriter();
    const copies = new CopiesWriter(
      [
        { spec: stubSpec('a'), error },
        { spec: stubSpec('b'), writer },
      ],
      options,
    );
    await write({ copies, writers: [], left });
    expectWhole(writer);
    expect(left).toEqual(['x']);
    expect(() => new CopiesWriter([{ spec: stubSpec('a'), error }], options)).toThrow(error);
    expect(left).toEqual(['x']);
  });

  it('is nowhere when the stream breaks off: no store has failed then', async () => {
    const all = bench([null, null]);
    const broken = Readable.from(
      (async function* () {
        yield large;
        throw new Error('pg_dump was killed');
      })(),
    );
    await expect(all.copies.put('dump', broken)).rejects.toThrow('pg_dump was killed');
    await all.copies.abort();
    expect(all.left).toEqual([]);
    expect(all.writers.map(({ state }) => state)).toEqual(['aborted', 'aborted']);
    expect(all.writers.map(({ files }) => files.size)).toEqual([0, 0]);
  });

  it('blames no store for an interruption while it is read back', async () => {
    const all = bench([null, null]);
    const stop = new AbortController();
    const read = all.copies.each(1, stop.signal, async () => {
      stop.abort(new HoldfastError('INTERRUPTED', 'interrupted by SIGINT'));
      throw new Error('reading broke off');
    });
    await expect(read).rejects.toThrow('interrupted by SIGINT');
    expect(all.left).toEqual([]);
  });

  it('is written straight where there is BACKUP_DIR only: its own error is the error', async () => {
    const alone = bench([null], { name: 'local' });
    await write(alone);
    expectWhole(alone.writers[0]);
    const bytes = 2 * large.length + 2 * small.length;
    expect(alone.copies.report()).toMatchObject([{ store: 'local', status: 'stored', bytes }]);
    const failing = bench([{ at: 'measure', how: 'fails' }], { name: 'local' });
    await expect(write(failing)).rejects.toThrow('a: no space');
    expect(failing.copies.report()).toMatchObject([{ error: null }]);
  });
});

describe('how long a store may take', () => {
  it('grows with what it has to do, and with its own limit of the rate', () => {
    const free = stubSpec('a', { stallMs: 1000 });
    const slow = stubSpec('a', { stallMs: 1000, bytesPerSecondMax: 1024 * 1024 });
    expect(stallMsOf(free)).toBe(1000);
    expect(settleMsOf(free, 80 * 1024 * 1024)).toBe(11_000);
    expect(stallMsOf(slow)).toBe(129_000);
    expect(settleMsOf(slow, 80 * 1024 * 1024)).toBe(209_000);
  });
});
