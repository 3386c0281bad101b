import { describe, expect, it } from 'vitest';
import { type DueBase, dueBase } from '../../../src/core/base_due.ts';

const now = new Date('2026-11-21T12:00:00Z');
const server = { system_identifier: '1' } as NonNullable<DueBase['manifest']>['server'];

function base(daysAgo: number, more: { parent?: string; pages?: string[]; kind?: string } = {}) {
  const started_at = new Date(now.getTime() - daysAgo * 86_400_000).toISOString();
  const manifest = {
    started_at,
    parent: more.parent ?? null,
    server,
    damaged_pages: more.pages ?? [],
  };
  return { label: `x${daysAgo}`, manifest, check: more.kind ? { kind: more.kind } : null };
}

const decide = (bases: DueBase[], hasSummaries = false) =>
  dueBase(bases, { now, days: 7, hasSummaries });

describe('a base backup', () => {
  it('is due when there is none, when the last whole one is old, damaged or of the future', () => {
    expect(decide([])).toBe('full');
    expect(decide([base(7)])).toBe('full');
    expect(decide([base(1, { parent: 'x9' }), base(9)], true)).toBe('full');
    expect(decide([base(1, { kind: 'damaged' })])).toBe('full');
    expect(decide([base(1, { pages: ['base/1/2'] })])).toBe('full');
    expect(decide([base(-2)])).toBe('full');
    expect(decide([{ label: 'x', manifest: null, check: null }])).toBe('full');
  });

  it('is not due while the last whole one is young; an hour early counts as on time', () => {
    expect(decide([base(6.9)])).toBeNull();
    expect(decide([base(6.97)])).toBe('full');
    expect(decide([base(30), base(1, { kind: 'verified' })])).toBeNull();
  });

  it('is incremental once a day where the server tells what has changed', () => {
    expect(decide([base(2)], true)).toBe('incremental');
    expect(decide([base(2), base(0.5, { parent: 'x2' })], true)).toBeNull();
    expect(decide([base(0.5)], true)).toBeNull();
  });

  it('is due again where the one of today lacks what it builds upon', () => {
    const orphan = base(0.5, { parent: 'x1' });
    expect(decide([base(2), orphan], true)).toBe('incremental');
    const hurt = base(1, { parent: 'x2', kind: 'damaged' });
    expect(decide([base(2), hurt, orphan], true)).toBe('incremental');
  });

  it('is tried once a day while the cluster itself is damaged', () => {
    expect(decide([base(8), base(0.5, { pages: ['base/1/2'] })])).toBeNull();
    expect(decide([base(8), base(1, { pages: ['base/1/2'] })])).toBe('full');
    const increment = base(0.5, { parent: 'x2', pages: ['base/1/2'] });
    expect(decide([base(2), increment], true)).toBeNull();
  });
});
