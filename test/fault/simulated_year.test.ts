/**
 * A year of a server that is looked after by nobody but Holdfast, with the troubles that a year
 * has. No alert comes on a quiet day, none is missed, each is told once, reminded of and resolved.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SimulatedYear, type ToldAlert } from '../support/simulated_year.ts';

/** Days of the year, from its first noon on; the alerts that a trouble brings, by their keys. */
interface Episode {
  readonly from: number;
  readonly to: number;
  /** Each is told, and its end. */
  readonly told: readonly RegExp[];
  /** These may come with it. */
  readonly aside?: readonly RegExp[];
}

const age = /^check\/backup_age\/main\/shop$/;
const late = (job: string) => new RegExp(`^check/schedule/${job}$`);

const episodes = {
  missedNights: { from: 40, to: 48, told: [age, late('daily'), late('weekly')] },
  failedWeek: { from: 92, to: 99, told: [age, /^backup\/on\/.*\/shop$/] },
  damage: { from: 140, to: 141.2, told: [/^check\/integrity\/local\/main\/shop\//] },
  growth: { from: 180, to: 190, told: [/^check\/space\//] },
  newStore: { from: 225, to: 227, told: [/^check\/copies\/nas$/] },
  storeDown: {
    from: 230,
    to: 234,
    told: [/^check\/repository\/nas$/, /^check\/copies\/nas$/, /^copy\/nas$/],
    aside: [/^unknown\/integrity\/nas$/],
  },
  endpointDown: { from: 259.5, to: 261.5, told: [age, late('daily'), /^check\/alerts\//] },
  clockJump: {
    from: 320,
    to: 326,
    told: [age, late('daily'), late('weekly'), late('monthly'), /^retention\/shop$/],
    aside: [/^check\/count\/main\/shop$/],
  },
} as const satisfies Record<string, Episode>;

let year: SimulatedYear;
const dayOf = ({ at }: ToldAlert) => (at.getTime() - year.begin.getTime()) / 86_400_000;
const isIn = ({ from, to }: Episode, told: ToldAlert) => dayOf(told) >= from && dayOf(told) <= to;
const shown = (told: ToldAlert) =>
  `${dayOf(told).toFixed(2)} ${told.alert.status} ${told.alert.key}`;

/** Nobody can stand a disk that fills: two days after the first warning it is larger. */
function growDisk(today: number): void {
  const first = year.told.find(({ alert }) => alert.key.startsWith('check/space/'));
  if (first === undefined || year.day(today - 2) < first.at) return;
  Object.assign(year.world, { diskGigabytes: 2000, growthGigabytesPerDay: 0 });
}

function planTroubles(): void {
  year.change(episodes.missedNights.from, 0, { hasCron: false });
  year.change(43, 0, { hasCron: true });
  year.change(episodes.failedWeek.from, 0, { hasDatabase: false });
  year.change(98, 0, { hasDatabase: true });
  let mend = async () => {};
  year.at(episodes.damage.from, 0, async () => {
    mend = await year.damageNewest();
  });
  year.at(141, 0, () => mend());
  year.change(episodes.growth.from, 0, { growthGigabytesPerDay: 1.5 });
  for (let day = 181; day < 190; day += 1) year.at(day, 0.1, () => growDisk(day));
  year.at(episodes.newStore.from, 0, () => year.setUpNas(true));
  year.at(episodes.storeDown.from, 0, () => year.breakNas());
  year.at(233, 0, () => year.mendNas());
  year.at(240, 0, () => year.setUpNas(false));
  year.change(259, 0, { hasCron: false });
  year.change(episodes.endpointDown.from, 0, { hasEndpoint: false });
  year.change(260, 6, { hasCron: true });
  year.change(260, 13, { hasEndpoint: true });
  year.change(episodes.clockJump.from, 0, { aheadMs: 60 * 86_400_000 });
  year.change(321, 0, { aheadMs: 0 });
  year.at(324, 0, () => year.removeAhead());
}

beforeAll(async () => {
  year = await SimulatedYear.open(new Date('2035-01-01T12:00:00Z'), 365);
  const watched = [...Object.values(episodes), { from: 82, to: 85 }, { from: 299, to: 302 }];
  year.isWatched = (day) => watched.some(({ from, to }) => day >= from - 1 && day <= to);
  planTroubles();
  await year.play();
}, 600_000);
afterAll(() => year?.close());

describe('a year', () => {
  it('has every run of every tier, also when the clocks change', () => {
    const local = new Intl.DateTimeFormat('sv-SE', {
      timeZone: 'Europe/Berlin',
      ...{ dateStyle: 'short', timeStyle: 'short' },
    });
    const runs = (tier: string) =>
      year.planned.filter((run) => run.tier === tier).map(({ at }) => local.format(at));
    const [days, hours] = [runs('daily').map((at) => at.slice(0, 10)), runs('daily')];
    expect([days.length, new Set(days).size]).toEqual([366, 366]);
    // The first one was taken by hand at noon; and there is no 02:00 on that night.
    const odd = hours.slice(1).filter((at) => !at.endsWith(' 02:00'));
    expect(odd).toEqual(['2035-03-25 03:00']);
    expect(runs('weekly')).toHaveLength(52);
    expect(runs('weekly').every((at) => at.endsWith(' 03:00'))).toBe(true);
    expect(runs('monthly').map((at) => at.slice(8))).toEqual(Array(12).fill('01 04:00'));
    expect(year.looks).toBeGreaterThan(300);
  });

  it('brings no alert on a day on which nothing is wrong', () => {
    const all: readonly Episode[] = Object.values(episodes);
    const alarms = year.told.filter((told) => {
      const { key } = told.alert;
      return !all.some((episode) => {
        const keys = [...episode.told, ...(episode.aside ?? [])];
        return isIn(episode, told) && keys.some((each) => each.test(key));
      });
    });
    expect(alarms.map(shown)).toEqual([]);
  });

  it.each(Object.entries(episodes))('tells of %s what is wrong, and that it is over', (_, one) => {
    for (const wanted of one.told) {
      const told = year.told.filter((each) => isIn(one, each) && wanted.test(each.alert.key));
      const lines = told.map(shown);
      expect(told.at(0)?.alert.status, lines.join('\n')).toBe('firing');
      expect(told.at(-1)?.alert.status, lines.join('\n')).toBe('resolved');
      for (const [place, { alert, at }] of told.entries()) {
        const before = told[place - 1];
        if (before?.alert.status !== 'firing' || alert.status !== 'firing') continue;
        // A reminder is a day later, unless it has grown worse.
        const hours = (at.getTime() - before.at.getTime()) / 3_600_000;
        const isWorse = before.alert.priority !== alert.priority;
        expect(isWorse || hours > 21, `${lines.join('\n')}\n${hours} h`).toBe(true);
      }
      const ends = told.filter(({ alert }) => alert.status === 'resolved');
      // Set right again, a clock makes backups old that were young: that is another trouble.
      expect(ends.length, lines.join('\n')).toBeLessThanOrEqual(one.from === 320 ? 2 : 1);
    }
  });

  it('warns of a full disk while there is time', () => {
    const first = year.told.find(({ alert }) => alert.key.startsWith('check/space/'));
    expect(first?.alert.priority).toBe('medium');
    expect(first?.alert.message).toMatch(/full in \d+ days/);
  });

  it('loses no alert and tells none twice, in the order in which they were made', () => {
    const ids = year.told.map(({ alert }) => alert.id);
    expect(new Set(ids).size).toBe(ids.length);
    const { from, to } = episodes.endpointDown;
    const waited = year.told.filter((told) => dayOf(told) >= from && dayOf(told) <= to);
    const times = waited.map(({ alert }) => alert.timestamp);
    expect(times).toEqual(times.toSorted());
    // What was told while nobody heard it came when somebody did.
    expect(
      waited.some(({ at, alert }) => at.getTime() - Date.parse(alert.timestamp) > 3_600_000),
    ).toBe(true);
  });

  it('never keeps less than the retention promises', () => {
    expect(year.runs.filter(({ broken }) => broken.length > 0)).toEqual([]);
    expect(year.runs.length).toBeGreaterThan(400);
  });
});
