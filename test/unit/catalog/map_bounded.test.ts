import { describe, expect, it } from 'vitest';
import { mapBounded } from '../../../src/catalog/map_bounded.ts';

describe('mapBounded', () => {
  it('keeps the order and never does more at the same time than told', async () => {
    let running = 0;
    let most = 0;
    const results = await mapBounded([5, 1, 4, 2, 3, 0], 3, async (item) => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setTimeout(resolve, item));
      running -= 1;
      return item * 2;
    });
    expect(results).toEqual([10, 2, 8, 4, 6, 0]);
    expect(most).toBe(3);
    expect(await mapBounded([], 3, async () => 1)).toEqual([]);
  });

  it('fails with the first failure', async () => {
    const failing = mapBounded([1, 2], 2, async (item) => {
      throw new Error(`item ${item}`);
    });
    await expect(failing).rejects.toThrow('item 1');
  });
});
