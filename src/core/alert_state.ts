/**
 * Which alerts people get: of the same trouble one when it begins, one when it grows worse, a
 * reminder after a set time, and one when it is over. Pure: the clock is a parameter.
 */

import { type Priority, priorities, reaches } from './alert.ts';
import type { KnownTrouble } from './alert_memory.ts';
import type { AlertChange, Trouble } from './trouble.ts';
import { formatAge, formatCount } from './units.ts';

/** How many troubles are told one by one; of more than that only their number is told. */
export const troublesMax = 200;

/** A trouble that has begun so often within the window comes and goes… */
const flappingTimes = 3;
/** …and one that is away for so long is a new one when it comes again. In hours. */
const flapWindowHours = 6;
/** The end of one that comes and goes is told when it was away for so long. In hours. */
const flapCalmHours = 3;
/** A reminder may come this part of its time early: a daily run is not exactly a day after. */
const reminderTolerance = 0.1;
/** What was not told for so long is forgotten where room is needed. In hours. */
const staleHours = 100 * 24;

const hourMs = 3_600_000;

/** The key of the one alert that stands for all that found no room. */
const tooManyKey = 'alerts/too_many';

/** An alert, but for the names and the time of whoever sends it. */
export type AlertDraft = Trouble & { readonly status: 'firing' | 'resolved' };

/** When it is, and after how many hours a trouble that lasts is told again. */
export interface AlertClock {
  readonly now: Date;
  readonly reminderHours: number;
}

/** The alerts to send, in their order, and what to remember. */
export interface AlertDecision {
  readonly alerts: readonly AlertDraft[];
  readonly troubles: readonly KnownTrouble[];
}

function hoursBetween(since: string, now: Date): number {
  return (now.getTime() - Date.parse(since)) / hourMs;
}

/**
 * A clock that was set back makes times of the future: they count from now on, so that nothing is
 * silent until that future, and nothing is told because of it. What is no time is now, too.
 */
function notInFuture<Time extends string | null>(time: Time, now: Date): Time | string {
  if (time === null) return time;
  return Date.parse(time) <= now.getTime() ? time : now.toISOString();
}

function higher(one: Priority, other: Priority): Priority {
  return reaches(one, other) ? one : other;
}

/** One run of the decision: what is known so far, and what is to be told. */
class Decision {
  readonly #clock: AlertClock;
  readonly known = new Map<string, KnownTrouble>();
  readonly alerts: AlertDraft[] = [];
  #overflow = 0;

  constructor(troubles: readonly KnownTrouble[], clock: AlertClock) {
    this.#clock = clock;
    for (const trouble of troubles) {
      this.known.set(trouble.key, {
        ...trouble,
        since: notInFuture(trouble.since, clock.now),
        sent_at: notInFuture(trouble.sent_at, clock.now),
        ended_at: notInFuture(trouble.ended_at, clock.now),
      });
    }
  }

  /** A trouble is there. */
  fire(trouble: Trouble): void {
    const known = this.known.get(trouble.key);
    if (known === undefined) this.#begin(trouble);
    else if (known.ended_at === null) this.#last(trouble, known);
    else this.#return(trouble, known, known.ended_at);
  }

