import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { requireFolder, requireKey, requireName } from '../../../src/storage/key.ts';

const parts = fc.constantFrom(
  'a',
  '',
  '.',
  '..',
  '...',
  'x.partial',
  '.partial',
  'nul\0',
  'ü',
  ' ',
);
const keyLike = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(parts, { maxLength: 6 }).map((components) => components.join('/')),
);

function accepted(check: (key: string) => string, key: string): boolean {
  try {
    return check(key) === key;
  } catch (error) {
    expect(error).toMatchObject({ code: 'PATH_REFUSED' });
    return false;
  }
}

describe('keys', () => {
  it('that are taken stay below the root, whatever is tried', () => {
    fc.assert(
      fc.property(keyLike, (key) => {
        if (!accepted(requireKey, key)) return;
        expect(posix.join('/root', key)).toBe(`/root/${key}`);
        expect(Buffer.from(key, 'utf8').toString('utf8')).toBe(key);
        expect(/\.partial(\/|$)/.test(key)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it('are names where they have one component, and folders may be the root', () => {
    fc.assert(
      fc.property(keyLike, (key) => {
        const isName = accepted(requireKey, key) && !key.includes('/');
        expect(accepted(requireName, key)).toBe(isName);
        expect(accepted(requireFolder, key)).toBe(key === '' || accepted(requireKey, key));
      }),
    );
  });
});
