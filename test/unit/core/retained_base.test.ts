import { describe, expect, it } from 'vitest';
import { type CatalogedBase, retainedBase } from '../../../src/core/retained_base.ts';

const manifest: NonNullable<CatalogedBase['manifest']> = {
  parent: null,
  server: { system_identifier: '7423456789012345678' } as never,
  damaged_pages: [],
  read_back: { seconds: 1 },
  start_lsn: '1/2000028',
  stop_lsn: '1/2000200',
  stop_timeline: 2,
  wal_ranges: [{ timeline: 2, start_lsn: '1/2000028', end_lsn: '1/2000200' }],
  finished_at: '2026-11-21T02:01:00.000Z',
};
const label = '20261121T020000Z-base-k3f9';

describe('a base backup, for the retention', () => {
  it('has the positions and times of its manifest, and begins when its label says', () => {
    expect(retainedBase({ label, manifest, check: { kind: 'verified' } }, null)).toEqual({
      label,
      startedAt: new Date('2026-11-21T02:00:00.000Z'),
      health: 'good',
      promise: null,
      facts: {
        parent: null,
        systemIdentifier: '7423456789012345678',
        timeline: 2,
        start: 0x1_0200_0028n,
        stop: 0x1_0200_0200n,
        finishedAt: new Date('2026-11-21T02:01:00.000Z'),
        walRanges: [{ timeline: 2, start: 0x1_0200_0028n, end: 0x1_0200_0200n }],
      },
    });
  });

  it('is not good when it was found damaged, has damaged pages, was not read, or cannot be', () => {
    const healthOf = (base: Partial<CatalogedBase>) =>
      retainedBase({ label, manifest, check: null, ...base }, 'in use').health;
    expect(healthOf({})).toBe('good');
    expect(healthOf({ check: { kind: 'damaged' } })).toBe('damaged');
    expect(healthOf({ manifest: { ...manifest, damaged_pages: ['one'] } })).toBe('usable');
    const unread = { ...manifest, read_back: { depth: 'none' as const, seconds: 0 } };
    expect(healthOf({ manifest: unread })).toBe('usable');
    expect(healthOf({ manifest: unread, check: { kind: 'verified' } })).toBe('good');
    expect(healthOf({ manifest: null })).toBe('damaged');
    expect(retainedBase({ label, manifest: null, check: null }, null).facts).toBeNull();
  });
});
