import { CronExpressionParser } from 'cron-parser';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseCronFields, toOnCalendar } from '../../../src/core/cron_fields.ts';

const calendar = (text: string, zone: string | null = null) =>
  toOnCalendar(parseCronFields(text, 'schedule.daily'), zone);

describe('five fields', () => {
  it('are read with names, ranges, steps and lists, and said with numbers alone', () => {
    const read = parseCronFields('*/20 1-3,22 1 jan-Mar *', 'schedule.daily');
    expect(read).toMatchObject({
      text: '*/20 1-3,22 1 1-3 *',
      minutes: [0, 20, 40],
      hours: [1, 2, 3, 22],
      days: [1],
      months: [1, 2, 3],
      isEitherDay: false,
    });
    expect(parseCronFields(' 0  3\t* * SUN,wed ', 'x').text).toBe('0 3 * * 0,3');
  });

  it('know Sunday as 0 and as 7', () => {
    for (const sunday of ['0', '7', 'sun', '0,7']) {
      expect(parseCronFields(`0 3 * * ${sunday}`, 'x').weekdays).toEqual([0]);
    }
    expect(parseCronFields('0 3 * * 5-7', 'x').weekdays).toEqual([0, 5, 6]);
    expect(parseCronFields('0 3 * * 0-7', 'x').weekdays).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(parseCronFields('0 3 1-5,4-6 * 5,0,7', 'x').text).toBe('0 3 1,2,3,4,5,6 * 0,5');
  });

  it.each([
    ['60 * * * *', 'the minute 60 is not within 0 to 59'],
    ['* 24 * * *', 'the hour 24 is not within 0 to 23'],
    ['* * 0 * *', 'the day of the month 0 is not within 1 to 31'],
    ['* * * 13 *', 'the month 13 is not within 1 to 12'],
    ['* * * * 8', 'the weekday 8 is not within 0 to 7'],
    ['* * * * mo', '"mo" is no weekday'],
    ['jan * * * *', '"jan" is no minute'],
    ['0 2 * *', 'it has 4 fields, not five'],
    ['0 0 2 * * *', 'it has 6 fields, not five'],
    ['', 'it has 1 fields, not five'],
    ['@daily', 'it has 1 fields, not five'],
    ['5/15 * * * *', 'the step in 5/15 needs a range: write 5-59/15'],
    ['*/0 * * * *', 'the step "0" of the minute is not within 1 to 60'],
    ['*/90 * * * *', 'the step "90" of the minute is not within 1 to 60'],
    ['1-5/6 * * * *', 'the step "6" of the minute is not within 1 to 5'],
    ['30-10 * * * *', 'the range 30-10 of the minute ends before it begins'],
    ['* * * * 6-0', 'the range 6-0 of the weekday ends before it begins'],
    ['1,, * * * *', '"" is no minute'],
    ['1-2-3 * * * *', '"1-2-3" is no minute'],
    ['-5 * * * *', '"-5" is no minute'],
    ['1/2/3 * * * *', '"1/2/3" is no minute'],
    ['*,5 * * * *', 'the minute is a list with * in it'],
    ['0 0 30 2 *', 'no such month has a day 30: it would never run'],
    ['0 0 31 2,4,6,9,11 *', 'no such month has a day 31: it would never run'],
    ['0 0 */2 * 1', 'cron programs differ in what they make of */2 as day of the month'],
    ['99999999999999999999 * * * *', 'is no minute'],
  ])('refuse %j', (text, fact) => {
    expect(() => parseCronFields(text, 'schedule.daily')).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(fact) }),
    );
  });

  it('name the setting that they stand in', () => {
    expect(() => parseCronFields('x', 'schedule.weekly')).toThrow(/^schedule\.weekly is "x": /);
  });

  it('let a leap day be one', () => {
    expect(parseCronFields('0 0 29 2 *', 'x').days).toEqual([29]);
    expect(parseCronFields('0 0 30 2 1', 'x').isEitherDay).toBe(true);
  });
});

