import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  isSlotName,
  type SlotState,
  slotNameFor,
  slotWarnings,
} from '../../../src/core/stream_slot.ts';

const slot: SlotState = {
  name: 'holdfast_main',
  type: 'physical',
  isActive: true,
  activePid: 1,
  restartLsn: '0/1000000',
  walStatus: 'reserved',
  safeBytes: 1e9,
  lagBytes: 0,
};
const gibibyte = 1024 ** 3;

describe('slotNameFor', () => {
  it('gives every name of a cluster a name that PostgreSQL takes', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, unit: 'binary' }), (cluster) => {
        expect(isSlotName(slotNameFor(cluster))).toBe(true);
        expect(slotNameFor(cluster)).toBe(slotNameFor(cluster));
      }),
    );
    expect(slotNameFor('7423456789012345678')).toBe('holdfast_7423456789012345678');
  });

  it('keeps names apart that look alike in it', () => {
    const clusters = ['Main', 'main', 'main ', 'main-', 'a'.repeat(63), 'a'.repeat(64), 'é', 'è'];
    expect(new Set(clusters.map(slotNameFor)).size).toBe(clusters.length);
    expect(slotNameFor('x\'; DROP TABLE "y"')).toMatch(/^holdfast_x_drop_table_y__[0-9a-f]{8}$/);
  });

  it('knows what no slot is called', () => {
    for (const name of ['', 'Main', 'a b', 'a'.repeat(64), 'a\n', "a'"]) {
      expect(isSlotName(name)).toBe(false);
    }
  });
});

describe('slotWarnings', () => {
  it('says nothing of a slot that is as it should be', () => {
    expect(slotWarnings({ slot, keepBytesMax: 16 * gibibyte })).toEqual([]);
  });

  it('tells what to type while nothing caps what a slot keeps', () => {
    const [warning] = slotWarnings({ slot: null, keepBytesMax: null });
    expect(warning?.kind).toBe('uncapped');
    expect(warning?.message).toContain("ALTER SYSTEM SET max_slot_wal_keep_size = '");
  });

  it('tells of a stream that falls behind, by the cap or without one', () => {
    const behind = { ...slot, lagBytes: 2 * gibibyte };
    const kinds = (keepBytesMax: number | null) =>
      slotWarnings({ slot: behind, keepBytesMax }).map(({ kind }) => kind);
    expect(kinds(16 * gibibyte)).toEqual([]);
    expect(kinds(3 * gibibyte)).toEqual(['behind']);
    expect(kinds(null)).toEqual(['uncapped', 'behind']);
  });

  it('tells of a slot that is about to be lost', () => {
    const last = { ...slot, walStatus: 'unreserved', lagBytes: 9 * gibibyte } as const;
    const [warning, ...more] = slotWarnings({ slot: last, keepBytesMax: 8 * gibibyte });
    expect([warning?.kind, more]).toEqual(['unreserved', []]);
  });
});
