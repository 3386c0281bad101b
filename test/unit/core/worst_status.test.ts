import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exitStatus } from '../../../src/core/errors.ts';
import { worstStatus } from '../../../src/core/worst_status.ts';

const all = Object.values(exitStatus);

describe('the worst status of several databases', () => {
  it('is 0 where all are, and where there are none', () => {
    expect(worstStatus([])).toBe(0);
    expect(worstStatus([0, 0])).toBe(0);
  });

  it('goes by what a status means, not by its number', () => {
    expect(worstStatus([6, 3]), 'a failed dump is worse than a busy database').toBe(3);
    expect(worstStatus([8, 3])).toBe(3);
    expect(worstStatus([4, 7])).toBe(4);
    expect(worstStatus([1, 8])).toBe(1);
    expect(worstStatus([0, 6])).toBe(6);
    expect(worstStatus([3, 130, 1])).toBe(130);
  });

  it('is one of those given, 0 only if all are, and the same in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...all), { minLength: 1 }), (statuses) => {
        const worst = worstStatus(statuses);
        expect(statuses).toContain(worst);
        expect(worst === 0).toBe(statuses.every((status) => status === 0));
        expect(worstStatus(statuses.toReversed())).toBe(worst);
        expect(worstStatus([...statuses, worst])).toBe(worst);
      }),
    );
  });
});
