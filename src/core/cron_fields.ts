/**
 * The five fields of a crontab (crontab(5)): read, checked, and said again for cron and for
 * systemd. What cron programs read in different ways is refused.
 */

import { HoldfastError } from './errors.ts';

/** When something runs: the values of each field, ascending. */
export interface CronFields {
  /** As five fields that every cron program reads alike: numbers in place of names. */
  readonly text: string;
  readonly minutes: readonly number[];
  readonly hours: readonly number[];
  readonly days: readonly number[];
  readonly months: readonly number[];
  /** 0 to 6 from Sunday on. */
  readonly weekdays: readonly number[];
  /** A day of the month and a weekday are both given: either is enough (crontab(5)). */
  readonly isEitherDay: boolean;
}

interface FieldRule {
  readonly name: string;
  readonly min: number;
  /** Of what may be written; a weekday 7 is Sunday. */
  readonly max: number;
  /** Of what comes out. */
  readonly last: number;
  /** Three letters each, from `min` on. */
  readonly names: readonly string[];
}

const monthNames = 'jan feb mar apr may jun jul aug sep oct nov dec'.split(' ');
const weekdayNames = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const rules = [
  { name: 'minute', min: 0, max: 59, last: 59, names: [] },
  { name: 'hour', min: 0, max: 23, last: 23, names: [] },
  { name: 'day of the month', min: 1, max: 31, last: 31, names: [] },
  { name: 'month', min: 1, max: 12, last: 12, names: monthNames },
  { name: 'weekday', min: 0, max: 7, last: 6, names: weekdayNames },
] as const satisfies readonly FieldRule[];

/** The most days that each month has. */
const daysMax = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
/** A list that is longer holds something twice. */
const itemsMax = 60;

/** What is wrong with a field; the caller says in which text. */
class WrongField extends Error {}

function readNumber(text: string, rule: FieldRule): number {
  const named = rule.names.indexOf(text.toLowerCase());
  if (named >= 0) return rule.min + named;
  if (!/^\d{1,4}$/.test(text)) throw new WrongField(`${JSON.stringify(text)} is no ${rule.name}`);
  const value = Number(text);
  if (value >= rule.min && value <= rule.max) return value;
  throw new WrongField(`the ${rule.name} ${text} is not within ${rule.min} to ${rule.max}`);
}

/** One item of a list: its text with numbers in place of names, and its values. */
interface Item {
  readonly text: string;
  readonly values: readonly number[];
}

function readStep(text: string | undefined, span: number, rule: FieldRule): number {
  if (text === undefined) return 1;
  const step = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (step >= 1 && step <= span) return step;
  const fact = `the step ${JSON.stringify(text)} of the ${rule.name} is not within 1 to ${span}`;
  throw new WrongField(fact);
}

function readItem(text: string, rule: FieldRule): Item {
  const [range = '', stepText, ...more] = text.split('/');
  const [from = '', to, ...others] = range.split('-');
  if (more.length > 0 || others.length > 0 || from === '') {
    throw new WrongField(`${JSON.stringify(text)} is no ${rule.name}`);
  }
  const isStar = range === '*';
  const first = isStar ? rule.min : readNumber(from, rule);
  const last = isStar ? rule.last : to === undefined ? first : readNumber(to, rule);
  if (last < first) {
    throw new WrongField(`the range ${range} of the ${rule.name} ends before it begins`);
  }
  if (stepText !== undefined && !isStar && to === undefined) {
    // Debian's cron passes over the step without a word, others run up to the end.
    const meant = `${first}-${rule.last}/${stepText}`;
    throw new WrongField(`the step in ${text} needs a range: write ${meant}`);
  }
  const step = readStep(stepText, last - first + 1, rule);
  const values: number[] = [];
  for (let value = first; value <= last; value += step) values.push(value % (rule.last + 1));
  const shown = isStar ? '*' : to === undefined ? `${first}` : `${first}-${last}`;
  return { text: stepText === undefined ? shown : `${shown}/${step}`, values };
}

