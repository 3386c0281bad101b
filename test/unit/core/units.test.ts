import { describe, expect, it } from 'vitest';
import { formatAge, formatBytes, formatCount, formatDuration } from '../../../src/core/units.ts';

describe('sizes', () => {
  it.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [99_949, '99.9 kB'],
    [99_960, '100 kB'],
    [999_499, '999 kB'],
    [999_600, '1.0 MB'],
    [1_234_567_890, '1.2 GB'],
    [5e15, '5.0 PB'],
    [5e19, '50000 PB'],
  ])('%d bytes are %s', (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});

describe('durations', () => {
  it.each([
    [0, '0.0 s'],
    [3.24, '3.2 s'],
    [59.4, '59 s'],
    [60, '1 min 0 s'],
    [119.7, '2 min'],
    [3569, '59 min 29 s'],
    [3599, '1 h 0 min'],
    [4384, '1 h 13 min'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(formatDuration(seconds)).toBe(text);
  });
});

describe('ages', () => {
  it.each([
    [-5, 'in the future'],
    [30, '30 s'],
    [600, '10 min'],
    [7200, '2 h'],
    [172_800, '2 days'],
  ])('%d seconds are %s', (seconds, text) => {
    expect(formatAge(seconds)).toBe(text);
  });
});

describe('counts', () => {
  it('have the noun in the right number', () => {
    expect([0, 1, 2].map((count) => formatCount(count, 'table'))).toEqual([
      '0 tables',
      '1 table',
      '2 tables',
    ]);
  });
});
