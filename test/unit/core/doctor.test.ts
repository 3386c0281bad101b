import { describe, expect, it } from 'vitest';
import {
  clockSkewSeconds,
  doctorStatus,
  type Finding,
  inOrder,
  neededLocksPerTransaction,
} from '../../../src/core/doctor.ts';

function found(check: Finding['check'], level: Finding['level']): Finding {
  return { check, subject: '', level, message: `${check} ${level}`, mend: null };
}

describe('the exit status of the doctor', () => {
  it('is 0 as long as nothing is a problem', () => {
    expect(doctorStatus([])).toBe(0);
    const mild = [found('read', 'ok'), found('backups', 'note'), found('restore', 'warning')];
    expect(doctorStatus(mild)).toBe(0);
  });

  it.each([
    ['settings', 2],
    ['files', 2],
    ['compressor', 3],
    ['space', 3],
    ['repository', 7],
    ['connection', 8],
    ['read', 8],
  ] as const)('of a problem with %s is %i', (check, status) => {
    expect(doctorStatus([found('node', 'ok'), found(check, 'problem')])).toBe(status);
  });

  it('is the worst of several, in whatever order they were found', () => {
    const problems = [found('settings', 'problem'), found('read', 'problem')];
    expect(doctorStatus(problems)).toBe(8);
    expect(doctorStatus(problems.toReversed())).toBe(8);
  });
});

describe('findings', () => {
  it('are told with what is wrong last, else as they came', () => {
    const all = [
      found('read', 'problem'),
      found('node', 'ok'),
      found('clock', 'warning'),
      found('server', 'ok'),
      found('backups', 'note'),
    ];
    expect(inOrder(all).map(({ check }) => check)).toEqual([
      'node',
      'server',
      'backups',
      'clock',
      'read',
    ]);
  });
});

describe('two clocks', () => {
  const asked = new Date('2026-11-21T02:00:00Z');
  const later = (seconds: number) => new Date(asked.getTime() + seconds * 1000);

  it('agree within a few seconds', () => {
    expect(clockSkewSeconds(asked, later(0.01), later(0.005))).toBeNull();
    expect(clockSkewSeconds(asked, later(0), later(4.9))).toBeNull();
  });

  it('differ, ahead or behind', () => {
    expect(clockSkewSeconds(asked, later(2), later(61))).toBeCloseTo(60);
    expect(clockSkewSeconds(asked, later(0), later(-3600))).toBe(-3600);
  });

  it('are not accused of what a slow answer may explain', () => {
    expect(clockSkewSeconds(asked, later(20), later(20))).toBeNull();
    expect(clockSkewSeconds(asked, later(20), later(-4))).toBeNull();
    expect(clockSkewSeconds(asked, later(20), later(30))).toBeCloseTo(20);
  });

  it('that jump back between question and answer leave no negative time', () => {
    expect(clockSkewSeconds(asked, later(-10), later(1))).toBeNull();
  });
});

describe('the lock table', () => {
  const usual = { locksPerTransaction: 64, connections: 100, preparedTransactions: 0 };

  it('of a usual server holds the tables of a usual database', () => {
    expect(neededLocksPerTransaction(0, usual)).toBeNull();
    expect(neededLocksPerTransaction(5120, usual)).toBeNull();
  });

  it('too small for the tables gets a size that is enough', () => {
    const needed = neededLocksPerTransaction(20_000, usual);
    expect(needed).toBe(300);
    const mended = { ...usual, locksPerTransaction: needed ?? 0 };
    expect(neededLocksPerTransaction(20_000, mended)).toBeNull();
  });
});
