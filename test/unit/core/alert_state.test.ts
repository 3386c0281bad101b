import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Priority, priorities, reaches } from '../../../src/core/alert.ts';
import type { KnownTrouble } from '../../../src/core/alert_memory.ts';
import { type AlertDraft, decideAlerts, troublesMax } from '../../../src/core/alert_state.ts';
import type { AlertChange, Trouble } from '../../../src/core/trouble.ts';

const hourMs = 3_600_000;
const begin = Date.parse('2026-11-21T02:00:00Z');

function trouble(key: string, priority: Priority = 'high'): Trouble {
  const nobody = { cluster: null, database: null };
  const words = { title: `trouble ${key}`, message: 'what to do' };
  return { event: 'backup', key, priority, ...words, ...nobody, details: { code: 'X' } };
}

/** Somebody who reads alerts, from one run to the next. */
class Reader {
  known: readonly KnownTrouble[] = [];
  readonly reminderHours: number;

  constructor(reminderHours = 24) {
    this.reminderHours = reminderHours;
  }

  /** What is told after so many hours. */
  at(hours: number, change: AlertChange): readonly AlertDraft[] {
    const now = new Date(begin + hours * hourMs);
    const clock = { now, reminderHours: this.reminderHours };
    const { alerts, troubles } = decideAlerts(this.known, change, clock);
    this.known = troubles;
    return alerts;
  }

  /** The same in short: `firing backup/app`. */
  short(hours: number, change: AlertChange): string[] {
    return this.at(hours, change).map(({ status, key }) => `${status} ${key}`);
  }
}

const app = trouble('backup/app');

describe('a trouble', () => {
  it('is told once, reminded of after the set time, and told when it is over', () => {
    const reader = new Reader(24);
    expect(reader.short(0, { firing: [app] })).toEqual(['firing backup/app']);
    expect(reader.short(0.25, { firing: [app] })).toEqual([]);
    expect(reader.short(12, { firing: [app] })).toEqual([]);
    const [reminder] = reader.at(24, { firing: [app] });
    expect(reminder).toMatchObject({ status: 'firing', key: 'backup/app' });
    expect(reminder?.message).toContain('since 2026-11-21T02:00:00.000Z');
    const [end, ...more] = reader.at(30, { ended: ['backup/app', 'backup/other'] });
    expect(end).toMatchObject({
      status: 'resolved',
      priority: 'high',
      title: 'trouble backup/app',
      details: { duration_seconds: 30 * 3600, since: '2026-11-21T02:00:00.000Z' },
    });
    expect(more).toEqual([]);
    expect(reader.short(31, { ended: ['backup/app'] })).toEqual([]);
  });

  it('of a daily run is reminded of every day, though no day has exactly 24 hours between', () => {
    const reader = new Reader(24);
    const told = [0, 23.9, 47.5, 71.4].map((hours) => reader.at(hours, { firing: [app] }).length);
    expect(told).toEqual([1, 1, 1, 1]);
  });

  it('is told again at once when it grows worse, and its end to all who heard of it', () => {
    const reader = new Reader(24);
    reader.at(0, { firing: [trouble('space', 'medium')] });
    expect(reader.at(1, { firing: [trouble('space', 'critical')] })).toMatchObject([
      { priority: 'critical', message: expect.stringContaining('it was medium before') },
    ]);
    expect(reader.at(2, { firing: [trouble('space', 'high')] })).toEqual([]);
    expect(reader.at(3, { firing: [trouble('space', 'critical')] })).toEqual([]);
    expect(reader.at(26, { firing: [trouble('space', 'medium')] })).toHaveLength(1);
    expect(reader.at(27, { ended: ['space'] })).toMatchObject([{ priority: 'critical' }]);
  });

  it('of a name space ends with it, unless nobody could tell', () => {
    const reader = new Reader();
    const firing = ['check/a/x', 'check/a/y', 'check/b/z', 'backup/app'].map((key) => trouble(key));
    reader.at(0, { firing });
    const change = {
      firing: [trouble('check/a/x')],
      endedUnder: ['check/'],
      unknown: ['check/b/'],
    };
    expect(reader.short(1, change)).toEqual(['resolved check/a/y']);
    expect(reader.short(2, { endedUnder: ['check/'] })).toEqual([
      'resolved check/a/x',
      'resolved check/b/z',
    ]);
  });

  it('that comes and goes is told a few times, and its end when it stays away', () => {
    const reader = new Reader(24);
    const told: string[] = [];
    for (let quarter = 0; quarter < 80; quarter += 1) {
      const isThere = quarter % 2 === 0;
      const change = isThere ? { firing: [app] } : { ended: [app.key] };
      told.push(...reader.short(quarter / 4, change).map((line) => line.split(' ')[0] ?? ''));
    }
    expect(told).toEqual(['firing', 'resolved', 'firing', 'resolved', 'firing']);
    // The last time it ended after 19.75 hours.
    expect(reader.short(22, {})).toEqual([]);
    expect(reader.at(23, {})).toMatchObject([
      { status: 'resolved', message: expect.stringContaining('came and went') },
    ]);
    expect(reader.short(40, { firing: [app] })).toEqual(['firing backup/app']);
    expect(reader.short(41, { ended: [app.key] })).toEqual(['resolved backup/app']);
  });

  it('that came again and never ended for who reads is reminded of as ever', () => {
    const reader = new Reader(24);
    for (const hours of [0, 2, 4]) {
      reader.at(hours, { firing: [app] });
      reader.at(hours + 1, { ended: [app.key] });
    }
    expect(reader.short(6, { firing: [app] })).toEqual([]);
    expect(reader.short(29, { firing: [app] })).toEqual(['firing backup/app']);
  });

  it('is told by its name once, however often a run tells of it', () => {
    const reader = new Reader();
    const firing = [trouble('a', 'medium'), trouble('b'), trouble('a', 'critical')];
    expect(reader.at(0, { firing })).toMatchObject([
      { key: 'a', priority: 'critical' },
      { key: 'b', priority: 'high' },
    ]);
  });

  it('keeps the time since when it is so where the finding tells one', () => {
    const since = '2026-11-19T00:00:00.000Z';
    const [alert] = new Reader().at(0, { firing: [{ ...app, details: { since } }] });
    expect(alert?.details.since).toBe(since);
  });
});

