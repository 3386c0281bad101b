import { describe, expect, it } from 'vitest';
import { assert } from '../../../src/core/assert.ts';
import { HoldfastError, toHoldfastError } from '../../../src/core/errors.ts';

describe('whatever was thrown', () => {
  it('keeps its code where it has one of ours', () => {
    const error = new HoldfastError('LOCKED', 'another run holds the lock');
    expect(toHoldfastError(error)).toBe(error);
    expect(error.status).toBe(6);
  });

  it.each([
    ['ENOSPC', 'NO_SPACE', 3],
    ['EDQUOT', 'NO_SPACE', 3],
    ['EACCES', 'STORE_REFUSED', 7],
    ['EROFS', 'STORE_REFUSED', 7],
    ['ENAMETOOLONG', 'STORE_REFUSED', 7],
    ['EMFILE', 'LIMIT_REACHED', 3],
    ['ENFILE', 'LIMIT_REACHED', 3],
    ['EBADF', 'UNEXPECTED', 1],
  ])('%s becomes %s', (errno, code, status) => {
    const cause = Object.assign(new Error('write failed'), { code: errno });
    const error = toHoldfastError(cause, 'writing the manifest');
    expect(error).toMatchObject({ code, status, cause });
    expect(error.message).toContain('writing the manifest: ');
    expect(error.hint).toMatch(/\.$/);
  });

  it('is an error even when it was none', () => {
    expect(toHoldfastError('oops')).toMatchObject({ code: 'UNEXPECTED', message: 'oops' });
    expect(toHoldfastError(new DOMException('x', 'AbortError'))).toMatchObject({ status: 130 });
  });
});

describe('an assertion', () => {
  it('is silent where it holds and a fault of ours where it does not', () => {
    expect(() => assert(true, 'water is wet')).not.toThrow();
    expect(() => assert(false, 'water is dry')).toThrow('assertion failed: water is dry');
  });
});
