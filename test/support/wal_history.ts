/** The life of a cluster, made up: base backups, WAL with gaps, promotions; no server. */

import fc from 'fast-check';
import { type BaseKind, compactTime } from '../../src/core/label.ts';
import { formatLsn, type Lsn, segmentName } from '../../src/core/lsn.ts';
import type { RecoveryBase } from '../../src/core/recovery.ts';
import {
  type CatalogedBase,
  type RetainedBase,
  retainedBase,
} from '../../src/core/retained_base.ts';
import type { Ancestor } from '../../src/core/timeline.ts';
import { createIndexBuilder, type WalIndex } from '../../src/core/wal_index.ts';
import { type ArchiveListing, sortArchive } from '../../src/core/wal_listing.ts';
import {
  type IncrementalPlan,
  type IncrementalScene,
  planIncremental,
  timesNeeded,
} from '../../src/core/wal_retention.ts';

export const segmentBytes = 1024 * 1024;
const hourMs = 3_600_000;
const begin = Date.UTC(2026, 8, 1);
const systemIdentifier = '7423456789012345678';

type Health = 'good' | 'usable' | 'damaged' | 'unreadable';

type Event =
  | { readonly kind: 'wal'; readonly hours: number; readonly lost: boolean }
  | {
      readonly kind: 'base';
      readonly hours: number;
      readonly incremental: boolean;
      readonly health: Health;
      readonly segments: number;
      /** Of a standby: its last segment goes on behind the end of the backup. */
      readonly goesOn: boolean;
      /** Whether a transaction ends while the backup runs. */
      readonly busy: boolean;
      /** Whether the segment in which it ends is lost. */
      readonly torn: boolean;
    }
  | { readonly kind: 'promote'; readonly back: number; readonly partial: boolean }
  /** The old primary writes on. */
  | { readonly kind: 'return'; readonly to: number }
  /** The server is away. */
  | { readonly kind: 'silence'; readonly hours: number };

const hours = fc.integer({ min: 1, max: 60 });
const rarely = fc.integer({ min: 0, max: 11 }).map((n) => n === 0);
const often = fc.boolean();
const health = fc.constantFrom<Health[]>('good', 'good', 'good', 'good', 'usable', 'damaged');
const event: fc.Arbitrary<Event> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('wal'), hours, lost: rarely }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('base'),
      hours: fc.integer({ min: 1, max: 30 }),
      incremental: often,
      health: fc.oneof(
        { weight: 15, arbitrary: health },
        { weight: 1, arbitrary: fc.constant<Health>('unreadable') },
      ),
      segments: fc.integer({ min: 1, max: 3 }),
      goesOn: often,
      busy: often,
      torn: rarely,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('promote'),
      back: fc.integer({ min: 0, max: 4 }),
      partial: often,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('return'), to: fc.nat(5) }) },
);

/** The shape of a history. */
export const histories = fc.record({
  events: fc.array(event, { minLength: 3, maxLength: 40, size: 'max' }),
  /** Of this timeline the history file is lost. */
  lostHistory: fc.integer({ min: 0, max: 6 }),
  idleHours: fc.integer({ min: 0, max: 300 }),
});
export type HistoryShape = typeof histories extends fc.Arbitrary<infer Shape> ? Shape : never;

/** A transaction that ended. */
export interface Commit {
  readonly lsn: Lsn;
  readonly time: number;
}

interface File {
  readonly name: string;
  readonly commits: readonly Commit[];
}

/** What came of it. */
export interface WalHistory {
  readonly bases: readonly (RecoveryBase & CatalogedBase)[];
  readonly listing: ArchiveListing;
  /** When each file of the archive came into it. */
  readonly times: ReadonlyMap<string, Date>;
  readonly commits: ReadonlyMap<string, readonly Commit[]>;
  readonly indexes: ReadonlyMap<string, WalIndex>;
  readonly now: Date;
}

const at = (number: bigint, offset: number): Lsn => number * BigInt(segmentBytes) + BigInt(offset);

/** The offsets of what happens in a segment, in their order. */
const offsets = { busy: 0x100, stop: 0x200, commit: 0x8000, leave: 0x9000, own: 0xa000 };