  /** A trouble is over. */
  end(known: KnownTrouble): void {
    const ended = { ...known, ended_at: this.#clock.now.toISOString(), end_told: false };
    this.known.set(known.key, ended);
    if (known.begun < flappingTimes) this.#tellEnd(ended);
  }

  /** What has ended is told where that was put off, and forgotten when it stays away. */
  settle(): void {
    for (const known of [...this.known.values()]) {
      if (known.ended_at === null) continue;
      const away = hoursBetween(known.ended_at, this.#clock.now);
      if (!known.end_told && away >= flapCalmHours) this.#tellEnd(known);
      else if (known.end_told && away >= flapWindowHours) this.known.delete(known.key);
    }
  }

  /** One alert stands for all troubles that found no room, until there is plenty again. */
  tellOverflow(): void {
    if (this.#overflow > 0) {
      this.fire({
        event: 'alerts',
        key: tooManyKey,
        priority: 'critical',
        title: `more than ${formatCount(troublesMax, 'trouble')} at once`,
        message:
          `${formatCount(this.#overflow, 'more trouble')} found no room and will not be told one ` +
          'by one. Type scripts/monitor_backups.ts to see them all.',
        cluster: null,
        database: null,
        details: { not_told: this.#overflow },
      });
      return;
    }
    const tooMany = this.known.get(tooManyKey);
    const open = [...this.known.values()].filter(({ ended_at }) => ended_at === null);
    const isRoomy = open.length < troublesMax * 0.9;
    if (tooMany?.ended_at === null && isRoomy) this.end(tooMany);
  }

  #begin(trouble: Trouble): void {
    if (trouble.key !== tooManyKey && !this.#makeRoom()) {
      this.#overflow += 1;
      return;
    }
    const { priority: worst_priority } = trouble;
    this.#tell(trouble, { since: this.#clock.now.toISOString(), begun: 1, worst_priority });
  }

  /** It was there before: told again when it is worse, or when it was told long ago. */
  #last(trouble: Trouble, known: KnownTrouble): void {
    const { key, title, priority } = trouble;
    const isWorse = !reaches(known.sent_priority, priority);
    const waited = hoursBetween(known.sent_at, this.#clock.now);
    const isDue = waited >= this.#clock.reminderHours * (1 - reminderTolerance);
    if (!isWorse && !isDue) {
      this.known.set(key, { ...known, title });
      return;
    }
    const lasted = Math.max(0, hoursBetween(known.since, this.#clock.now) * 3600);
    const what = isWorse ? `it was ${known.sent_priority} before` : 'a reminder';
    const lead = `It has been so since ${known.since} (${formatAge(lasted)}); ${what}.`;
    this.#tell({ ...trouble, message: `${trouble.message}\n${lead}` }, known);
  }

  /** It has ended not long ago and is there again. */
  #return(trouble: Trouble, known: KnownTrouble, endedAt: string): void {
    const { now } = this.#clock;
    if (known.end_told && hoursBetween(endedAt, now) >= flapWindowHours) {
      this.known.delete(known.key);
      this.#begin(trouble);
      return;
    }
    const begun = known.begun + 1;
    const back = { ...known, begun, ended_at: null };
    // Its end was not told: for who reads alerts it has been there all the time.
    if (!known.end_told) {
      this.#last(trouble, back);
      return;
    }
    const times = formatCount(begun, 'time');
    const lead = `It comes and goes: it has begun ${times}. The last time it was over at`;
    const put = 'Its next end is told when it has stayed away for some hours.';
    const isFlapping = begun >= flappingTimes;
    const more = isFlapping ? `${lead} ${endedAt}. ${put}` : `It was over at ${endedAt}.`;
    const message = `${trouble.message}\n${more}`;
    const { worst_priority } = known;
    this.#tell({ ...trouble, message }, { since: now.toISOString(), begun, worst_priority });
  }

  #tell(trouble: Trouble, past: Pick<KnownTrouble, 'since' | 'begun' | 'worst_priority'>): void {
    const { key, event, title, cluster, database, priority } = trouble;
    const { since, begun } = past;
    this.known.set(key, {
      ...{ key, event, title, cluster, database, since, begun },
      sent_at: this.#clock.now.toISOString(),
      sent_priority: priority,
      worst_priority: higher(priority, past.worst_priority),
      ended_at: null,
      end_told: false,
    });
    const details = { ...trouble.details, since: trouble.details.since ?? since };
    this.alerts.push({ ...trouble, details, status: 'firing' });
  }

  #tellEnd(known: KnownTrouble): void {
    const { event, key, title, cluster, database, since, worst_priority, ended_at } = known;
    this.known.set(key, { ...known, end_told: true });
    const end = ended_at ?? this.#clock.now.toISOString();
    const seconds = Math.max(0, Math.round((Date.parse(end) - Date.parse(since)) / 1000));
    const often = known.begun < flappingTimes ? '' : ` It came and went ${known.begun} times.`;
    this.alerts.push({
      ...{ event, key, title, cluster, database, priority: worst_priority },
      message: `Over since ${end}, after ${formatAge(seconds)}: it began at ${since}.${often}`,
      details: { since, ended_at: end, duration_seconds: seconds },
      status: 'resolved',
    });
  }

  /** Whether one more can be remembered, if need be in the place of what matters least. */
  #makeRoom(): boolean {
    if (this.known.size < troublesMax) return true;
    for (const { key, ended_at, end_told, sent_at } of [...this.known.values()]) {
      const isOver = ended_at !== null && end_told;
      const stale = Math.max(staleHours, 2 * this.#clock.reminderHours);
      if (!isOver && hoursBetween(sent_at, this.#clock.now) < stale) continue;
      this.known.delete(key);
      return true;
    }
    return false;
  }
}

/** Each key once, with the highest priority that it is told with; the most urgent come first. */
function mostUrgentFirst(firing: readonly Trouble[]): Trouble[] {
  const byKey = new Map<string, Trouble>();
  for (const trouble of firing) {
    const other = byKey.get(trouble.key);
    const priority = higher(trouble.priority, other?.priority ?? 'info');
    byKey.set(trouble.key, { ...trouble, priority });
  }
  const urgency = ({ priority }: Trouble) => priorities.indexOf(priority);
  return [...byKey.values()].toSorted((one, other) => urgency(other) - urgency(one));
}

/**
 * Decides what is told of a change.
 *
 * @param known what the last decision left to remember
 */
export function decideAlerts(
  known: readonly KnownTrouble[],
  change: AlertChange,
  clock: AlertClock,
): AlertDecision {
  const { firing = [], ended = [], endedUnder = [], unknown = [], news = [] } = change;
  const decision = new Decision(known, clock);
  const troubles = mostUrgentFirst(firing);
  const there = new Set(troubles.map(({ key }) => key));
  const named = new Set(ended);
  for (const trouble of [...decision.known.values()]) {
    const { key, ended_at } = trouble;
    if (ended_at !== null || there.has(key)) continue;
    const isOver = named.has(key) || endedUnder.some((prefix) => key.startsWith(prefix));
    if (isOver && !unknown.some((prefix) => key.startsWith(prefix))) decision.end(trouble);
  }
  for (const trouble of troubles) decision.fire(trouble);
  decision.tellOverflow();
  decision.settle();
  const before = new Set(known.map(({ key }) => key));
  const told = news.flatMap(({ unless, ...each }) =>
    unless !== undefined && before.has(unless) ? [] : { ...each, status: 'firing' as const },
  );
  return { alerts: [...decision.alerts, ...told], troubles: [...decision.known.values()] };
}
