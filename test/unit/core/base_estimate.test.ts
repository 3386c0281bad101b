import { describe, expect, it } from 'vitest';
import { estimateBase } from '../../../src/core/base_estimate.ts';

type Sized = Parameters<typeof estimateBase>[2][number];

function backup(kind: 'base' | 'incr', cluster: number, plain: number, stored: number): Sized {
  const file = { plain: { bytes: plain }, stored: { bytes: stored } };
  return { kind, cluster_bytes: cluster, files: [file as Sized['files'][number]] };
}

const [old, whole] = [backup('base', 500, 500, 200), backup('base', 1000, 1000, 300)];
const increment = backup('incr', 1000, 100, 20);

describe('the size of the next base backup', () => {
  it('is half of the cluster where nothing else is known', () => {
    const half = { plainBytes: 1001, storedBytes: 501, from: 'database' };
    expect(estimateBase('base', 1001, [])).toEqual(half);
    expect(estimateBase('incr', 1001, [])).toEqual(half);
    expect(estimateBase('base', 1001, [increment])).toEqual(half);
  });

  it('is that of the last whole one, grown with the cluster', () => {
    const grown = { plainBytes: 2000, storedBytes: 600, from: 'history' };
    expect(estimateBase('base', 2000, [old, whole, increment])).toEqual(grown);
    expect(estimateBase('base', 500, [whole]).storedBytes).toBe(300);
  });

  it('is twice the last increment, and never refused for a guess', () => {
    const twice = { plainBytes: 200, storedBytes: 40, from: 'history' };
    expect(estimateBase('incr', 2000, [whole, increment])).toEqual(twice);
    const guess = { plainBytes: 1000, storedBytes: 300, from: 'database' };
    expect(estimateBase('incr', 1000, [whole])).toEqual(guess);
    const large = backup('incr', 1000, 900, 290);
    expect(estimateBase('incr', 1000, [whole, large])).toMatchObject({
      plainBytes: 1000,
      storedBytes: 300,
    });
  });
});
