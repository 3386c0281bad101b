import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { feed, type Taker } from '../../../src/pipeline/feed.ts';

const pieceBytes = 64 * 1024;
const pieces = 100;

/** More than all buffers on the way hold together. */
function source(): Readable {
  return Readable.from(
    Array.from({ length: pieces }, (_, index) => Buffer.alloc(pieceBytes, index)),
  );
}

const whole = await buffer(source());

function taker<T>(take: Taker<T>['take'], more: Partial<Taker<T>> = {}): Taker<T> {
  return {
    take,
    stallMs: 60_000,
    settleMs: () => 60_000,
    late: () => new Error('too late'),
    signal: new AbortController().signal,
    ...more,
  };
}

const good = () => taker((body) => buffer(body));
const never = () => new Promise<never>(() => undefined);
/** Reads one piece and then no more. */
async function hang(body: Readable): Promise<never> {
  await new Promise((resolve) => body.once('readable', resolve));
  body.read(1);
  return never();
}

describe('feeding several takers', () => {
  it('gives the whole stream to each of them', async () => {
    const taken = await feed(source(), [good(), good(), good()]);
    expect(taken).toHaveLength(3);
    for (const each of taken) expect(each.ok && each.value.equals(whole)).toBe(true);
  });

  it('goes on without one that fails at its beginning, in the middle or at its end', async () => {
    const atEnd = taker(async (body) => {
      await buffer(body);
      throw new Error('the disk is full at the end');
    });
    const inMiddle = taker(async (body) => {
      let bytes = 0;
      for await (const piece of body) {
        bytes += piece.length;
        if (bytes > whole.length / 2) throw new Error('the disk is full in the middle');
      }
    });
    const atOnce = taker(async (body) => {
      body.destroy();
      throw new Error('no permission');
    });
    const [first, ...others] = await feed<unknown>(source(), [good(), atOnce, inMiddle, atEnd]);
    expect(first?.ok && (first.value as Buffer).equals(whole)).toBe(true);
    expect(others.map((each) => !each.ok && (each.error as Error).message)).toEqual([
      'no permission',
      'the disk is full in the middle',
      'the disk is full at the end',
    ]);
  });

  it('leaves one behind that takes nothing any more, or never says that all is safe', async () => {
    const silent = taker(
      async (body) => {
        await buffer(body);
        return never();
      },
      { settleMs: (bytes) => (bytes === whole.length ? 50 : 60_000) },
    );
    const hangs = taker(hang, { stallMs: 50 });
    const taken = await feed<unknown>(source(), [hangs, good(), silent]);
    expect(taken.map(({ ok }) => ok)).toEqual([false, true, false]);
    expect(taken[0]).toMatchObject({ error: { message: 'too late' } });
    expect(taken[2]).toMatchObject({ error: { message: 'too late' } });
  });

  it('leaves one behind that somebody else has given up, also while it is waited for', async () => {
    const stop = new AbortController();
    const hangs = taker(hang, { signal: stop.signal });
    const fed = feed<unknown>(source(), [good(), hangs]);
    stop.abort(new Error('it has failed elsewhere'));
    expect(await fed).toMatchObject([
      { ok: true },
      { error: { message: 'it has failed elsewhere' } },
    ]);
    const before = await feed<unknown>(source(), [taker(hang, { signal: stop.signal }), good()]);
    expect(before).toMatchObject([{ error: { message: 'it has failed elsewhere' } }, { ok: true }]);
  });

  it('reads no further when nobody is left, and tells why', async () => {
    const failing = () =>
      taker(async (body) => {
        body.destroy();
        throw new Error('full');
      });
    let read = 0;
    const endless = new Readable({
      read() {
        read += 1;
        this.push(Buffer.alloc(pieceBytes));
      },
    });
    expect(await feed(endless, [failing(), failing()])).toMatchObject([
      { error: { message: 'full' } },
      { error: { message: 'full' } },
    ]);
    expect(endless.destroyed).toBe(true);
    expect(read).toBeLessThan(50);
  });

  it('shows no taker the end of a stream that broke off', async () => {
    const breaking = Readable.from(
      (async function* () {
        yield Buffer.alloc(pieceBytes);
        throw new Error('pg_dump was killed');
      })(),
    );
    const seen: string[] = [];
    const watching = () =>
      taker(async (body) => {
        await buffer(body).then(
          () => seen.push('end'),
          (error: Error) => seen.push(error.message),
        );
      });
    await expect(feed(breaking, [watching(), watching()])).rejects.toThrow('pg_dump was killed');
    expect(seen).toEqual(['pg_dump was killed', 'pg_dump was killed']);
  });
});
