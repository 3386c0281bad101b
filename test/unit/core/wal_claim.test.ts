import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import {
  describeClaim,
  formatClaim,
  isClaimOf,
  parseClaim,
  type WalClaim,
} from '../../../src/core/wal_claim.ts';

const claim: WalClaim = {
  system_identifier: '7423456789012345678',
  host: 'db1',
  data_directory: '/var/lib/post gres/"15"\n/main',
  claimed_at: '2026-11-21T02:00:00.000Z',
  claim_id: 'k3f9',
};

describe('the claim of a WAL archive', () => {
  it('is one line, whatever stands in it and in whatever order it was put together', () => {
    const { host, ...rest } = claim;
    const line = formatClaim({ ...rest, host });
    expect(line).toBe(formatClaim(claim));
    expect(line).not.toContain('\n');
    expect(parseClaim(Buffer.from(`${line}\n`))).toEqual(claim);
  });

  it.each([
    ['', 'no JSON'],
    ['{}', 'nothing in it'],
    ['{"system_identifier":7}', 'a number'],
    [formatClaim(claim).replace('"/var', '"var'), 'a relative folder'],
    [formatClaim(claim).slice(0, -5), 'cut'],
  ])('%s is none', (text) => {
    expect(() => parseClaim(Buffer.from(text))).toThrow(HoldfastError);
  });

  it('is about one server: system, host and data directory, and not when it was made', () => {
    expect(isClaimOf({ ...claim, claim_id: 'x', claimed_at: 'then' }, claim)).toBe(true);
    expect(isClaimOf({ ...claim, host: 'db2' }, claim)).toBe(false);
    expect(isClaimOf({ ...claim, data_directory: '/clone' }, claim)).toBe(false);
    expect(isClaimOf({ ...claim, system_identifier: '1' }, claim)).toBe(false);
  });

  it('is told on one line', () => {
    expect(describeClaim(claim)).toMatch(/^host db1, data directory .*\\n/);
  });
});
