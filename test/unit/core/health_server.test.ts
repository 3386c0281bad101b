import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import {
  checkLeftovers,
  checkSlots,
  type LeftoverHealth,
  type SlotHealth,
  unaskedServer,
} from '../../../src/core/health_server.ts';

const now = new Date('2026-11-21T12:00:00Z');
const daysAgo = (days: number) => new Date(now.getTime() - days * 86_400_000);
const about = { check: 'slots', subject: 'db:5432', cluster: 'main', database: null } as const;

describe('replication slots', () => {
  const slot: SlotHealth = {
    name: 'standby_1',
    database: null,
    isActive: true,
    isTemporary: false,
    walStatus: 'reserved',
    retainedBytes: 1e6,
    inactiveSince: null,
  };
  const limits = { bytesMax: 1e9, ours: 'holdfast_main', isUncapped: true };
  const check = (...slots: Partial<SlotHealth>[]) =>
    checkSlots(
      about,
      slots.map((each) => ({ ...slot, ...each })),
      limits,
    );

  it('are fine: none, one in use, an idle one that holds little', () => {
    expect(check()).toMatchObject([{ level: 'ok', subject: 'db:5432' }]);
    expect(check({}, { name: 'b', isActive: false, retainedBytes: 1e9 })).toMatchObject([
      { level: 'ok', values: { retained_bytes: 1e9 } },
    ]);
    expect(check({ retainedBytes: null, walStatus: null })).toMatchObject([{ level: 'ok' }]);
  });

  it('hold more than they may: a warning, with what to type and what would cap them', () => {
    const idle = { name: "it's", isActive: false, retainedBytes: 1e9 + 1 };
    const [finding, ...more] = check({}, { ...idle, inactiveSince: daysAgo(3) });
    expect(more).toEqual([]);
    expect(finding).toMatchObject({
      level: 'warning',
      subject: "db:5432/it's",
      since: daysAgo(3).toISOString(),
    });
    expect(finding?.message).toContain('is idle and holds 1.0 GB of WAL');
    expect(finding?.mend).toContain("pg_drop_replication_slot('it''s')");
    expect(finding?.mend).toContain('max_slot_wal_keep_size');
    expect(check({ retainedBytes: 2e9 })[0]?.message).not.toContain('idle');
  });

  it('are lost, or about to be: critical where the slot is ours', () => {
    for (const walStatus of ['lost', 'unreserved'] as const) {
      expect(check({ walStatus })).toMatchObject([{ level: 'warning' }]);
      expect(check({ walStatus, name: 'holdfast_main' })).toMatchObject([{ level: 'critical' }]);
    }
  });

  it('of our stream are in use, or the stream does not run', () => {
    const ours = { name: 'holdfast_main', isActive: false };
    expect(check(ours)).toMatchObject([{ level: 'warning' }]);
    expect(check(ours)[0]?.mend).toContain('scripts/wal_stream.ts');
    expect(check({ ...ours, isActive: true })).toMatchObject([{ level: 'ok' }]);
  });

  it('of a session go with it', () => {
    expect(check({ isTemporary: true, retainedBytes: 9e9 })).toMatchObject([{ level: 'ok' }]);
  });
});

describe('what restores have left', () => {
  const leftover: LeftoverHealth = {
    name: 'app__before_20261119T020000Z',
    oid: 16400,
    kind: 'before',
    target: 'app',
    createdAt: daysAgo(1),
    bytes: 1e9,
    inUse: false,
  };
  const check = (each: Partial<LeftoverHealth>) =>
    checkLeftovers(about, [{ ...leftover, ...each }], now);

  it('is nothing, or young: fine', () => {
    expect(checkLeftovers(about, [], now)).toMatchObject([{ level: 'ok', mend: null }]);
    expect(check({ createdAt: daysAgo(7) })).toMatchObject([{ level: 'ok' }]);
    expect(check({ kind: 'restoring', createdAt: daysAgo(1) })).toMatchObject([{ level: 'ok' }]);
  });

  it('is old: a warning, with what to type', () => {
    const [old] = check({ createdAt: daysAgo(7.01) });
    expect(old).toMatchObject({ level: 'warning', database: 'app', since: expect.any(String) });
    expect(old?.mend).toBe("scripts/restore_backup.ts --drop-old 'app'");
    expect(old?.message).toContain('1.0 GB');
    expect(check({ kind: 'restoring', createdAt: daysAgo(1.01) })).toMatchObject([
      { level: 'warning' },
    ]);
    expect(check({ createdAt: daysAgo(30), target: null })[0]?.mend).toContain('DROP DATABASE');
  });

  it('is in use: a restore works on it', () => {
    expect(check({ createdAt: daysAgo(30), inUse: true })).toMatchObject([{ level: 'ok' }]);
  });
});

describe('a server that cannot be asked', () => {
  it('is critical when it is down, and unknown when it does not let the role in', () => {
    const hint = 'Start it.';
    const down = new HoldfastError('DATABASE_UNREACHABLE', 'connection refused', { hint });
    expect(unaskedServer(about, down)).toMatchObject({ level: 'critical', mend: hint });
    const refused = new HoldfastError('DATABASE_AUTH', 'no password');
    expect(unaskedServer(about, refused)).toMatchObject({ level: 'unknown' });
  });
});