class World {
  time = begin;
  readonly files = new Map<string, File>();
  readonly times = new Map<string, Date>();
  readonly histories = new Map<number, Ancestor[]>();
  readonly bases: (RecoveryBase & CatalogedBase)[] = [];
  /** The next segment of each timeline, and what is in it already. */
  readonly #next = new Map<number, { number: bigint; commits: Commit[] }>([
    [1, { number: 1n, commits: [] }],
  ]);
  #current = 1;

  #open() {
    return this.#next.get(this.#current) ?? { number: 1n, commits: [] };
  }

  #commit(offset: number): void {
    const { number, commits } = this.#open();
    commits.push({ lsn: at(number, offset), time: this.time });
  }

  #archive(lost: boolean, suffix = ''): void {
    const { number, commits } = this.#open();
    const name = `${segmentName(this.#current, number, segmentBytes)}${suffix}`;
    if (!lost) {
      // What is written behind it later is not in this file.
      this.files.set(name, { name, commits: [...commits] });
      this.times.set(name, new Date(this.time));
    }
    if (suffix === '') this.#next.set(this.#current, { number: number + 1n, commits: [] });
  }

  wal({ hours: passed, lost }: Event & { kind: 'wal' }): void {
    this.time += (passed * hourMs) / 2;
    const { length } = this.#open().commits;
    this.#commit(length > 0 ? offsets.own + length * 0x100 : offsets.commit);
    this.time += (passed * hourMs) / 2;
    this.#archive(lost);
  }

  base(event: Event & { kind: 'base' }): void {
    // A backup begins with a checkpoint: what is open goes into the archive first.
    if (this.#open().commits.length > 0) this.#archive(false);
    const started = this.time;
    const begun = this.#open().number;
    for (let done = 1; done < event.segments; done += 1) {
      this.time += hourMs / 4;
      this.#commit(offsets.commit);
      this.#archive(false);
    }
    this.time += hourMs / 4;
    if (event.busy) this.#commit(offsets.busy);
    this.time += hourMs / 4;
    const stop = at(this.#open().number, offsets.stop);
    this.#record(event, started, at(begun, 0x28), stop);
    if (event.goesOn) this.#commit(offsets.commit);
    else this.#archive(event.torn);
    this.time += event.hours * hourMs;
    if (event.goesOn) this.#archive(event.torn);
  }

  #record(event: Event & { kind: 'base' }, started: number, start: Lsn, stop: Lsn): void {
    const parent = event.incremental ? this.bases.at(-1)?.label : undefined;
    const kind: BaseKind = parent === undefined ? 'base' : 'incr';
    const serial = this.bases.length.toString(36).padStart(4, 'a');
    const label = `${compactTime(new Date(started))}-${kind}-${serial}`;
    const range = {
      timeline: this.#current,
      start_lsn: formatLsn(start),
      end_lsn: formatLsn(stop),
    };
    const manifest = {
      parent: parent ?? null,
      server: { system_identifier: systemIdentifier } as never,
      damaged_pages: event.health === 'usable' ? ['a page'] : [],
      start_lsn: range.start_lsn,
      stop_lsn: range.end_lsn,
      start_timeline: this.#current,
      stop_timeline: this.#current,
      wal_ranges: [range],
      started_at: new Date(started).toISOString(),
      finished_at: new Date(this.time).toISOString(),
      read_back: { seconds: 1 },
    };
    this.bases.push({
      label,
      manifest: event.health === 'unreadable' ? null : manifest,
      check: event.health === 'damaged' ? { kind: 'damaged' } : null,
    });
  }

  promote({ back, partial }: Event & { kind: 'promote' }): void {
    const parent = this.#current;
    const open = this.#open();
    const ancestors = this.histories.get(parent) ?? [];
    const oldest = ancestors.at(-1)?.switchLsn ?? at(1n, 0);
    const number = open.number - BigInt(back);
    const switchLsn = at(number, offsets.leave);
    if (switchLsn <= oldest + BigInt(segmentBytes)) return;
    const stored = this.files.get(segmentName(parent, number, segmentBytes));
    const copied = (back === 0 ? open.commits : (stored?.commits ?? [])).filter(
      ({ lsn }) => lsn < switchLsn,
    );
    if (back === 0 && partial) this.#archive(false, '.partial');
    const timeline = Math.max(...this.#next.keys()) + 1;
    this.histories.set(timeline, [...ancestors, { timeline: parent, switchLsn, reason: '' }]);
    this.times.set(`${hex(timeline)}.history`, new Date(this.time));
    this.#next.set(timeline, { number, commits: [...copied] });
    this.#current = timeline;
    // A promotion ends with a record of its own.
    this.#commit(offsets.own);
  }

  returnTo({ to }: Event & { kind: 'return' }): void {
    const all = [...this.#next.keys()];
    this.#current = all[to % all.length] ?? 1;
  }
}

const hex = (timeline: number) => timeline.toString(16).toUpperCase().padStart(8, '0');

/** What lies in an archive with these files. */
export function listingOf(
  names: Iterable<string>,
  ancestors: ReadonlyMap<number, readonly Ancestor[]>,
): ArchiveListing {
  const timelines = new Map<string, string[]>();
  for (const name of names) {
    const folder = name.slice(0, 8);
    timelines.set(folder, [...(timelines.get(folder) ?? []), `${name}.zst`]);
  }
  const top = [...ancestors.keys()].map((timeline) => `${hex(timeline)}.history`);
  const listing = sortArchive({ top, timelines }, segmentBytes);
  const told = listing.histories.map((history) => ({
    ...history,
    ancestors: ancestors.get(history.timeline) ?? null,
  }));
  return { ...listing, histories: told };
}

function indexOf({ name, commits }: File): WalIndex {
  const builder = createIndexBuilder(name);
  for (const [place, { lsn, time }] of commits.entries()) {
    const clock = new Date(time).toISOString().replace('T', ' ').replace('Z', '000 UTC');
    const record = {
      manager: 'Transaction',
      lsn,
      end: lsn + 0x40n,
      description: `COMMIT ${clock}`,
    };
    builder.add({ ...record, xid: 1000 + place });
  }
  return builder.build();
}

/** Lives through it. */
export function live({ events, lostHistory, idleHours }: HistoryShape): WalHistory {
  const world = new World();
  for (const each of events) {
    if (each.kind === 'wal') world.wal(each);
    else if (each.kind === 'base') world.base(each);
    else if (each.kind === 'promote') world.promote(each);
    else if (each.kind === 'silence') world.time += each.hours * hourMs;
    else world.returnTo(each);
  }
  const known = new Map([...world.histories].filter(([timeline]) => timeline !== lostHistory));
  return {
    bases: world.bases,
    listing: listingOf(world.files.keys(), known),
    times: world.times,
    commits: new Map([...world.files.values()].map(({ name, commits }) => [name, commits])),
    indexes: new Map([...world.files.values()].map((file) => [file.name, indexOf(file)])),
    now: new Date(world.time + idleHours * hourMs),
  };
}

/** The same history, which goes on behind its idle hours. */
export function goneOn(shape: HistoryShape, segments: number): WalHistory {
  const silence = { kind: 'silence', hours: shape.idleHours } as const;
  const more = Array.from({ length: segments }, () => {
    return { kind: 'wal', hours: 1, lost: false } as const;
  });
  const events = [...shape.events, silence, ...more];
  return live({ ...shape, events: events as HistoryShape['events'], idleHours: 0 });
}

/** How long things are kept. */
export const policies = fc.record({
  windowDays: fc.integer({ min: 1, max: 14 }),
  weekly: fc.record({
    days: fc.integer({ min: 7, max: 28 }),
    count: fc.integer({ min: 1, max: 3 }),
  }),
  monthly: fc.record({
    days: fc.integer({ min: 31, max: 62 }),
    count: fc.integer({ min: 1, max: 2 }),
  }),
});
export type PolicyShape = typeof policies extends fc.Arbitrary<infer Value> ? Value : never;

/** What a plan is made from: of the archive only the times that it says it needs. */
export function sceneOf(history: WalHistory, policy: PolicyShape): IncrementalScene<RetainedBase> {
  const { bases, listing, now } = history;
  const retained = bases.map((base) => retainedBase(base, null));
  const needed = timesNeeded(retained, listing);
  const times = new Map(
    needed.flatMap((name) => {
      const time = history.times.get(name);
      return time === undefined ? [] : [[name, time] as const];
    }),
  );
  const scene = { bases: retained, listing, times, policy, now };
  return { ...scene, claimedBy: systemIdentifier, streaming: new Set(), isTimed: false };
}

/** What a prune would do. */
export function planOf(history: WalHistory, policy: PolicyShape): IncrementalPlan {
  return planIncremental(sceneOf(history, policy));
}

/** Files of the WAL that go. */
export const removedNames = ({ wal }: IncrementalPlan) =>
  wal.filter(({ action }) => action === 'remove').flatMap(({ names }) => names);
/** Base backups that go. */
export const removedLabels = ({ bases }: IncrementalPlan) =>
  bases.filter(({ action }) => action === 'remove').map(({ base }) => base.label);

/** What is left when so many removals were carried out, in their order. */
export function carriedOut(
  history: WalHistory,
  plan: IncrementalPlan,
  steps = Number.MAX_SAFE_INTEGER,
) {
  const order = [...removedLabels(plan), ...removedNames(plan)];
  return without(history, new Set(order.slice(0, steps)));
}

/** What is left without these files and base backups. */
export function without(history: WalHistory, gone: ReadonlySet<string>): WalHistory {
  const ancestors = new Map(
    history.listing.histories.flatMap(({ timeline, ancestors: lines }) =>
      lines === null ? [] : [[timeline, lines] as const],
    ),
  );
  const names = history.listing.segments.map(({ name }) => name).filter((name) => !gone.has(name));
  const bases = history.bases.filter(({ label }) => !gone.has(label));
  return { ...history, bases, listing: listingOf(names, ancestors) };
}
