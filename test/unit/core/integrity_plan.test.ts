import { describe, expect, it } from 'vitest';
import {
  type FileMark,
  integrityState,
  isTouched,
  marksText,
  type RememberedBackup,
  type SeenBackup,
  takeTurns,
} from '../../../src/core/integrity_plan.ts';

const hourMs = 3_600_000;
const now = new Date('2026-11-21T12:00:00.000Z');
const ago = (ms: number) => now.getTime() - ms;

const seen = (parts: Partial<SeenBackup> = {}): SeenBackup => ({
  marks: 'a',
  bytes: 100,
  changedMs: ago(50 * hourMs),
  isTouched: false,
  takenMs: ago(50 * hourMs),
  isReadBack: true,
  verifiedMs: null,
  ...parts,
});
const known = (parts: Partial<RememberedBackup> = {}): RememberedBackup => ({
  marks: 'a',
  readMs: ago(hourMs),
  damage: [],
  left: null,
  ...parts,
});

describe('the marks of files', () => {
  const file: FileMark = { name: 'a', bytes: 1, modifiedMs: 2, changedMs: 3, inode: 4 };
  const other: FileMark = { ...file, name: 'manifest.json' };

  it('are others whenever a file is another one, is missing or new; in whatever order', () => {
    const marks = marksText([file, other]);
    expect(marksText([other, file])).toBe(marks);
    const changes = [{ bytes: 2 }, { modifiedMs: 2.0001 }, { changedMs: 4 }, { inode: 5 }];
    for (const change of changes)
      expect(marksText([{ ...file, ...change }, other])).not.toBe(marks);
    expect(marksText([other])).not.toBe(marks);
  });

  it('betray a file that was changed after the manifest, and that there is none', () => {
    expect(isTouched([file, other], 'manifest.json')).toBe(false);
    expect(isTouched([{ ...file, changedMs: 2003 }, other], 'manifest.json')).toBe(false);
    expect(isTouched([{ ...file, changedMs: 2003.5 }, other], 'manifest.json')).toBe(true);
    expect(isTouched([file], 'manifest.json')).toBe(true);
  });
});

describe('which backups are due', () => {
  it('none that was read within the last day, by whomever', () => {
    expect(integrityState(known(), seen(), now).due).toBeNull();
    expect(integrityState(null, seen({ takenMs: ago(hourMs) }), now).due).toBeNull();
    expect(integrityState(null, seen({ verifiedMs: ago(hourMs) }), now).due).toBeNull();
    expect(integrityState(known({ readMs: ago(23 * hourMs) }), seen(), now).due).toBeNull();
    expect(integrityState(known({ readMs: ago(23 * hourMs + 1) }), seen(), now).due).toBe('turn');
  });

  it('one that nobody has read back, and one that is dated in the future', () => {
    const unread = seen({ takenMs: ago(hourMs), isReadBack: false });
    expect(integrityState(null, unread, now).due).toBe('turn');
    expect(integrityState(null, seen({ takenMs: ago(-hourMs) }), now).due).toBe('turn');
  });

  it('one that has changed, until it was verified after its last change', () => {
    const changed = seen({ marks: 'b', changedMs: ago(2 * hourMs) });
    expect(integrityState(known(), changed, now).due).toBe('changed');
    expect(integrityState(null, seen({ isTouched: true }), now).due).toBe('changed');
    const before = { ...changed, verifiedMs: ago(2 * hourMs) };
    expect(integrityState(known(), before, now).due).toBe('changed');
    const after = { ...changed, verifiedMs: ago(2 * hourMs - 1) };
    expect(integrityState(known(), after, now)).toMatchObject({ due: null, known: { marks: 'b' } });
  });

  it('remembers damage until the files are others, or were verified since', () => {
    const damaged = known({ damage: ['it is flipped'], readMs: ago(30 * hourMs) });
    expect(integrityState(damaged, seen(), now)).toMatchObject({
      due: null,
      known: { damage: ['it is flipped'] },
    });
    expect(integrityState(damaged, seen({ marks: 'b' }), now).due).toBe('changed');
    const verified = seen({ verifiedMs: ago(hourMs) });
    expect(integrityState(damaged, verified, now).known.damage).toEqual([]);
  });

  it('leaves what takes too long to verify_backups.ts', () => {
    const left = known({ left: 'changed', readMs: ago(30 * hourMs) });
    expect(integrityState(left, seen(), now)).toMatchObject({ due: null, known: left });
    const verified = seen({ verifiedMs: ago(hourMs) });
    expect(integrityState(left, verified, now).known.left).toBeNull();
    const large = known({ left: 'large', readMs: ago(24 * hourMs) });
    expect(integrityState(large, seen(), now).due, 'it is tried again').toBe('turn');
  });
});

describe('turns', () => {
  const waiting = [
    { name: 'b', readMs: 2, bytes: 60 },
    { name: 'a', readMs: 1, bytes: 50 },
    { name: 'c', readMs: 3, bytes: 1 },
  ];
  const names = (budget: number, credit: number) => {
    const turns = takeTurns(waiting, budget, credit);
    return [turns.read.map(({ name }) => name).join(''), turns.creditBytes];
  };

  it('are taken by the longest unread, as far as the budget goes; the rest is saved up', () => {
    expect(names(49, 0)).toEqual(['', 49]);
    expect(names(50, 0)).toEqual(['a', 0]);
    expect(names(49, 49)).toEqual(['a', 48]);
    expect(names(110, 0)).toEqual(['ab', 0]);
  });

  it('save nothing up where nothing waits, and are not taken without a budget', () => {
    expect(names(1000, 5)).toEqual(['abc', 0]);
    expect(names(0, 500)).toEqual(['', 0]);
  });

  it('come to each, however large, within a number of runs that its size says', () => {
    let credit = 0;
    const large = [{ name: 'large', readMs: 0, bytes: 1000 }];
    const runs = Array.from({ length: 10 }, () => {
      const turns = takeTurns(large, 100, credit);
      credit = turns.creditBytes;
      return turns.read.length;
    });
    expect(runs).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  });
});
