import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HoldfastError } from '../../../src/core/errors.ts';
import {
  describeTarget,
  parseTarget,
  parseTargetTime,
  parseTargetTimeline,
  serverTime,
} from '../../../src/core/recovery_target.ts';

function refusal(work: () => unknown): HoldfastError {
  try {
    work();
  } catch (error) {
    if (error instanceof HoldfastError) return error;
    throw error;
  }
  throw new Error('it was taken');
}

describe('a target time', () => {
  it.each([
    ['2026-11-21 10:42:00+01', '2026-11-21T09:42:00.000000Z'],
    ['2026-11-21T10:42:00Z', '2026-11-21T10:42:00.000000Z'],
    ['2026-11-21 10:42 UTC', '2026-11-21T10:42:00.000000Z'],
    ['2026-11-21 10:42:00.5 -0330', '2026-11-21T14:12:00.500000Z'],
    ['2026-12-31 23:59:59.999999-00:30', '2027-01-01T00:29:59.999999Z'],
  ])('%s is %s', (text, at) => {
    expect(parseTargetTime(text)).toBe(at);
    expect(parseTargetTime(serverTime(at))).toBe(at);
  });

  it('is refused without a zone', () => {
    const { status, message, hint } = refusal(() => parseTargetTime('2026-11-21 10:42:00'));
    expect(status).toBe(2);
    expect(message).toBe('the time "2026-11-21 10:42:00" has no time zone');
    expect(hint).toContain('+01');
  });

  it.each([
    '',
    'yesterday',
    '2026-02-30 10:00Z',
    '9999-12-31 23:59:59-15:59',
    '0000-01-01 00:00+01',
    '2026-11-21 25:00Z',
    '2026-11-21 10:00+17',
    '2026-11-21 10:00:00.1234567Z',
    "2026-11-21 10:00'Z",
  ])('is refused where it is none: %s', (text) => {
    expect(refusal(() => parseTargetTime(text)).status).toBe(2);
  });

  it('keeps every microsecond and every offset', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('2000-01-01'), max: new Date('2099-12-31'), noInvalidDate: true }),
        fc.integer({ min: 0, max: 999 }),
        fc.integer({ min: -15 * 60, max: 15 * 60 }),
        (moment, micros, minutes) => {
          const local = new Date(moment.getTime() + minutes * 60_000).toISOString();
          const digits = (value: number, width: number) => String(value).padStart(width, '0');
          const east = Math.abs(minutes);
          const sign = minutes < 0 ? '-' : '+';
          const hours = digits(Math.trunc(east / 60), 2);
          const zone = `${sign}${hours}:${digits(east % 60, 2)}`;
          const text = `${local.slice(0, -1)}${digits(micros, 3)}${zone}`;
          expect(parseTargetTime(text)).toBe(
            `${moment.toISOString().slice(0, -1)}${digits(micros, 3)}Z`,
          );
        },
      ),
    );
  });
});

describe('a target', () => {
  it('is the newest point unless one is named', () => {
    expect(parseTarget({})).toEqual({ kind: 'newest' });
    expect(parseTarget({ immediate: true })).toEqual({ kind: 'immediate' });
    expect(parseTarget({ lsn: '0/3000028' })).toEqual({ kind: 'lsn', lsn: 0x3000028n });
    expect(parseTarget({ name: "o'clock" })).toEqual({ kind: 'name', name: "o'clock" });
    expect(describeTarget(parseTarget({ name: 'a\u001bb' }))).toBe('the restore point "a\\u001bb"');
  });

  it('of a transaction has the lower half of its identifier', () => {
    expect(parseTarget({ xid: '731' })).toEqual({ kind: 'xid', xid: 731 });
    expect(parseTarget({ xid: String(2n ** 32n + 731n) })).toEqual({ kind: 'xid', xid: 731 });
    for (const xid of [
      '',
      '2',
      '-5',
      '1e3',
      '0x10',
      String(2n ** 32n + 1n),
      String(2n ** 64n + 9n),
    ]) {
      expect(refusal(() => parseTarget({ xid })).status).toBe(2);
    }
  });

  it('is one alone, and is one', () => {
    expect(refusal(() => parseTarget({ xid: '731', immediate: true })).message).toContain(
      'more than',
    );
    expect(refusal(() => parseTarget({ lsn: '3000028' })).status).toBe(2);
    for (const name of ['', 'é'.repeat(32), 'a\nb']) {
      expect(refusal(() => parseTarget({ name })).status).toBe(2);
    }
  });
});

describe('a timeline', () => {
  it('is latest, current or a number', () => {
    expect(['latest', 'current', '2', '0x1F'].map(parseTargetTimeline)).toEqual([
      'latest',
      'current',
      2,
      31,
    ]);
    for (const text of ['', '0', '-1', '1.5', 'newest', '99999999999']) {
      expect(refusal(() => parseTargetTimeline(text)).status).toBe(2);
    }
  });
});