function readField(text: string, rule: FieldRule): Item {
  const parts = text.split(',');
  if (parts.length > itemsMax) throw new WrongField(`the list of the ${rule.name} is too long`);
  const items = parts.map((part) => readItem(part, rule));
  if (items.length > 1 && items.some((item) => item.text.startsWith('*'))) {
    throw new WrongField(`the ${rule.name} is a list with * in it`);
  }
  const all = items.flatMap((item) => item.values);
  const values = [...new Set(all)].sort((a, b) => a - b);
  // What overlaps is written out: some programs refuse what stands there twice.
  const isTwice = values.length < all.length;
  return { text: isTwice ? values.join(',') : items.map((item) => item.text).join(','), values };
}

/**
 * Whether days of the month and weekdays are both given. Debian's cron looks whether a field begins
 * with `*`, others whether it is `*`: what differs is refused.
 */
function readEitherDay(days: Item, weekdays: Item): boolean {
  if (days.text === '*' || weekdays.text === '*') return false;
  if (!days.text.startsWith('*') && !weekdays.text.startsWith('*')) return true;
  const fact = `${days.text} as day of the month and ${weekdays.text} as weekday`;
  throw new WrongField(`cron programs differ in what they make of ${fact}: leave one of them *`);
}

function refuseNever(months: readonly number[], days: readonly number[]): void {
  const [first = 1] = days;
  if (months.some((month) => first <= (daysMax[month - 1] ?? 0))) return;
  throw new WrongField(`no such month has a day ${first}: it would never run`);
}

/**
 * Reads five fields.
 *
 * @param what the setting that they stand in, for messages: `schedule.daily`
 * @throws HoldfastError CONFIG_INVALID with what is wrong
 */
export function parseCronFields(text: string, what: string): CronFields {
  try {
    const parts = text.trim().split(/[ \t]+/);
    if (parts.length !== rules.length) {
      throw new WrongField(`it has ${parts.length} fields, not five`);
    }
    const read = rules.map((rule, index) => readField(parts[index] ?? '', rule));
    const [minute, hour, day, month, weekday] = read as [Item, Item, Item, Item, Item];
    const isEitherDay = readEitherDay(day, weekday);
    if (weekday.text === '*') refuseNever(month.values, day.values);
    return {
      text: read.map((item) => item.text).join(' '),
      minutes: minute.values,
      hours: hour.values,
      days: day.values,
      months: month.values,
      weekdays: weekday.values,
      isEitherDay,
    };
  } catch (error) {
    if (!(error instanceof WrongField)) throw error;
    throw new HoldfastError(
      'CONFIG_INVALID',
      `${what} is ${JSON.stringify(text)}: ${error.message}`,
      {
        hint: 'Write minute, hour, day of the month, month and weekday, such as "30 1 * * *".',
        cause: error,
      },
    );
  }
}

const two = (value: number) => String(value).padStart(2, '0');

/** The values of one component of a calendar time (systemd.time(7), "Calendar Events"). */
function component(values: readonly number[], min: number, last: number): string {
  const [first = min, second = first] = values;
  const step = second - first;
  if (values.length === last - min + 1) return '*';
  const isEven = values.every((value, index) => value === first + index * step);
  // `a/n` goes on to the end of the unit.
  if (values.length > 2 && isEven && (values.at(-1) ?? last) + step > last) {
    return `${two(first)}/${step}`;
  }
  return values.map(two).join(',');
}

const systemdWeekdays = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];

/** `Mon,Tue `: with the space that follows; nothing where all are meant. */
function weekdayPart(weekdays: readonly number[]): string {
  if (weekdays.length === systemdWeekdays.length) return '';
  return `${weekdays.map((day) => systemdWeekdays[day] ?? '').join(',')} `;
}

/**
 * The same times as systemd's `OnCalendar=` says them (systemd.time(7)): each expression is a line
 * of its own, and the timer elapses at any of them. systemd wants both where a weekday and a day
 * are given; cron is content with either, so that is said in two.
 *
 * @param timeZone `null`: that of the system
 */
export function toOnCalendar(fields: CronFields, timeZone: string | null): string[] {
  const months = component(fields.months, 1, 12);
  const days = component(fields.days, 1, 31);
  const time = `${component(fields.hours, 0, 23)}:${component(fields.minutes, 0, 59)}:00`;
  const zone = timeZone === null ? '' : ` ${timeZone}`;
  const weekdays = weekdayPart(fields.weekdays);
  if (!fields.isEitherDay) return [`${weekdays}*-${months}-${days} ${time}${zone}`];
  return [`*-${months}-${days} ${time}${zone}`, `${weekdays}*-${months}-* ${time}${zone}`];
}