describe('news', () => {
  it('are told each time and never end', () => {
    const reader = new Reader();
    const news = [trouble('backup/app', 'info')];
    expect(reader.short(0, { news })).toEqual(['firing backup/app']);
    expect(reader.short(0.1, { news, ended: ['backup/app'] })).toEqual(['firing backup/app']);
    expect(reader.known).toEqual([]);
  });

  it('are not told where they are known by another name', () => {
    const reader = new Reader();
    const news = [{ ...trouble('backup/died'), unless: 'check/runs/daily' }];
    reader.at(0, { firing: [trouble('check/runs/daily')] });
    expect(reader.at(1, { news })).toEqual([]);
    reader.at(2, { ended: ['check/runs/daily'] });
    reader.at(9, {});
    const [told] = reader.at(10, { news });
    expect(told).toMatchObject({ key: 'backup/died', status: 'firing' });
    expect(told).not.toHaveProperty('unless');
  });
});

describe('a clock', () => {
  it('that was a year ahead neither silences what lasts nor floods with it', () => {
    const reader = new Reader(24);
    reader.at(0, { firing: [app] });
    expect(reader.at(365 * 24, { firing: [app] })).toHaveLength(1);
    // Set right: nothing at once, and the reminder a day later.
    expect(reader.at(1, { firing: [app] })).toEqual([]);
    expect(reader.at(13, { firing: [app] })).toEqual([]);
    expect(reader.at(25, { firing: [app] })).toHaveLength(1);
    const [end] = reader.at(26, { ended: [app.key] });
    expect(end?.details.duration_seconds).toBe(26 * 3600);
  });

  it('that goes back while a trouble is held back does not keep its end for ever', () => {
    const reader = new Reader(24);
    for (const hours of [100, 101, 102]) {
      reader.at(hours, { firing: [app] });
      reader.at(hours + 0.5, { ended: [app.key] });
    }
    expect(reader.short(0, {})).toEqual([]);
    expect(reader.short(4, {})).toEqual(['resolved backup/app']);
  });
});

describe('too many troubles', () => {
  const firing = Array.from({ length: troublesMax + 5 }, (_, index) => trouble(`check/${index}`));

  it('are told by their number, and nothing grows without an end', () => {
    const reader = new Reader(24);
    const told = reader.at(0, { firing });
    expect(told).toHaveLength(troublesMax + 1);
    expect(told.at(-1)).toMatchObject({ key: 'alerts/too_many', details: { not_told: 5 } });
    expect(reader.at(1, { firing })).toEqual([]);
    const ended = reader.at(2, { endedUnder: ['check/'] });
    expect(ended).toHaveLength(troublesMax + 1);
    expect(ended.at(-1)).toMatchObject({ key: 'alerts/too_many', status: 'resolved' });
    expect(reader.at(9, {})).toEqual([]);
    expect(reader.known).toEqual([]);
  });

  it('leave room for the most urgent, and forget what nobody spoke of for months', () => {
    const reader = new Reader(24);
    const urgent = trouble('urgent', 'critical');
    expect(reader.at(0, { firing: [...firing, urgent] })[0]?.key).toBe('urgent');
    const late = trouble('late', 'info');
    expect(reader.short(24, { firing: [late] })).toEqual(['firing alerts/too_many']);
    expect(reader.short(101 * 24, { firing: [late] })[0]).toBe('firing late');
  });
});

