import { describe, expect, it } from 'vitest';
import {
  chooseNext,
  defaultJobs,
  pauseAfter,
  pauseAfterIndex,
  type QueueState,
  readyInOrder,
  serversNext,
} from '../../../src/core/wal_queue.ts';

const name = (number: number) => `0000000100000000${number.toString(16).padStart(8, '0')}`;

function choose(more: Partial<QueueState>): string[] {
  const none = new Set<string>();
  const ready = [1, 2, 3, 4, 5].map(name);
  const state = { ready, stored: none, running: none, resting: none, left: [] };
  return chooseNext({ ...state, jobs: 2, ahead: 16, ...more });
}

describe('readyInOrder', () => {
  it('is the order of the archiver: histories first, then the oldest', () => {
    const files = [
      '000000020000000000000004.ready',
      '000000010000000000000003.done',
      '00000002.history.ready',
      '000000010000000000000003.partial.ready',
      '000000010000000000000002.00000028.backup.ready',
      '000000010000000000000002.ready',
      'ready',
      '.ready.tmp',
    ];
    expect(readyInOrder(files)).toEqual([
      '00000002.history',
      '000000010000000000000002',
      '000000010000000000000002.00000028.backup',
      '000000010000000000000003.partial',
      '000000020000000000000004',
    ]);
    expect(readyInOrder([])).toEqual([]);
  });
});

describe('chooseNext', () => {
  it('takes the oldest that nobody has begun, as many as there are jobs', () => {
    expect(choose({})).toEqual([name(1), name(2)]);
    expect(choose({ stored: new Set([name(1)]), jobs: 1 })).toEqual([name(2)]);
    expect(choose({ running: new Set([name(1)]) })).toEqual([name(2)]);
    expect(choose({ running: new Set([name(1), name(2)]) })).toEqual([]);
    expect(choose({ resting: new Set([name(1), name(3)]) })).toEqual([name(2), name(4)]);
    expect(choose({ running: new Set([name(1), name(2), name(3)]) })).toEqual([]);
    expect(choose({ ready: [] })).toEqual([]);
  });

  it('looks only so far ahead of the first that waits', () => {
    expect(choose({ jobs: 8, ahead: 3 })).toHaveLength(3);
    expect(choose({ jobs: 8, ahead: 3, stored: new Set([name(1), name(2), name(3)]) })).toEqual([]);
    expect(choose({ jobs: 8, ahead: Number.POSITIVE_INFINITY })).toHaveLength(5);
  });
});

describe('serversNext', () => {
  it('is left alone, and the next ones are taken', () => {
    const none = new Set<string>();
    const ready = [1, 2, 3, 4].map(name);
    expect(serversNext({ ready, stored: none, running: none })).toEqual([name(1), name(2)]);
    const stored = new Set([name(1)]);
    const running = new Set([name(2)]);
    expect(serversNext({ ready, stored, running })).toEqual([name(3), name(4)]);
    expect(serversNext({ ready, stored: new Set(ready), running: none })).toEqual([]);
    expect(choose({ left: [name(1), name(2)] })).toEqual([name(3), name(4)]);
    expect(choose({ left: [name(1)], ready: [name(1)] })).toEqual([]);
  });
});

describe('the pauses', () => {
  it('double from a second to a minute', () => {
    expect([1, 2, 3, 6, 7, 100].map(pauseAfter)).toEqual([1000, 2000, 4000, 32000, 60000, 60000]);
  });

  it('leave nineteen twentieths of the time without an index run', () => {
    expect(pauseAfterIndex(2_000)).toBe(40_000);
    expect(pauseAfterIndex(1)).toBe(5_000);
  });
});

describe('defaultJobs', () => {
  it('leaves a processor to the server', () => {
    expect([1, 2, 3, 5, 64].map(defaultJobs)).toEqual([1, 1, 2, 4, 4]);
  });
});
