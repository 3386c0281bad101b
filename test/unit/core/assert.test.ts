import { describe, expect, it } from 'vitest';
import { assert } from '../../../src/core/assert.ts';
import { HoldfastError } from '../../../src/core/errors.ts';

describe('assert', () => {
  it.each([true, 1, 'text', {}, []])('lets %j pass', (condition) => {
    expect(() => assert(condition, 'never told')).not.toThrow();
  });

  it.each([false, 0, '', null, undefined, Number.NaN])(
    'takes %j for a fault of Holdfast itself, and says what was stated',
    (condition) => {
      const statement = () => assert(condition, 'a backup has a dump');
      expect(statement).toThrow(HoldfastError);
      expect(statement).toThrow(
        expect.objectContaining({
          code: 'UNEXPECTED',
          status: 1,
          message: 'assertion failed: a backup has a dump',
        }),
      );
    },
  );

  it('narrows the type of what was stated', () => {
    const found: string | undefined = ['a'].at(0);
    assert(found !== undefined, 'the list is not empty');
    expect(found.toUpperCase()).toBe('A');
  });
});
