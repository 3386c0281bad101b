import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatLockHolder, parseLockHolder } from '../../../src/postgres/lock_holder.ts';

const startedAt = new Date('2026-11-21T02:00:00Z');

describe('the holder of a lock, in application_name', () => {
  it('reads as a person would write it', () => {
    const text = formatLockHolder({ operation: 'full', startedAt, host: 'db1', pid: 4711 });
    expect(text).toBe('holdfast full 20261121T020000Z db1:4711');
    expect(parseLockHolder(text)).toEqual({ operation: 'full', startedAt, host: 'db1', pid: 4711 });
  });

  it('fits in 63 bytes of ASCII and keeps time and pid, whatever the host is called', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 300 }), fc.nat(4_194_304), (host, pid) => {
        const text = formatLockHolder({ operation: 'restore', startedAt, host, pid });
        expect(text).toMatch(/^[\x20-\x7e]{1,63}$/);
        expect(parseLockHolder(text)).toMatchObject({ operation: 'restore', startedAt, pid });
      }),
    );
  });

  it.each(['', 'psql', 'holdfast', 'holdfast full 20269921T020000Z db1:1'])('is not %j', (text) => {
    expect(parseLockHolder(text)).toBeNull();
  });
});
