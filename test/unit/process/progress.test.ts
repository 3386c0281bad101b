import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { createProgressBoard, describeProgress } from '../../../src/process/progress.ts';

/** A stream that keeps what is written, and a clock that goes when it is told. */
function surroundings(isTTY: boolean) {
  const written: string[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString());
      done();
    },
  });
  let nowMs = 1_000_000;
  return {
    written,
    stream: Object.assign(stream, { isTTY, columns: 100 }),
    clock: () => nowMs,
    pass(ms: number) {
      nowMs += ms;
    },
  };
}

describe('what is told of long work', () => {
  it('is size, rate and what is left', () => {
    expect(describeProgress(412e6, 1.1e9, 2)).toBe('412 MB of about 1.1 GB, 206 MB/s, 3.3 s left');
  });

  it('is no guess in the first second, nor when the estimate was passed, nor without one', () => {
    expect(describeProgress(1e6, 2e6, 0.5)).toBe('1.0 MB of about 2.0 MB, 2.0 MB/s');
    expect(describeProgress(3e6, 2e6, 3)).toBe('3.0 MB, 1.0 MB/s');
    expect(describeProgress(3e6, null, 3)).toBe('3.0 MB, 1.0 MB/s');
  });

  it('is sound before anything has come', () => {
    expect(describeProgress(0, 2e6, 0)).toBe('0 B of about 2.0 MB, 0 B/s');
    expect(describeProgress(0, null, 5)).toBe('0 B, 0 B/s');
  });
});

describe('without a terminal', () => {
  it('a line is written every thirty seconds, however often bytes come', async () => {
    const { written, stream, clock, pass } = surroundings(false);
    const progress = await createProgressBoard({ stream, clock }).start('dumping', 100e6);
    for (let second = 0; second < 65; second += 1) {
      pass(1000);
      progress.add(1e6);
    }
    progress.end();
    expect(written).toEqual([
      'dumping: 30.0 MB of about 100 MB, 1.0 MB/s, 1 min 10 s left\n',
      'dumping: 60.0 MB of about 100 MB, 1.0 MB/s, 40 s left\n',
    ]);
  });

  it('short work is not mentioned', async () => {
    const { written, stream, clock, pass } = surroundings(false);
    const progress = await createProgressBoard({ stream, clock }).start('dumping', null);
    progress.add(1e9);
    pass(29_999);
    progress.add(1);
    progress.end();
    expect(written).toEqual([]);
  });
});

describe('on a terminal', () => {
  it('a bar is drawn, and cleared at the end with the cursor shown again', async () => {
    const { written, stream, clock, pass } = surroundings(true);
    const progress = await createProgressBoard({ stream, clock }).start('dumping "a b"', 4e6);
    pass(2000);
    progress.add(2e6);
    await expect
      .poll(() => written.join(''))
      .toContain('2.0 MB of about 4.0 MB, 1.0 MB/s, 2.0 s left');
    const drawn = written.join('');
    expect(drawn).toContain('dumping "a b"');
    expect(drawn).toContain('█'.repeat(12) + '░'.repeat(12));
    progress.end();
    const all = written.join('');
    expect(all.lastIndexOf('\x1b[?25h')).toBeGreaterThan(all.lastIndexOf('\x1b[?25l'));
    const atTheEnd = written.length;
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(written).toHaveLength(atTheEnd);
  });

  it('several pieces of work share one bar, which never goes back', async () => {
    const { written, stream, clock, pass } = surroundings(true);
    const board = createProgressBoard({ stream, clock });
    const first = await board.start('dumping a', 2e6);
    const second = await board.start('dumping b', 4e6);
    pass(1000);
    first.add(2e6);
    await expect.poll(() => written.join('')).toContain('2 at once ████████░');
    first.end();
    pass(1000);
    second.add(1e6);
    await expect.poll(() => written.join('')).toContain('3.0 MB of about 6.0 MB');
    expect(written.join('')).toContain(`dumping b ${'█'.repeat(12)}░`);
    second.end();
    const atTheEnd = written.length;
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(written).toHaveLength(atTheEnd);
  });

  it('makes room for a line, and comes back with the next bytes', async () => {
    const { written, stream, clock, pass } = surroundings(true);
    const board = createProgressBoard({ stream, clock });
    const progress = await board.start('dumping', 4e6);
    board.clear();
    const cleared = written.length;
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(written, 'nothing is drawn over the line').toHaveLength(cleared);
    pass(1000);
    progress.add(2e6);
    expect(written.slice(cleared).join('')).toContain('2.0 MB of about 4.0 MB');
    progress.end();
  });

  it('a title acts on no terminal', async () => {
    const { written, stream, clock } = surroundings(true);
    const progress = await createProgressBoard({ stream, clock }).start('a {value}\x1b[2J', 1);
    expect(written.join('')).toContain('a {value}\\u001b[2J');
    progress.end();
  });

  it('an estimate that was too small only makes the bar full', async () => {
    const { written, stream, clock, pass } = surroundings(true);
    const progress = await createProgressBoard({ stream, clock }).start('dumping', 1000);
    pass(1000);
    progress.add(5000);
    await expect.poll(() => written.join('')).toContain('5.0 kB, 5.0 kB/s');
    expect(written.join('')).toContain('█'.repeat(24));
    expect(written.join('')).not.toContain('NaN');
    progress.end();
  });

  it('without an estimate the bar stays empty and the numbers go on', async () => {
    const { written, stream, clock, pass } = surroundings(true);
    const progress = await createProgressBoard({ stream, clock }).start('dumping', null);
    pass(1000);
    progress.add(5000);
    await expect.poll(() => written.join('')).toContain('5.0 kB, 5.0 kB/s');
    expect(written.join('')).toContain('░'.repeat(24));
    progress.end();
  });
});
