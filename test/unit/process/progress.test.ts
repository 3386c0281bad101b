import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { describeProgress, startProgress } from '../../../src/process/progress.ts';

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
    const progress = await startProgress({ title: 'dumping', totalBytes: 100e6, stream, clock });
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
    const progress = await startProgress({ title: 'dumping', totalBytes: null, stream, clock });
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
    const progress = await startProgress({
      title: 'dumping "a b"',
      totalBytes: 4e6,
      stream,
      clock,
    });
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

  it('an estimate that was too small only makes the bar full', async () => {
    const { written, stream, clock, pass } = surroundings(true);
    const progress = await startProgress({ title: 'dumping', totalBytes: 1000, stream, clock });
    pass(1000);
    progress.add(5000);
    await expect.poll(() => written.join('')).toContain('5.0 kB, 5.0 kB/s');
    expect(written.join('')).toContain('█'.repeat(24));
    expect(written.join('')).not.toContain('NaN');
    progress.end();
  });

  it('without an estimate the bar stays empty and the numbers go on', async () => {
    const { written, stream, clock, pass } = surroundings(true);
    const progress = await startProgress({ title: 'dumping', totalBytes: null, stream, clock });
    pass(1000);
    progress.add(5000);
    await expect.poll(() => written.join('')).toContain('5.0 kB, 5.0 kB/s');
    expect(written.join('')).toContain('░'.repeat(24));
    progress.end();
  });
});