describe('whatever happens', () => {
  const keys = ['a', 'b', 'c'] as const;
  const step = fc.record({
    hours: fc.double({ min: 0.01, max: 30, noNaN: true }),
    there: fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...priorities)),
  });

  /** Runs the monitor, which knows of every key, at each step. */
  function live(steps: readonly { hours: number; there: object }[], reminderHours: number) {
    const reader = new Reader(reminderHours);
    let hours = 0;
    return steps.map((each) => {
      hours += each.hours;
      const there = Object.entries(each.there) as [string, Priority][];
      const firing = there.map(([key, priority]) => trouble(key, priority));
      return { hours, there, told: reader.at(hours, { firing, endedUnder: [''] }), reader };
    });
  }

  it('a trouble that is there was told, with its priority or a higher one', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const open = new Map<string, Priority>();
        for (const { told, there } of live(steps, 24)) {
          for (const { key, status, priority } of told) {
            if (status === 'resolved') open.delete(key);
            else open.set(key, priority);
          }
          for (const [key] of there) if (!open.has(key)) return false;
        }
        return true;
      }),
    );
  });

  it('ends are told of what was told only, and only while it is not there', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const open = new Set<string>();
        for (const { told, there } of live(steps, 24)) {
          const names = new Set(there.map(([key]) => key));
          for (const { key, status } of told) {
            if (status === 'firing') open.add(key);
            else if (!open.delete(key) || names.has(key)) return false;
          }
        }
        return true;
      }),
    );
  });

  it('all ends are told in time when all is well again, and all is forgotten then', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 40 }), (steps) => {
        const lived = live(steps, 24);
        const open = new Set<string>();
        const take = (told: readonly AlertDraft[]) => {
          for (const { key, status } of told) {
            if (status === 'firing') open.add(key);
            else open.delete(key);
          }
        };
        for (const { told } of lived) take(told);
        const { reader, hours } = lived.at(-1) ?? { reader: new Reader(), hours: 0 };
        for (const later of [0.25, 4, 12]) take(reader.at(hours + later, { endedUnder: [''] }));
        return open.size === 0 && reader.known.length === 0;
      }),
    );
  });

  it('a day brings few alerts of one trouble, however it flickers', () => {
    const quick = fc.record({
      hours: fc.double({ min: 0.01, max: 1, noNaN: true }),
      there: fc.constantFrom({}, { a: 'high' }),
    });
    fc.assert(
      fc.property(fc.array(quick, { minLength: 20, maxLength: 60 }), (steps) => {
        const lived = live(steps, 24).filter(({ hours }) => hours <= 24);
        return lived.flatMap(({ told }) => told).length <= 16;
      }),
    );
  });

  it('clocks that jump leave a bounded memory, and no key twice', () => {
    const jump = fc.record({
      at: fc.double({ min: -10_000, max: 10_000, noNaN: true }),
      there: fc.dictionary(fc.constantFrom(...keys), fc.constantFrom(...priorities)),
    });
    fc.assert(
      fc.property(fc.array(jump, { maxLength: 40 }), (jumps) => {
        const reader = new Reader(24);
        for (const { at, there } of jumps) {
          const firing = Object.entries(there).map(([key, priority]) => trouble(key, priority));
          const told = reader.at(at, { firing, endedUnder: [''] });
          if (told.some(({ message }) => message.includes('in the future'))) return false;
        }
        const known = reader.known.map(({ key }) => key);
        return known.length <= keys.length && new Set(known).size === known.length;
      }),
    );
  });

  it('what is told with a priority reaches whoever was reached before', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const worst = new Map<string, Priority>();
        for (const { told } of live(steps, 24)) {
          for (const { key, status, priority } of told) {
            const before = worst.get(key);
            if (status === 'resolved') {
              if (before !== undefined && !reaches(priority, before)) return false;
              worst.delete(key);
            } else if (before === undefined || reaches(priority, before)) worst.set(key, priority);
          }
        }
        return true;
      }),
    );
  });
});