describe('OnCalendar', () => {
  it.each([
    ['0 2 * * *', ['*-*-* 02:00:00']],
    ['0 3 * * 0', ['Sun *-*-* 03:00:00']],
    ['0 4 1 * *', ['*-*-01 04:00:00']],
    ['5 * * * *', ['*-*-* *:05:00']],
    ['*/15 * * * *', ['*-*-* *:00/15:00']],
    [
      '7-59/10 8-18 * * mon-fri',
      ['Mon,Tue,Wed,Thu,Fri *-*-* 08,09,10,11,12,13,14,15,16,17,18:07/10:00'],
    ],
    ['0 0 1,15 6 *', ['*-06-01,15 00:00:00']],
    ['0 0 1,15 * 5', ['*-*-01,15 00:00:00', 'Fri *-*-* 00:00:00']],
  ])('says %j', (text, expected) => expect(calendar(text)).toEqual(expected));

  it('carries a time zone at the end of each line', () => {
    expect(calendar('0 2 1 * 0', 'Europe/Berlin')).toEqual([
      '*-*-01 02:00:00 Europe/Berlin',
      'Sun *-*-* 02:00:00 Europe/Berlin',
    ]);
  });
});

/** Whether a moment in UTC is one of an expression, as systemd.time(7) reads it. */
function elapsesAt(expression: string, moment: Date): boolean {
  const match = /^(?:([A-Z][A-Za-z,]*) )?\*-([^ -]+)-([^ -]+) ([^ :]+):([^ :]+):00$/.exec(
    expression,
  );
  if (match === null) throw new Error(`not read: ${expression}`);
  const [, weekdays, month = '', day = '', hour = '', minute = ''] = match;
  const has = (component: string, value: number) =>
    component === '*' ||
    component.split(',').some((item) => {
      const [from, step] = item.split('/').map(Number);
      if (from === undefined) return false;
      return step === undefined ? value === from : value >= from && (value - from) % step === 0;
    });
  const weekday = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'][moment.getUTCDay()] ?? '';
  return (
    (weekdays === undefined || weekdays.split(',').includes(weekday)) &&
    has(month, moment.getUTCMonth() + 1) &&
    has(day, moment.getUTCDate()) &&
    has(hour, moment.getUTCHours()) &&
    has(minute, moment.getUTCMinutes())
  );
}

/** A field: `*`, a step, or a list of numbers and ranges with steps. */
function field(min: number, max: number): fc.Arbitrary<string> {
  const number = fc.integer({ min, max });
  const range = fc
    .tuple(number, number, fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }))
    .map(([one, other, step]) => {
      const [from, to] = one < other ? [one, other] : [other, one];
      const fits = step !== undefined && step <= to - from + 1;
      return fits ? `${from}-${to}/${step}` : `${from}-${to}`;
    });
  const item = fc.oneof(number.map(String), range);
  return fc.oneof(
    fc.constant('*'),
    fc.integer({ min: 1, max: max - min }).map((step) => `*/${step}`),
    fc.array(item, { minLength: 1, maxLength: 4 }).map((items) => items.join(',')),
  );
}

/** Fields that are accepted. */
const accepted = fc
  .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
  .map((fields) => fields.join(' '))
  .filter((text) => {
    try {
      parseCronFields(text, 'x');
      return true;
    } catch {
      return false;
    }
  });

describe('held against cron-parser', () => {
  const start = Date.UTC(2026, 0, 1);
  const minuteMs = 60_000;
  const moments = fc.array(fc.integer({ min: 0, max: 4 * 366 * 24 * 60 }), { maxLength: 20 });

  it('what cron is told and what systemd is told are the same times', () => {
    fc.assert(
      fc.property(accepted, moments, (text, minutes) => {
        const read = parseCronFields(text, 'x');
        const expressions = toOnCalendar(read, null);
        const elapses = (at: Date) => expressions.some((each) => elapsesAt(each, at));
        const options = { tz: 'UTC', currentDate: new Date(start) };
        const reference = CronExpressionParser.parse(read.text, options);
        const next = [1, 2, 3, 4].map(() => reference.next().toDate());
        for (const at of next) expect(elapses(at), `${text} at ${at.toISOString()}`).toBe(true);
        const others = [
          ...next.map((at) => new Date(at.getTime() + minuteMs)),
          ...minutes.map((minute) => new Date(start + minute * minuteMs)),
        ];
        for (const at of others) {
          const message = `${text} at ${at.toISOString()}`;
          expect(elapses(at), message).toBe(reference.includesDate(at));
        }
      }),
      { numRuns: 150 },
    );
  });
});
